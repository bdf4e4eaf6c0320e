"""Load a model by name, folder or hub id: a diffusers pipeline folder (`WanPipeline`), or what the Wan team has."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from kinema.checkpoint.detect import WEIGHT_ENDINGS, inspect_weights
from kinema.checkpoint.sampler import ScheduleConfig, schedule_from_config
from kinema.checkpoint.source import Source
from kinema.checkpoint.weights import open_source, read_json
from kinema.config import from_dict, nearest, to_dict, unknown
from kinema.errors import CheckpointError, SpecError
from kinema.model.causal import CausalConfig
from kinema.model.clip import ImageEncoder
from kinema.model.configs import clip_config, dit_config, text_config, vae_config
from kinema.model.dit import DiT
from kinema.model.files import CAUSAL_FILE, DEFAULTS_FILE, INDEX_FILE, SHIPPED, file_stem, layout_of, may_read_frames
from kinema.model.hub import HUB_ID, fetch, installed
from kinema.model.model import Model
from kinema.model.original import matching_preset, outline_networks
from kinema.model.presets import PRESETS, ModelPreset
from kinema.model.sharing import place_of
from kinema.model.text import TextEncoder, Tokenizer
from kinema.model.vae import VideoVAE
from kinema.spec import ModelDefaults

T = TypeVar("T")


def load_model(name: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Model:
    """Load a model that ships with Kinema by its name, or any other by its folder, file or hub id (`owner/name`).

    A folder is a pipeline folder as diffusers has it, or holds what the Wan team publishes; a file holds a transformer,
    as training runs save it, with the other networks beside it or installed. A hub id is fetched once and kept by
    huggingface_hub. On the device `meta` the weights are not read: an outline of the model, to plan with. Raises
    SpecError for a name that nothing answers to, naming the nearest, and CheckpointError, naming file and tensor, for
    a folder that is not whole.
    """
    path = _find(str(name))
    is_pipeline = path.is_dir() and ((path / INDEX_FILE).exists() or (path / "transformer").is_dir())
    model = _outline_pipeline(path, dtype) if is_pipeline else _outline_original(path, dtype)
    if torch.device(device).type != "meta":
        model.fill(device)
    return model


def _outline_pipeline(folder: Path, dtype: torch.dtype) -> Model:
    index = read_json(folder / INDEX_FILE)

    def has(part: str) -> bool:
        named = index.get(part) or [None]
        if not isinstance(named, list):
            raise CheckpointError(
                f"{folder / INDEX_FILE}: {part} is {named!r}; it takes a library and a class, such as "
                '["diffusers", "WanTransformer3DModel"]'
            )
        return named[0] is not None

    if not has("transformer"):
        raise CheckpointError(f"{folder}: model_index.json names no transformer; Kinema needs one for high noise")
    sources: dict[nn.Module, Callable[[], Source]] = {}
    dit = _outline_part(folder / "transformer", DiT, dit_config, dtype, sources)
    vae = _outline_part(place_of("vae", folder, index), VideoVAE, vae_config, dtype, sources)
    text = _outline_part(place_of("text_encoder", folder, index), TextEncoder, text_config, dtype, sources)
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    try:
        sampler = schedule_from_config(scheduler)
    except CheckpointError as error:
        raise CheckpointError(f"{folder / 'scheduler'}: {error}") from error
    low = image = None
    if has("transformer_2"):
        low = _outline_part(folder / "transformer_2", DiT, dit_config, dtype, sources)
    if dit.config.image_dim is not None:
        image = _outline_part(folder / "image_encoder", ImageEncoder, clip_config, dtype, sources)
    model = Model(
        dit=dit,
        vae=vae,
        text=text,
        tokenizer=Tokenizer.load(place_of("tokenizer", folder, index)),
        defaults=_defaults(folder, dit, has_experts=low is not None, sampler=sampler),
        dit_low=low,
        boundary=index.get("boundary_ratio") if low is not None else None,
        image=image,
        reads_frames=may_read_frames(index),
        causal=_read(CausalConfig, folder / CAUSAL_FILE),
        folder=folder,
        scheduler=scheduler,
        sources=sources,
    )
    _check_fit(model)
    return model


def _outline_original(path: Path, dtype: torch.dtype) -> Model:
    """Outline what the Wan team publishes, or a file trained on it; what it lacks comes from an installed model.

    A checkpoint of Self-Forcing's kind makes blocks of three latent frames in four steps without guidance.
    """
    found = inspect_weights(path)
    nets = outline_networks(found, dtype)
    if nets.dit is None:
        raise CheckpointError(f"{path} holds no transformer, only {', '.join(found.parts)}; give a model that has one")
    preset = matching_preset(nets.dit.config, has_experts=nets.dit_low is not None)
    base = None
    if nets.vae is None or nets.text is None or found.tokenizer is None:
        base = _installed_base(path, preset)
    sources = nets.sources
    vae = nets.vae or _outline_part(_of(base) / "vae", VideoVAE, vae_config, dtype, sources)
    text = nets.text or _outline_part(_of(base) / "text_encoder", TextEncoder, text_config, dtype, sources)
    image = nets.image
    if image is None and nets.dit.config.image_dim is not None:
        base = base or _installed_base(path, preset)
        image = _outline_part(base / "image_encoder", ImageEncoder, clip_config, dtype, sources)
    defaults = (preset or PRESETS["wan2.1-1.3b"]).defaults
    if nets.is_causal:
        defaults = dataclasses.replace(defaults, steps=4, guidance=1.0, solver="consistency", shift=5.0)
    defaults = _read(ModelDefaults, found.folder / DEFAULTS_FILE) or defaults
    model = Model(
        dit=nets.dit,
        vae=vae,
        text=text,
        tokenizer=Tokenizer.load(found.tokenizer or _of(base) / "tokenizer"),
        defaults=defaults,
        dit_low=nets.dit_low,
        boundary=None if nets.dit_low is None else (preset.boundary if preset else None) or _BOUNDARY,
        image=image,
        reads_frames=preset.reads_frames if preset else False,
        causal=_read(CausalConfig, found.folder / CAUSAL_FILE) or (CausalConfig(block=3) if nets.is_causal else None),
        folder=found.folder,
        scheduler={},
        sources=sources,
    )
    _check_fit(model)
    return model


_BOUNDARY = 0.875
"""Where the experts of a model that does not say it change over: Wan2.2-T2V-A14B's."""


