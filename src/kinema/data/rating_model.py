"""Image models that give a picture one number: classifiers of transformers, and CLIP with a head for aesthetics.

The head is that of LAION's predictors (Schuhmann 2022): linear layers over the picture's embedding of length one, with
nothing between them.
"""

import hashlib
import itertools
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)
from transformers.utils.hub import cached_file

from kinema.data.device import check_device
from kinema.data.lineage import fingerprint
from kinema.data.rating import Rating, RatingConfig
from kinema.errors import DataError, SpecError, first_line
from kinema.media import Frame

_NAMES: Mapping[Rating, tuple[str, ...]] = {
    "aesthetic": ("aesthetic", "beautiful"),
    "nsfw": ("nsfw", "unsafe", "explicit", "porn"),
}
"""Labels that say by their name that they are the one that counts; the first that a model has is taken."""
_FILES = (".json", ".safetensors", ".bin")
"""Endings of the files of a model's folder that can change what it says."""

Layer = tuple[Tensor, Tensor]


class RatingModel:
    """A model with its processor of pictures. Raises SpecError and DataError, which say what fits instead."""

    def __init__(self, rating: Rating, config: RatingConfig) -> None:
        self._columns = check_model(rating, config)
        self._head = read_head(head_of(config)) if head_of(config) else []
        kind: Any = CLIPVisionModelWithProjection if self._head else AutoModelForImageClassification
        try:
            self._processor = AutoImageProcessor.from_pretrained(config.model, backend="pil")
            network, facts = kind.from_pretrained(config.model, dtype=torch.float32, output_loading_info=True)
        except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
            raise DataError(f"{rating}.model={config.model!r} cannot be loaded: {first_line(error)}") from error
        if missing := sorted(facts["missing_keys"]):
            raise DataError(
                f"{rating}.model={config.model!r} has no weights for {missing[0]}: it was not trained to classify; "
                "name an image classifier" + (", or the file of its head as aesthetic.head" if not self._head else "")
            )
        self._network = network.to(config.device).eval()
        self._head = [(weight.to(config.device), bias.to(config.device)) for weight, bias in self._head]

    def rate(self, clips: Sequence[Sequence[Frame]]) -> list[list[float]]:
        """One number for each picture "h w 3" uint8 of each clip; all go through the network at once."""
        pixels = [
            self._processor(images=[Image.fromarray(each) for each in pictures], return_tensors="pt")["pixel_values"]
            for pictures in clips
        ]
        with torch.inference_mode():
            told = self._network(pixel_values=torch.cat(pixels).to(self._network.device))
            found = _through(self._head, told.image_embeds) if self._head else self._probability(told.logits)
        return [part.tolist() for part in found.cpu().split([len(pictures) for pictures in clips])]

    def _probability(self, logits: Tensor) -> Tensor:
        """That any of the labels that count holds; a model with one output gives it as it is."""
        if logits.shape[1] == 1:
            return logits[:, 0]
        if self._network.config.problem_type == "multi_label_classification":
            return logits[:, self._columns].sigmoid().amax(dim=1)
        return logits.softmax(dim=1)[:, self._columns].sum(dim=1)


def check_model(rating: Rating, config: RatingConfig) -> list[int]:
    """Read what a model is, without its weights, and give the places of the labels that count.

    Raises SpecError for what is no model, for labels that it does not have, for a head of another width, and for a
    device that is not there.
    """
    check_device(f"{rating}.device", config.device)
    try:
        facts: Any = AutoConfig.from_pretrained(config.model)
    except (OSError, ValueError, KeyError) as error:
        raise SpecError(
            f"{rating}.model={config.model!r} is no model that transformers knows: {first_line(error)}; name a folder "
            "with config.json, or a hub id such as Falconsai/nsfw_image_detection"
        ) from error
    head = head_of(config)
    if not head:
        return _places(rating, config, dict(facts.id2label))
    if facts.model_type not in ("clip", "clip_vision_model"):
        raise SpecError(
            f"aesthetic.head needs a CLIP as aesthetic.model, and {config.model!r} is of type {facts.model_type}; "
            "LAION's heads were trained for openai/clip-vit-large-patch14"
        )
    width, takes = CLIPVisionConfig.from_pretrained(config.model).projection_dim, read_head(head)[0][0].shape[1]
    if width != takes:
        raise SpecError(
            f"{head} takes embeddings of {takes} numbers, and {config.model!r} gives {width}; name the CLIP that it "
            "was trained for: openai/clip-vit-large-patch14 gives 768"
        )
    return []


