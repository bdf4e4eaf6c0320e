"""Make the pictures of the README with the shipped model: `python docs/pictures.py`."""

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
    "a large red ball rolls to the right on a wooden floor",
    "a green box swings from a rope over the snow",
    "a yellow cone spins on a tiled floor",
    "a blue ball bounces on the grass",
)
LONG_S = 30.0
MOMENTS = 12


def main() -> None:
    """Write docs/images/mini.webp and mini-causal.webp: seed 0, nothing chosen by hand."""
    draw_clips()
    draw_long()


def draw_clips() -> None:
    """One moving cell per prompt."""
    pipe = kinema.Pipeline.load("mini")
    clips = np.stack([pipe(kinema.VideoSpec(prompt=prompt, seed=0)).frames for prompt in PROMPTS])
    clips = clips.repeat(ZOOM, axis=2).repeat(ZOOM, axis=3)
    sheets = [contact_sheet(list(moment), COLUMNS) for moment in clips.swapaxes(0, 1)]
    write_video(IMAGES / "mini.webp", sheets, fps=8)


def draw_long() -> None:
    """One row per prompt: moments of half a minute, from the first to the last."""
    pipe = kinema.Pipeline.load("mini-causal")
    cells = []
    for prompt in LONG_PROMPTS:
        frames = [
            frame for chunk in pipe.stream(kinema.VideoSpec(prompt=prompt, seconds=LONG_S, seed=0)) for frame in chunk
        ]
        cells += [frames[moment] for moment in np.linspace(0, len(frames) - 1, MOMENTS).astype(int)]
    sheet = contact_sheet(cells, MOMENTS).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    Image.fromarray(sheet).save(IMAGES / "mini-causal.webp", quality=80)


if __name__ == "__main__":
    main()