def _of(base: Path | None) -> Path:
    assert base is not None
    return base


def _installed_base(path: Path, preset: ModelPreset | None) -> Path:
    """The installed model that lends the networks which a checkpoint lacks."""
    needs = (
        f"{path} holds only part of a model; put its autoencoder (Wan2.1_VAE.pth), its text encoder "
        "(models_t5_umt5-xxl-enc-bf16.pth) and its tokenizer (google/umt5-xxl) beside it"
    )
    if preset is None or preset.hub_id is None:
        raise CheckpointError(needs)
    folder = installed(preset.hub_id)
    if folder is None:
        name = next(name for name, other in PRESETS.items() if other is preset)
        raise CheckpointError(f"{needs}, or install the model that it was trained from: kinema models get {name}")
    return folder


def _find(name: str) -> Path:
    """Turn a name, folder or hub id into a folder on this machine."""
    if (SHIPPED / name / INDEX_FILE).exists() and name not in ("", ".", ".."):
        return SHIPPED / name
    path = Path(name).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix in WEIGHT_ENDINGS):
        return path
    if HUB_ID.fullmatch(name) and not name.startswith("."):
        if path.parent.is_dir():
            raise SpecError(unknown(f"folder in {path.parent}", path.name, _folders(path.parent), shown=name))
        return fetch(name)
    preset = PRESETS.get(name)
    if preset is not None and preset.hub_id is not None and (here := installed(preset.hub_id)) is not None:
        return here
    raise SpecError(_not_found(name))


