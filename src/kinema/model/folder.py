"""Models on disk: load one by name, folder or hub id, and save one, as a diffusers pipeline folder (`WanPipeline`)."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch
from torch import nn

from kinema.checkpoint.detect import WEIGHT_ENDINGS, inspect_weights
from kinema.checkpoint.layouts import CLIP_TRANSFORMERS, TEXT_TRANSFORMERS, dit_diffusers
from kinema.checkpoint.sampler import ScheduleConfig, SolverName, schedule_from_config
from kinema.checkpoint.source import Source
from kinema.checkpoint.weights import open_source, read_json, save_weights, write_json
from kinema.config import from_dict, nearest, to_dict, unknown
from kinema.errors import CheckpointError, SpecError
from kinema.model.causal import CausalConfig
from kinema.model.clip import ImageEncoder
from kinema.model.configs import (
    clip_config,
    clip_json,
    clip_processor_json,
    dit_config,
    dit_json,
    text_config,
    text_json,
    vae_config,
    vae_json,
)
from kinema.model.dit import DiT
from kinema.model.hub import HUB_ID, fetch, installed
from kinema.model.original import matching_preset, outline_networks, vae_layout
from kinema.model.presets import PRESETS, ModelPreset
from kinema.model.text import TextEncoder, Tokenizer
from kinema.model.vae import VideoVAE
from kinema.spec import ModelDefaults

T = TypeVar("T")

READS_FRAMES = "_reads_frames"
"""Our key in `model_index.json` for models whose tokens diffusers cannot give times of their own; it skips it."""

SHIPPED = Path(__file__).parents[1] / "weights"
"""Where the models that come with the package are: one folder per name."""

DEFAULTS_FILE = "kinema.json"
"""What a model makes by default; stands beside model_index.json and means nothing to diffusers."""

CAUSAL_FILE = "causal.json"
"""How a causal model looks back; other models have none."""

_DIFFUSION_STEM, _TEXT_STEM = "diffusion_pytorch_model", "model"


@dataclass(kw_only=True)
class Model:
    """The networks of one model, with the tokenizer, and what it makes when the request does not say."""

    dit: DiT
    vae: VideoVAE
    text: TextEncoder
    tokenizer: Tokenizer
    defaults: ModelDefaults
    dit_low: DiT | None = None
    """The expert for low noise, in models of two transformers."""
    boundary: float | None = None
    """Time below which `dit_low` takes over."""
    image: ImageEncoder | None = None
    """What sees the first picture, in models whose cross-attention reads one."""
    reads_frames: bool = True
    """Whether given frames may stand at time 0 among those being made (`expand_timesteps` in diffusers)."""
    causal: CausalConfig | None = None
    """How it looks back, if it makes video block by block; None = all frames at once."""
    folder: Path | None = None
    """Where it was loaded from."""
    scheduler: dict[str, Any] = field(default_factory=dict)
    """`scheduler_config.json` of the folder; made from the defaults where it is empty."""
    sources: dict[nn.Module, Callable[[], Source]] = field(default_factory=dict)
    """What opens the files that the weights of each network were, or can be, read from."""
    opened: dict[nn.Module, Source] = field(default_factory=dict)
    """Files that `check_files` has opened, until `source` hands them out."""

    @property
    def experts(self) -> tuple[DiT, ...]:
        """The transformers, the one for high noise first."""
        return (self.dit,) if self.dit_low is None else (self.dit, self.dit_low)

    @property
    def condition_channels(self) -> int:
        """Channels beside the latent in which the transformer is shown given frames; 0 = it is shown none there."""
        return self.dit.config.in_channels - self.vae.config.z_dim

    def check_files(self) -> None:
        """Look whether the files that the weights come from are there, whole and of these networks; reads no number.

        Raises CheckpointError, naming file and tensor.
        """
        self.opened = {network: open_files() for network, open_files in self.sources.items()}

    def source(self, network: nn.Module) -> Source:
        """Give the opened files of a network, whose are then theirs who asked. Raises what `check_files` raises."""
        return self.opened.pop(network, None) or self.sources[network]()

    def fill(self, device: torch.device | str) -> None:
        """Give an outline memory on a device, once, in its number type, and its weights. Raises CheckpointError."""
        for network in self.sources:
            self.source(network).fill(network.to_empty(device=device).state_dict())

    def take_copy(self) -> "Model":
        """Copy an outline for somebody who fills it; files that are open go to the copy."""
        copies = {network: copy.deepcopy(network) for network in self.sources}
        changes: dict[str, Any] = {key: copies[part] for key, part in vars(self).items() if isinstance(part, nn.Module)}
        changes["sources"] = {copies[network]: open_files for network, open_files in self.sources.items()}
        changes["opened"] = {copies[network]: source for network, source in self.opened.items()}
        self.opened = {}
        return dataclasses.replace(self, **changes)


def load_model(name: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Model:
    """Load a model that ships with Kinema by its name, or any other by its folder, file or hub id (`owner/name`).

    A folder is a pipeline folder as diffusers has it, or holds what the Wan team publishes; a file holds a transformer,
    as training runs save it, with the other networks beside it or installed. A hub id is fetched once and kept by
    huggingface_hub. On the device `meta` the weights are not read: an outline of the model, to plan with. Raises
    SpecError for a name that nothing answers to, naming the nearest, and CheckpointError, naming file and tensor, for
    a folder that is not whole.
    """
    path = _find(str(name))
    is_pipeline = path.is_dir() and ((path / "model_index.json").exists() or (path / "transformer").is_dir())
    model = _outline_pipeline(path, dtype) if is_pipeline else _outline_original(path, dtype)
    if torch.device(device).type != "meta":
        model.fill(device)
    return model


def _outline_pipeline(folder: Path, dtype: torch.dtype) -> Model:
    index = read_json(folder / "model_index.json")

    def has(part: str) -> bool:
        named = index.get(part) or [None]
        if not isinstance(named, list):
            raise CheckpointError(
                f"{folder / 'model_index.json'}: {part} is {named!r}; it takes a library and a class, such as "
                '["diffusers", "WanTransformer3DModel"]'
            )
        return named[0] is not None

    if not has("transformer"):
        raise CheckpointError(f"{folder}: model_index.json names no transformer; Kinema needs one for high noise")
    sources: dict[nn.Module, Callable[[], Source]] = {}
    dit = _outline_part(folder / "transformer", DiT, dit_config, dtype, sources)
    vae = _outline_part(folder / "vae", VideoVAE, vae_config, dtype, sources)
    text = _outline_part(folder / "text_encoder", TextEncoder, text_config, dtype, sources)
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
        tokenizer=Tokenizer.load(folder / "tokenizer"),
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


def save_model(model: Model, folder: str | Path) -> None:
    """Write the model as a pipeline folder that `load_model` and diffusers' Wan pipelines read."""
    folder = Path(folder)
    networks: list[tuple[str, nn.Module, dict[str, Any]]] = [
        ("transformer", model.dit, dit_json(model.dit.config)),
        ("vae", model.vae, vae_json(model.vae.config)),
        ("text_encoder", model.text, text_json(model.text.config, next(model.text.parameters()).dtype)),
    ]
    if model.dit_low is not None:
        networks.append(("transformer_2", model.dit_low, dit_json(model.dit_low.config)))
    if model.image is not None:
        networks.append(("image_encoder", model.image, clip_json(model.image.config)))
    for name, module, config in networks:
        (folder / name).mkdir(parents=True, exist_ok=True)
        save_weights(module, folder / name, _stem(module), _layout(module))
        write_json(config, folder / name / "config.json")
    (folder / "tokenizer").mkdir(exist_ok=True)
    model.tokenizer.save(folder / "tokenizer")
    (folder / "scheduler").mkdir(exist_ok=True)
    defaults = model.defaults
    sampler = ScheduleConfig(solver=_solver(defaults.solver), shift=defaults.shift)
    scheduler = model.scheduler or sampler.to_diffusers()
    write_json(scheduler, folder / "scheduler" / "scheduler_config.json")
    write_json(to_dict(defaults), folder / DEFAULTS_FILE)
    if model.causal is not None:
        write_json(to_dict(model.causal), folder / CAUSAL_FILE)
    if model.image is not None:
        (folder / "image_processor").mkdir(exist_ok=True)
        write_json(clip_processor_json(model.image.config), folder / "image_processor" / "preprocessor_config.json")
    write_json(_index(model, scheduler["_class_name"]), folder / "model_index.json")


