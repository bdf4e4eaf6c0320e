"""Takes the pictures of the page in docs/studio.md: `python -m tests.serve.studio_pictures`; needs a browser.

The finished videos are those that `mini` made for the README; what is in the works is played.
"""

import base64
import dataclasses
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from docs.pictures import COLUMNS, PROMPTS, ZOOM
from PIL import Image, ImageFilter
from tests.browser import start_browser
from tests.serve.doubles import MODEL
from tests.serve.studio import Stage

from kinema.config import to_dict
from kinema.media import Frame, read_video
from kinema.serve.job import Job
from kinema.serve.store import JOBS

IMAGES = Path("docs/images")
GAP = 2
"""Pixels between the cells of a contact sheet."""

SETTINGS = {"seed": 0, "steps": 30, "guidance": 2.5, "shift": 5.0}
"""What those videos were made with, the model's own choice but for the seed."""

TOOK_S = 1.8
"""What one of them is said to have taken, in seconds; played."""


def clips() -> list[Frame]:
    """The videos of the README, each "f h w 3", at their own size."""
    sheet = read_video(IMAGES / "mini.webp").frames
    side = (sheet.shape[2] - (COLUMNS - 1) * GAP) // COLUMNS
    corners = [(i // COLUMNS * (side + GAP), i % COLUMNS * (side + GAP)) for i in range(len(PROMPTS))]
    return [sheet[:, y : y + side : ZOOM, x : x + side : ZOOM] for y, x in corners]


def preview(frame: Frame) -> str:
    """What a video may look like on the way."""
    content = io.BytesIO()
    Image.fromarray(frame).filter(ImageFilter.GaussianBlur(1.5)).save(content, "WEBP")
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


def fill(stage: Stage) -> Job:
    """Put the videos on the page, oldest first; returns the newest."""
    made = clips()
    shown = dataclasses.replace(MODEL, defaults=dataclasses.replace(MODEL.defaults, steps=30, guidance=2.5, shift=5.0))
    stage.leases.offer("mini", json.dumps(to_dict(shown)))
    for prompt, frames in zip(reversed(PROMPTS), reversed(made), strict=True):
        newest = stage.add(prompt, frames=len(frames), pictures=frames, **SETTINGS)
    with stage.store.write() as db:
        db.execute(JOBS.update().values(run_s=TOOK_S))
    for prompt in ("a purple cylinder slides to the left", "two blue boxes fall onto the grass"):
        stage.order(prompt)
    working = stage.take()
    stage.leases.renew(working, stage="denoise", step=19, total=30, progress=64, eta_s=0.36 * TOOK_S)
    stage.leases.preview(working, preview(made[4][8]))
    return newest


def shoot(page: Any, name: str) -> None:
    """Write one picture."""
    page.wait_for_timeout(1500)
    with Image.open(io.BytesIO(page.screenshot())) as image:
        image.convert("RGB").save(IMAGES / f"{name}.webp", "WEBP", quality=85, method=6)


def main() -> None:
    """Take them all."""
    with tempfile.TemporaryDirectory() as folder, start_browser() as browser:
        stage = Stage(Path(folder))
        newest = fill(stage)

        def visit(width: int, height: int, **more: Any) -> Any:
            stage.leases.alive(["mini"])
            size = {"width": width, "height": height}
            page = browser.new_context(viewport=size, locale="en-US", **more).new_page()
            page.goto(stage.url)
            page.locator(".tile").first.wait_for()
            return page

        page = visit(1280, 900)
        page.get_by_label("Prompt", exact=True).fill("an orange ball bounces on the wooden floor")
        shoot(page, "studio")
        page = visit(1280, 900, color_scheme="dark")
        page.get_by_label("Prompt", exact=True).fill("a red ball rolls to the right")
        page.get_by_role("button", name="Storyboard").click()
        page.get_by_placeholder("what happens then").fill("it stops and turns blue")
        shoot(page, "studio-dark")
        page = visit(1280, 900, color_scheme="dark")
        page.locator(f'.tile[data-id="{newest.id}"] .open').click()
        shoot(page, "studio-video")
        shoot(visit(480, 960), "studio-phone")
        stage.close()


if __name__ == "__main__":
    main()
