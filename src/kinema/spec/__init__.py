"""What a person can ask for, as plain data that JSON, the command line and the server share."""

from kinema.shapes import MAX_FRAMES, MAX_SIDE
from kinema.spec.edits import (
    Blend,
    Card,
    Cut,
    Edit,
    Extend,
    Fit,
    Join,
    KeyFrame,
    KeyFrames,
    Loop,
    Remix,
    Replace,
    Storyboard,
    Vary,
    edit_files,
    with_files,
)
from kinema.spec.memory import parse_memory, show_memory
from kinema.spec.request import MAX_SEED, MAX_STEPS, ModelDefaults, VideoSpec

__all__ = [
    "MAX_FRAMES",
    "MAX_SEED",
    "MAX_SIDE",
    "MAX_STEPS",
    "Blend",
    "Card",
    "Cut",
    "Edit",
    "Extend",
    "Fit",
    "Join",
    "KeyFrame",
    "KeyFrames",
    "Loop",
    "ModelDefaults",
    "Remix",
    "Replace",
    "Storyboard",
    "Vary",
    "VideoSpec",
    "edit_files",
    "parse_memory",
    "show_memory",
    "with_files",
]
