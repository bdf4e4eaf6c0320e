"""Which edits each kind of model can make, and what to say of those that it cannot."""

from kinema.errors import SpecError
from kinema.generate.canvas import Canvas
from kinema.generate.condition import needs_last_picture, shown_frames, takes_last_picture
from kinema.model import Model
from kinema.spec import Edit, Extend, Replace, Storyboard
from kinema.spec.edits import VERBS

_FROM_THE_PAST = ("extend", "remix", "vary", "replace", "storyboard")
"""Edits for which a model needs to know nothing of what comes later."""

_FROM_A_PICTURE = ("extend", "remix", "vary", "storyboard")
"""Edits whose first frame is known, or is what the rest starts from."""

_BETWEEN_PICTURES = ("loop", "remix", "vary", "replace", "blend")
"""Edits whose first and last frames are."""

_WHOLE_FRAMES = ("key_frames", "extend", "loop", "storyboard")
"""Edits that show the model frames that are given whole."""

_OTHERS = "use mini or wan2.2-5b"


def edit_kinds(model: Model) -> tuple[str, ...]:
    """The edits that a model can make, by their `kind`; joining needs none, so every model has it."""
    return (*(kind for kind in VERBS if _is_able(model, kind)), "join")


def _is_able(model: Model, kind: str) -> bool:
    if model.causal is not None:
        return kind in _FROM_THE_PAST
    if model.condition_channels:
        is_able = kind in _FROM_A_PICTURE and not (needs_last_picture(model) and kind in ("extend", "storyboard"))
        return is_able or (takes_last_picture(model) and kind in _BETWEEN_PICTURES)
    return model.reads_frames or kind not in _WHOLE_FRAMES


def check_edit(model: Model, edit: Edit, name: str) -> None:
    """Refuse an edit that the model cannot make. Raises SpecError, which says which models can."""
    what = f"{name} {_nature(model)} and cannot"
    if not _is_able(model, edit.kind):
        raise SpecError(f"{what} {VERBS[edit.kind]}; {_instead(model, edit.kind)}")
    if isinstance(edit, Extend) and edit.direction == "backward" and (model.causal or model.condition_channels):
        raise SpecError(f"{what} begin before a video does; {_OTHERS}")
    if isinstance(edit, Replace) and model.condition_channels and (edit.box is not None or edit.mask is not None):
        raise SpecError(f"{what} replace a region; {_OTHERS}, or a text-to-video model such as wan2.1-1.3b")
    if isinstance(edit, Storyboard) and any(card.image is not None for card in edit.cards):
        check_last_picture(model, name)


def check_last_picture(model: Model, name: str) -> None:
    """Refuse a model that cannot end on a picture. Raises SpecError, which says which can."""
    if not takes_last_picture(model):
        raise SpecError(f"{name} cannot end on a picture; use mini, wan2.2-5b, wan2.1-flf2v-14b or wan2.2-i2v-a14b")


def check_canvas(model: Model, canvas: Canvas, name: str) -> None:
    """Refuse an edit for which the model would have to know what it is not shown. Raises SpecError.

    `canvas` is what the edit starts from.
    """
    if model.causal is not None and not canvas.goes_forward(model.vae.stride.time):
        raise SpecError(
            f"{name} makes video block by block and cannot meet what comes after: make anew all that follows "
            f"(no end), or {_OTHERS}"
        )
    if not model.condition_channels:
        return
    shown = shown_frames(model, canvas)
    if 0 not in shown:
        raise SpecError(
            f"{name} starts from a picture, but the first frame is to be made; begin later (start), or {_OTHERS}"
        )
    if needs_last_picture(model) and len(canvas.frames) - 1 not in shown:
        raise SpecError(
            f"{name} goes from one picture to another, but the last frame is to be made; end earlier (end), or "
            f"{_OTHERS}"
        )


def _nature(model: Model) -> str:
    if model.causal is not None:
        return "makes video block by block"
    if needs_last_picture(model):
        return "goes from one picture to another"
    if model.condition_channels:
        return "starts from a picture"
    return "was never shown frames that are given whole"


def _instead(model: Model, kind: str) -> str:
    if model.condition_channels and kind == "key_frames":
        ends = "first and last picture (image, last_image)" if takes_last_picture(model) else "first picture (image)"
        return f"give its {ends}, or {_OTHERS}"
    if model.condition_channels and kind in _BETWEEN_PICTURES:
        return f"{_OTHERS}, or wan2.1-flf2v-14b or wan2.2-i2v-a14b"
    return _OTHERS
