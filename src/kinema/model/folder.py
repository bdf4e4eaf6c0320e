"""Models on disk: load one by name, folder or hub id, and save one, as a diffusers pipeline folder (`WanPipeline`)."""

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch
from torch import nn

from kinema.checkpoint.layouts import TEXT_TRANSFORMERS, dit_diffusers, vae_diffusers
from kinema.checkpoint.sampler import ScheduleConfig, SolverName, schedule_from_config
from kinema.checkpoint.weights import load_weights, read_json, save_weights, write_json
from kinema.config import from_dict, to_dict, unknown
from kinema.errors import CheckpointError, SpecError
from kinema.model.causal import CausalConfig
from kinema.model.configs import dit_config, dit_json, text_config, text_json, vae_config, vae_json
from kinema.model.dit import DiT
from kinema.model.presets import PRESETS
from kinema.model.text import TextEncoder, Tokenizer
from kinema.model.vae import VideoVAE
from kinema.spec import ModelDefaults

T = TypeVar("T")

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
    causal: CausalConfig | None = None
    """How it looks back, if it makes video block by block; None = all frames at once."""
    folder: Path | None = None
    """Where it was loaded from."""
    scheduler: dict[str, Any] = field(default_factory=dict)
    """`scheduler_config.json` of the folder; made from the defaults where it is empty."""


