"""What each kind of model can make, and what to say of what it cannot; known of a model without loading one."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kinema.errors import SpecError
from kinema.spec import Edit, Extend, KeyFrames, Replace, Storyboard, VideoSpec
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


@dataclass(frozen=True, kw_only=True)
class Nature:
    """What decides which requests a model can follow."""

    pictures: tuple[str, ...] = ("first",)
    """Which pictures it can be given: first, last."""
    needs: tuple[str, ...] = ()
    """Which of them it cannot do without."""
    is_causal: bool = False
    """Whether it makes video block by block."""
    has_experts: bool = False
    """Whether it has two transformers, each with its own guidance."""


def edit_kinds(nature: Nature) -> tuple[str, ...]:
    """The edits that a model can make, by their `kind`; joining needs none, so every model has it."""
    return (*(kind for kind in VERBS if _is_able(nature, kind)), "join")


def _is_able(nature: Nature, kind: str) -> bool:
    if nature.is_causal:
        return kind in _FROM_THE_PAST
    if nature.needs:
        is_able = kind in _FROM_A_PICTURE and not ("last" in nature.needs and kind in ("extend", "storyboard"))
        return is_able or ("last" in nature.pictures and kind in _BETWEEN_PICTURES)
    return bool(nature.pictures) or kind not in _WHOLE_FRAMES


def extend_directions(nature: Nature) -> tuple[str, ...]:
    """In which directions a model can extend a video."""
    if not _is_able(nature, "extend"):
        return ()
    return ("forward",) if nature.is_causal or nature.needs else ("forward", "backward")


def check_kind(nature: Nature, kind: str, name: str) -> None:
    """Refuse a kind of edit that the model cannot make. Raises SpecError, which says which models can."""
    if kind not in edit_kinds(nature):
        raise SpecError(f"{name} {_nature(nature)} and cannot {VERBS[kind]}; {_instead(nature, kind)}")


def check_edit(nature: Nature, edit: Edit, name: str) -> None:
    """Refuse an edit that the model cannot make. Raises SpecError, which says which models can."""
    check_kind(nature, edit.kind, name)
    what = f"{name} {_nature(nature)} and cannot"
    if isinstance(edit, Extend) and edit.direction not in extend_directions(nature):
        raise SpecError(f"{what} begin before a video does; {_OTHERS}")
    if isinstance(edit, Replace) and nature.needs and (edit.box is not None or edit.mask is not None):
        raise SpecError(f"{what} replace a region; {_OTHERS}, or a text-to-video model such as wan2.1-1.3b")
    if isinstance(edit, Storyboard) and any(card.image is not None for card in edit.cards):
        check_picture(nature, "last", name)


def check_picture(nature: Nature, which: Literal["first", "last"], name: str) -> None:
    """Refuse a model that cannot be given its first, or its last, picture. Raises SpecError, which says which can."""
    if which in nature.pictures:
        return
    if which == "last":
        raise SpecError(f"{name} cannot end on a picture; use mini, wan2.2-5b, wan2.1-flf2v-14b or wan2.2-i2v-a14b")
    raise SpecError(
        f"{name} makes videos from text only; to start from a picture use mini, wan2.1-i2v-14b, wan2.2-5b or "
        "wan2.2-i2v-a14b"
    )


def check_made(nature: Nature, made: Sequence[bool], time: int, name: str) -> None:
    """Refuse an edit for which the model would have to know what it is not shown. Raises SpecError.

    `made` says of each frame of the run whether something of it is to be made, `time` how many frames a latent one
    stands for.
    """
    if nature.is_causal and not _goes_forward(made, time):
        raise SpecError(
            f"{name} makes video block by block and cannot meet what comes after: make anew all that follows "
            f"(no end), or {_OTHERS}"
        )
    if not nature.needs:
        return
    shown = shown_places(nature, made)
    if 0 not in shown:
        raise SpecError(
            f"{name} starts from a picture, but the first frame is to be made; begin later (start), or {_OTHERS}"
        )
    if "last" in nature.needs and len(made) - 1 not in shown:
        raise SpecError(
            f"{name} goes from one picture to another, but the last frame is to be made; end earlier (end), or "
            f"{_OTHERS}"
        )


def shown_places(nature: Nature, made: Sequence[bool]) -> tuple[int, ...]:
    """Which frames a model that needs pictures is shown of an edit: the first, the last, or both, as it reads.

    Of frames of which something is to be made it is shown none, unless all of them are made anew from what they show.
    """
    places = (0, len(made) - 1) if "last" in nature.pictures else (0,)
    return tuple(place for place in places if all(made) or not made[place])


def check_request(nature: Nature, spec: VideoSpec, name: str) -> None:
    """Refuse settings and pictures that the model cannot use, and the absence of pictures that it needs.

    Raises SpecError, which says which models can.
    """
    if spec.step_cache is not None and nature.is_causal:
        raise SpecError(f"{name} makes blocks in few steps, of which none can be left out; drop step_cache")
    if spec.guidance_low is not None and not nature.has_experts:
        raise SpecError(f"{name} has one transformer, so guidance_low steers nothing; give guidance only")
    is_new = spec.edit is None or isinstance(spec.edit, KeyFrames | Storyboard)  # else its video brings them
    needs_last = is_new and "last" in nature.needs
    if is_new and nature.needs and spec.image is None:
        what = "a first and a last picture" if needs_last else "a picture"
        raise SpecError(f"{name} starts from {what}; give image, or use a text-to-video model such as wan2.1-1.3b")
    if needs_last and spec.last_image is None:
        raise SpecError(f"{name} goes from one picture to another; give last_image too, or use wan2.1-i2v-14b")
    if spec.image is not None:
        check_picture(nature, "first", name)
    if spec.last_image is not None:
        check_picture(nature, "last", name)
    if spec.image is not None and spec.frames == 1:
        raise SpecError("frames=1 with an image leaves nothing to generate; ask for more frames, or drop the image")


def _goes_forward(made: Sequence[bool], time: int) -> bool:
    """Whether no latent frame that is given whole comes after one of which something is to be made."""
    groups = [made[0], *(any(made[first : first + time]) for first in range(1, len(made), time))]
    return not any(before and not after for before, after in itertools.pairwise(groups))


def _nature(nature: Nature) -> str:
    if nature.is_causal:
        return "makes video block by block"
    if "last" in nature.needs:
        return "goes from one picture to another"
    if nature.needs:
        return "starts from a picture"
    return "was never shown frames that are given whole"


def _instead(nature: Nature, kind: str) -> str:
    if nature.needs and kind == "key_frames":
        ends = "first and last picture (image, last_image)" if "last" in nature.pictures else "first picture (image)"
        return f"give its {ends}, or {_OTHERS}"
    if nature.needs and kind in _BETWEEN_PICTURES:
        return f"{_OTHERS}, or wan2.1-flf2v-14b or wan2.2-i2v-a14b"
    return _OTHERS