def may_read_frames(index: Mapping[str, Any]) -> bool:
    """Whether given frames may stand among those being made, by what `model_index.json` holds."""
    return bool(index.get(READS_FRAMES, index.get("expand_timesteps", False)))


def _index(model: Model, scheduler: str) -> dict[str, Any]:
    """What diffusers reads first: which class each part is of."""
    dit, nothing = ["diffusers", "WanTransformer3DModel"], [None, None]
    # diffusers spreads times over tokens of 2 x 2 cells, whatever the patch is; equal times need no spreading.
    spreads = model.dit.config.patch_size[1:] == (2, 2)
    index: dict[str, Any] = {
        "_class_name": "WanPipeline",
        "_diffusers_version": "0.38.0",
        "boundary_ratio": model.boundary,
        "expand_timesteps": model.reads_frames and spreads,
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", type(model.tokenizer.tokenizer).__name__],
        "transformer": dit,
        "transformer_2": nothing if model.dit_low is None else dit,
        "vae": ["diffusers", "AutoencoderKLWan"],
    }
    if model.reads_frames and not spreads:
        index[READS_FRAMES] = True
    if model.condition_channels:
        has = model.image is not None
        index["_class_name"] = "WanImageToVideoPipeline"
        index["image_encoder"] = ["transformers", "CLIPVisionModel"] if has else nothing
        index["image_processor"] = ["transformers", "CLIPImageProcessor"] if has else nothing
    return index


def _find(name: str) -> Path:
    """Turn a name, folder or hub id into a folder on this machine."""
    if (SHIPPED / name / "model_index.json").exists() and name not in ("", ".", ".."):
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
    sources[module] = lambda: open_source(module, folder, _stem(module), _layout(module))
    return module.to(dtype).eval()


def _stem(module: nn.Module) -> str:
    return _TEXT_STEM if isinstance(module, TextEncoder | ImageEncoder) else _DIFFUSION_STEM


def _layout(module: nn.Module) -> Any:
    if isinstance(module, DiT):
        return dit_diffusers(module.config.in_channels, module.config.patch_size)
    if isinstance(module, VideoVAE):
        return vae_layout(module.config)
    return CLIP_TRANSFORMERS if isinstance(module, ImageEncoder) else TEXT_TRANSFORMERS


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


def _solver(name: str) -> SolverName:
    for known in get_args(SolverName):
        if name == known:
            return name  # type: ignore[return-value]  # it is one of them
    raise SpecError(unknown("solver", name, get_args(SolverName)))
