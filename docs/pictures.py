"""Make the pictures of the README with the shipped model: `python docs/pictures.py`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import kinema
from kinema.media import contact_sheet, write_video

PROMPTS = (
    "a large red ball rolls to the right on a wooden floor",
    "a blue cylinder falls onto the grass",
    "a green box slides to the left at sunset",
    "a yellow cone spins on a tiled floor",
    "a purple capsule tumbles to the right over the snow",
    "an orange ball bounces on the sand at night",
    "a pink ball rises over a checkered floor",
    "a cyan box swings from a rope",
)
IMAGES = Path(__file__).parent / "images"
COLUMNS = 4
ZOOM = 2


LONG_PROMPTS = (
    ("a large red ball rolls to the right on a wooden floor", None),
    ("a green box swings from a rope over the snow", "a purple box swings from a rope over the snow"),
    ("a yellow cone spins on a tiled floor", "a yellow cone spins on the grass"),
    ("a blue ball bounces on the grass", "an orange ball bounces on the grass"),
)
"""What each is told, and what from its middle on."""
LONG_S = 30.0
MOMENTS = 12

HARD_PROMPTS = (
    "two large red balls rest on the grass",
    "three small blue boxes on a wooden floor",
    "a green ball, a yellow box, a purple cone and a cyan capsule on the snow",
    "a large metal cone tumbles to the right on the sand",
    "a pink cylinder swings from a rope at night",
)
HARD_MOMENTS = 6


def main() -> None:
    """Write docs/images/mini.webp, mini-failures.webp and mini-causal.webp: seed 0, nothing chosen by hand."""
    draw_clips()
    draw_failures()
    draw_long()


def draw_clips() -> None:
    """One moving cell per prompt."""
    pipe = kinema.Pipeline.load("mini")
    clips = np.stack([pipe(kinema.VideoSpec(prompt=prompt, seed=0)).frames for prompt in PROMPTS])
    clips = clips.repeat(ZOOM, axis=2).repeat(ZOOM, axis=3)
    sheets = [contact_sheet(list(moment), COLUMNS) for moment in clips.swapaxes(0, 1)]
    write_video(IMAGES / "mini.webp", sheets, fps=8)


def draw_failures() -> None:
    """One row per prompt that `mini` does not master: moments of its two seconds."""
    pipe = kinema.Pipeline.load("mini")
    clips = [pipe(kinema.VideoSpec(prompt=prompt, seed=0)).frames for prompt in HARD_PROMPTS]
    _save_rows(clips, HARD_MOMENTS, "mini-failures.webp")


def draw_long() -> None:
    """One row per prompt: moments of half a minute, from the first to the last."""
    pipe = kinema.Pipeline.load("mini-causal")
    specs = [
        kinema.VideoSpec(prompt=prompt, changes=((LONG_S / 2, then),) if then else (), seconds=LONG_S, seed=0)
        for prompt, then in LONG_PROMPTS
    ]
    clips = [np.concatenate(list(pipe.stream(spec))) for spec in specs]
    _save_rows(clips, MOMENTS, "mini-causal.webp")


def _save_rows(clips: Sequence[np.ndarray], moments: int, name: str) -> None:
    """One row per clip: as many moments, from the first to the last."""
    cells = [clip[moment] for clip in clips for moment in np.linspace(0, len(clip) - 1, moments).astype(int)]
    sheet = contact_sheet(cells, moments).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    Image.fromarray(sheet).save(IMAGES / name, quality=80)


if __name__ == "__main__":
    main()