def head_of(config: RatingConfig) -> str:
    """The file of the head, if there is one."""
    return str(getattr(config, "head", ""))


def read_head(path: str) -> list[Layer]:
    """The linear layers of a head: weights "out in" and biases, in order, the last of them with one output.

    Raises SpecError for a file that holds no such layers. A .pth is read without running what it may contain.
    """
    try:
        weights: Any = load_file(path) if path.endswith(".safetensors") else torch.load(path, "cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise SpecError(f"aesthetic.head={path!r} cannot be read as weights: {first_line(error)}") from error
    names = sorted((name for name in weights if name.endswith("weight")), key=_number) if _is_plain(weights) else []
    layers = [(weights[name].float(), weights.get(f"{name[:-6]}bias")) for name in names]
    widths = [weight.shape[::-1] for weight, bias in layers if weight.ndim == 2 and bias is not None]
    fits = len(widths) == len(layers) > 0 and widths[-1][1] == 1
    if not fits or any(before[1] != after[0] for before, after in itertools.pairwise(widths)):
        raise SpecError(
            f"aesthetic.head={path!r} holds no chain of linear layers that ends in one number; LAION's files have "
            "weight and bias, or layers.0.weight, layers.0.bias and so on"
        )
    return [(weight, bias.float()) for weight, bias in layers]


def weights_stamp(config: RatingConfig) -> str:
    """What changes when the weights do, wherever they lie: the bytes of local files, or the commit of a hub id."""
    return fingerprint("weights", *(_stamps(name) for name in (config.model, head_of(config)) if name))


def _stamps(name: str) -> list[list[str]]:
    path = Path(name)
    if not path.exists():
        try:
            return [[name, Path(str(cached_file(name, "config.json"))).parent.name]]
        except (OSError, ValueError) as error:
            raise SpecError(f"there is no {name!r} here or on the hub: {first_line(error)}") from error
    files = sorted(each for each in path.iterdir() if each.suffix in _FILES) if path.is_dir() else [path]
    return [[each.name if path.is_dir() else "", _digest(each)] for each in files]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _places(rating: Rating, config: RatingConfig, labels: Mapping[int, str]) -> list[int]:
    """Where the labels that count are among those of a model."""
    places = {label.casefold(): place for place, label in labels.items()}
    if len(labels) == 1:
        return [0]
    wanted = config.labels or tuple(name for name in _NAMES[rating] if name in places)[:1]
    unknown = [each for each in wanted if each.casefold() not in places]
    if unknown or not wanted:
        has = ", ".join(repr(label) for _, label in sorted(labels.items()))
        what = f"no label {unknown[0]!r}" if unknown else f"none that says by its name that it counts as {rating}"
        raise SpecError(
            f"{config.model!r} has the labels {has}, and {what}; set {rating}.labels to those that count, "
            f"such as [{sorted(labels.items())[-1][1]!r}]"
        )
    return [places[each.casefold()] for each in wanted]


def _through(layers: Sequence[Layer], embeddings: Tensor) -> Tensor:
    found = F.normalize(embeddings, dim=1)
    for weight, bias in layers:
        found = F.linear(found, weight, bias)
    return found[:, 0]


def _is_plain(weights: Any) -> bool:
    return isinstance(weights, Mapping) and all(isinstance(each, Tensor) for each in weights.values())


def _number(name: str) -> list[int]:
    """The numbers in the name of a layer, by which layers are in order."""
    return [int(part) for part in name.split(".") if part.isdigit()]
