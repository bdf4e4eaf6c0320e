"""`/v1/models` and `/v1/videos/models`: what can be asked for."""

from typing import Any

from fastapi import APIRouter

from kinema.config import unknown
from kinema.serve.api import Api
from kinema.serve.api_videos import ApiIs, CallerIs
from kinema.serve.capabilities import Capabilities, known_models
from kinema.serve.faults import Fault
from kinema.serve.metrics import num_workers
from kinema.serve.settings import SORA_NAMES

router = APIRouter(prefix="/v1", tags=["models"])


@router.get("/models")
def list_models(api: ApiIs, caller: CallerIs) -> dict[str, Any]:  # noqa: ARG001 - the key is still wanted
    """List the models and their other names."""
    return {"object": "list", "data": [_show(name) for name in _names(api)]}


@router.get("/models/{name:path}")
def get_model(name: str, api: ApiIs, caller: CallerIs) -> dict[str, Any]:  # noqa: ARG001
    """Look at one model."""
    if name not in _names(api):
        raise Fault(404, unknown("model", name, _names(api)), code="model_not_found", param="model")
    return _show(name)


@router.get("/videos/models", tags=["videos"])
def list_video_models(api: ApiIs, caller: CallerIs) -> dict[str, Any]:  # noqa: ARG001
    """Tell sizes, lengths and inputs of each model, as far as a worker has said; and how many workers there are."""
    known = known_models(api.store)
    data = []
    for name, target in _names(api).items():
        model = known.get(target)
        data.append(
            {
                "id": name,
                "served_model": target,
                "ready": model is not None,
                **(_abilities(model, api) if model else {}),
            }
        )
    return {"object": "list", "data": data, "workers": num_workers(api.store, api.jobs)}


def _names(api: Api) -> dict[str, str]:
    """Every name that a request may use, and the model that it means."""
    first = api.settings.models[0]
    return {**dict.fromkeys(SORA_NAMES, first), **{name: name for name in api.settings.models}, **api.settings.aliases}


def _show(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "kinema"}


_INPUTS = {"first": "image", "last": "last_image"}


def _verbs(model: Capabilities) -> list[str]:
    return ["create", "remix", "edits", *(["extensions"] if "extend" in model.edits else [])]


def _abilities(model: Capabilities, api: Api) -> dict[str, Any]:
    defaults, stride = model.defaults, model.stride
    return {
        "default_size": f"{defaults.width}x{defaults.height}",
        "default_seconds": f"{(defaults.frames - 1) / defaults.fps:g}",
        "default_fps": defaults.fps,
        "default_steps": defaults.steps,
        "default_guidance": defaults.guidance,
        "default_solver": defaults.solver,
        "size_multiples": {"width": stride.width, "height": stride.height},
        "max_pixels": api.settings.max_pixels,
        "frames": f"a multiple of {stride.time} plus 1",
        "max_seconds": api.settings.max_seconds,
        "max_extended_seconds": api.settings.max_extended_s,
        "solvers": list(model.solvers),
        "seconds_step": model.step_s,
        "inputs": ["text", *(_INPUTS[which] for which in model.pictures)],
        "needs": [_INPUTS[which] for which in model.needs],
        "verbs": _verbs(model),
        "edits": list(model.edits),
        "extends": list(model.extends),
        "characters": False,
        "audio": False,
    }