def _not_found(name: str) -> str:
    """What to say of a name that nothing answers to."""
    shipped = shipped_models()
    has = ", ".join(shipped) or "no model"
    if name in PRESETS:
        get = f"; or fetch it: kinema models get {name}" if PRESETS[name].hub_id else ""
        return (
            f"{name} is an architecture without weights here; Kinema ships weights for {has}; "
            f"give a folder or a hub id of it{get}"
        )
    path = Path(name).expanduser()
    if path.is_file():
        return (
            f"{name} is no file of weights ({', '.join(WEIGHT_ENDINGS)}); give one, a model folder, or a model's name"
        )
    if len(path.parts) > 1 or name.startswith("."):
        return f"{name} does not exist; give a model folder, a hub id such as owner/name, or the name of a model: {has}"
    close = nearest(name, [*shipped, *PRESETS])
    return (
        f"unknown model {name!r};{f' did you mean {close!r}?' if close else ''} Kinema ships {has}; `kinema models` "
        "lists those that can be fetched; or give a folder, or a hub id such as owner/name"
    )


def shipped_models(*, is_causal: bool = False) -> tuple[str, ...]:
    """Names of the models that come with Kinema; with `is_causal` only of those that make video block by block."""
    folders = sorted(path.parent for path in SHIPPED.glob("*/model_index.json"))
    return tuple(folder.name for folder in folders if not is_causal or (folder / CAUSAL_FILE).exists())


def _folders(parent: Path) -> list[str]:
    return [path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _outline_part(
    folder: Path,
    network: Any,
    config_of: Any,
    dtype: torch.dtype,
    sources: dict[nn.Module, Callable[[], Source]],
) -> Any:
    """Build a network without memory, in its final number type, and note what opens its files."""
    path = folder / "config.json"
    try:
        config = config_of(read_json(path))
        config = from_dict(type(config), to_dict(config))  # which says what has the wrong type
    except (SpecError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    try:
        with torch.device("meta"):
            module = network(config)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:  # a size of -1, say
        raise CheckpointError(f"{path}: no network has these sizes ({error}); fetch the file again") from error
    sources[module] = lambda: open_source(module, folder, file_stem(module), layout_of(module))
    return module.to(dtype).eval()


def _check_fit(model: Model) -> None:
    """Refuse parts that are of different models."""
    folder, dit, z_dim = model.folder, model.dit.config, model.vae.config.z_dim
    if dit.out_channels != z_dim:
        raise CheckpointError(
            f"{folder}: the transformer makes {dit.out_channels} channels, but the autoencoder's latents have "
            f"{z_dim}; the parts are of different models"
        )
    if dit.in_channels not in (z_dim, 2 * z_dim + model.vae.stride.time):
        raise CheckpointError(
            f"{folder}: the transformer reads {dit.in_channels} channels; it is to read the latent's {z_dim}, or with "
            f"given frames {2 * z_dim + model.vae.stride.time}"
        )
    if dit.text_dim != model.text.config.d_model:
        raise CheckpointError(
            f"{folder}: the transformer reads text of width {dit.text_dim}, but the text encoder gives "
            f"{model.text.config.d_model}; the parts are of different models"
        )
    if model.dit_low is not None and (model.dit_low.config != dit or model.boundary is None):
        raise CheckpointError(
            f"{folder}: the two transformers do not belong together; they differ, or no boundary_ratio"
        )
    if model.image is not None and model.image.config.width != dit.image_dim:
        raise CheckpointError(
            f"{folder}: the transformer reads image tokens of width {dit.image_dim}, but the image encoder gives "
            f"{model.image.config.width}; the parts are of different models"
        )


def _defaults(folder: Path, dit: DiT, *, has_experts: bool, sampler: ScheduleConfig) -> ModelDefaults:
    """What the folder says; else what the preset of the same transformer does; the sampler is always the folder's."""
    defaults = _read(ModelDefaults, folder / DEFAULTS_FILE)
    if defaults is None:
        defaults = (matching_preset(dit.config, has_experts=has_experts) or PRESETS["wan2.1-1.3b"]).defaults
    return dataclasses.replace(defaults, solver=sampler.solver, shift=sampler.shift)


def _read(kind: type[T], path: Path) -> T | None:
    """Read one of our own files, which a folder may lack."""
    if not path.exists():
        return None
    try:
        return from_dict(kind, read_json(path))
    except SpecError as error:
        raise CheckpointError(f"{path}: {error}") from error
