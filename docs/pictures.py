"""Make the pictures of the README with the shipped model: `python docs/pictures.py`."""

from pathlib import Path

import numpy as np

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
COLUMNS = 4
ZOOM = 2


def main() -> None:
    """Write docs/images/mini.webp: one moving cell per prompt, seed 0, nothing chosen by hand."""
    pipe = kinema.Pipeline.load("mini")
    clips = np.stack([pipe(kinema.VideoSpec(prompt=prompt, seed=0)).frames for prompt in PROMPTS])
    clips = clips.repeat(ZOOM, axis=2).repeat(ZOOM, axis=3)
    sheets = [contact_sheet(list(moment), COLUMNS) for moment in clips.swapaxes(0, 1)]
    write_video(Path(__file__).parent / "images" / "mini.webp", sheets, fps=8)


if __name__ == "__main__":
    main()
