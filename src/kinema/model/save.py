"""Write a model as a diffusers pipeline folder (`WanPipeline`)."""

from pathlib import Path
from typing import Any, get_args

from torch import nn

from kinema.checkpoint.sampler import ScheduleConfig, SolverName
from kinema.checkpoint.weights import save_weights, write_json
from kinema.config import to_dict, unknown
from kinema.errors import SpecError
from kinema.model.configs import clip_json, clip_processor_json, dit_json, text_json, vae_json
from kinema.model.files import CAUSAL_FILE, DEFAULTS_FILE, INDEX_FILE, READS_FRAMES, file_stem, layout_of
from kinema.model.model import Model


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
        save_weights(module, folder / name, file_stem(module), layout_of(module))
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
    write_json(_index(model, scheduler["_class_name"]), folder / INDEX_FILE)


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


def _solver(name: str) -> SolverName:
    for known in get_args(SolverName):
        if name == known:
            return name  # type: ignore[return-value]  # it is one of them
    raise SpecError(unknown("solver", name, get_args(SolverName)))