def load_model(name: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Model:
    """Load a model that ships with Kinema by its name, or any other by its folder or hub id (`owner/name`).

    A hub id is fetched once and kept by huggingface_hub. On the device `meta` the weights are not read: an outline of
    the model, to plan with. Raises SpecError for a name that nothing answers to, naming the nearest, and
    CheckpointError, naming file and tensor, for a folder that is not whole.
    """
    folder = _find(str(name))
    index = read_json(folder / "model_index.json")
    if index.get("transformer_2", [None, None])[0] is not None:
        raise CheckpointError(f"{folder}: models of two transformers (transformer_2) are not read yet")
    dit = _load_part(folder / "transformer", DiT, dit_config, device, dtype)
    vae = _load_part(folder / "vae", VideoVAE, vae_config, device, dtype)
    text = _load_part(folder / "text_encoder", TextEncoder, text_config, device, dtype)
    _check_fit(folder, dit, vae, text)
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    return Model(
        dit=dit,
        vae=vae,
        text=text,
        tokenizer=Tokenizer.load(folder / "tokenizer"),
        defaults=_defaults(folder, dit, schedule_from_config(scheduler)),
        causal=_read(CausalConfig, folder / CAUSAL_FILE),
        folder=folder,
        scheduler=scheduler,
    )


def save_model(model: Model, folder: str | Path) -> None:
    """Write the model as a pipeline folder that `load_model` and diffusers' `WanPipeline.from_pretrained` read."""
    folder = Path(folder)
    parts = {name: folder / name for name in ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")}
    for part in parts.values():
        part.mkdir(parents=True, exist_ok=True)
    for module, part, config in (
        (model.dit, parts["transformer"], dit_json(model.dit.config)),
        (model.vae, parts["vae"], vae_json(model.vae.config)),
        (model.text, parts["text_encoder"], text_json(model.text.config, next(model.text.parameters()).dtype)),
    ):
        save_weights(module, part, _stem(module), _layout(module))
        write_json(config, part / "config.json")
    model.tokenizer.save(parts["tokenizer"])
    defaults = model.defaults
    sampler = ScheduleConfig(solver=_solver(defaults.solver), shift=defaults.shift)
    scheduler = model.scheduler or sampler.to_diffusers()
    write_json(scheduler, parts["scheduler"] / "scheduler_config.json")
    write_json(to_dict(defaults), folder / DEFAULTS_FILE)
    if model.causal is not None:
        write_json(to_dict(model.causal), folder / CAUSAL_FILE)
    write_json(
        {
            "_class_name": "WanPipeline",
            "_diffusers_version": "0.38.0",
            "boundary_ratio": None,
            "expand_timesteps": True,
            "scheduler": ["diffusers", scheduler["_class_name"]],
            "text_encoder": ["transformers", "UMT5EncoderModel"],
            "tokenizer": ["transformers", type(model.tokenizer.tokenizer).__name__],
            "transformer": ["diffusers", "WanTransformer3DModel"],
            "transformer_2": [None, None],
            "vae": ["diffusers", "AutoencoderKLWan"],
        },
        folder / "model_index.json",
    )


def _find(name: str) -> Path:
    """Turn a name, folder or hub id into a folder on this machine."""
    if (SHIPPED / name / "model_index.json").exists() and name not in ("", ".", ".."):
        return SHIPPED / name
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith("."):
        return _fetch(name)
    shipped = {path.parent.name for path in SHIPPED.glob("*/model_index.json")}
    if name in PRESETS:
        has = f"Kinema ships weights for {', '.join(sorted(shipped)) or 'no model'}"
        raise SpecError(f"{name} is an architecture without weights here; {has}; give a folder or a hub id of it")
    raise SpecError(
        f"{unknown('model', name, shipped | set(PRESETS))}; or give a folder, or a hub id such as owner/name"
    )


def _fetch(hub_id: str) -> Path:
    try:
        from huggingface_hub import snapshot_download

        parts = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
        patterns = ["*.json", *(f"{part}/*" for part in parts)]
        return Path(snapshot_download(hub_id, allow_patterns=patterns))
    except Exception as error:  # the hub's client raises many kinds; each means that there is no such folder here
        raise SpecError(
            f"{hub_id} is neither a folder here nor a model that could be fetched ({error}); "
            "check the spelling and the network"
        ) from error


def _load_part(folder: Path, network: Any, config_of: Any, device: torch.device | str, dtype: torch.dtype) -> Any:
    """Build a network without memory, then give it memory once, in its final type and place, and fill it."""
    path = folder / "config.json"
    try:
        config = config_of(read_json(path))
    except (SpecError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    with torch.device("meta"):
        module = network(config)
    module = module.to(dtype).to_empty(device=device)
    if torch.device(device).type != "meta":
        load_weights(module, folder, _stem(module), _layout(module))
    return module.eval()


def _stem(module: nn.Module) -> str:
    return _TEXT_STEM if isinstance(module, TextEncoder) else _DIFFUSION_STEM


def _layout(module: nn.Module) -> Any:
    if isinstance(module, DiT):
        return dit_diffusers(module.config.in_channels, module.config.patch_size)
    if isinstance(module, VideoVAE):
        config = module.config
        return vae_diffusers(len(config.dim_mult), config.num_res_blocks, is_residual=config.is_residual)
    return TEXT_TRANSFORMERS


def _check_fit(folder: Path, dit: DiT, vae: VideoVAE, text: TextEncoder) -> None:
    if dit.config.out_channels != vae.config.z_dim:
        raise CheckpointError(
            f"{folder}: the transformer makes {dit.config.out_channels} channels, but the autoencoder's latents have "
            f"{vae.config.z_dim}; the parts are of different models"
        )
    if dit.config.text_dim != text.config.d_model:
        raise CheckpointError(
            f"{folder}: the transformer reads text of width {dit.config.text_dim}, but the text encoder gives "
            f"{text.config.d_model}; the parts are of different models"
        )


def _defaults(folder: Path, dit: DiT, sampler: ScheduleConfig) -> ModelDefaults:
    """What the folder says; else what the preset of the same transformer does; the sampler is always the folder's."""
    defaults = _read(ModelDefaults, folder / DEFAULTS_FILE)
    if defaults is None:
        presets = [preset.defaults for preset in PRESETS.values() if preset.dit == dit.config]
        defaults = presets[0] if presets else PRESETS["wan2.1-1.3b"].defaults
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
