"""The result of an evaluation: numbers with intervals, as JSON, and a page of clips to look at."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from kinema.evaluate.fidelity import Fidelity
from kinema.evaluate.metrics import Interval, bootstrap_interval
from kinema.evaluate.suite import Answer
from kinema.media import write_video

SHOWN = 60
"""Clips on the page, at most."""


def build_report(answers: Sequence[Answer], fidelity: Fidelity, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Put everything together; `provenance` says what command, seeds and counts the numbers come from."""
    return {
        "vae": {
            "psnr_db": _interval([[value] for value in fidelity.psnr_db]),
            "flicker_true": fidelity.flicker_true,
            "flicker_decoded": fidelity.flicker_decoded,
        },
        "video": {
            "flicker": fmean(answer.flicker for answer in answers),
            "sharpness": fmean(answer.sharpness for answer in answers),
            "seconds_per_video": fmean(answer.seconds for answer in answers),
        },
        "provenance": dict(provenance),
    }


def write_report(report: Mapping[str, Any], answers: Sequence[Answer], folder: Path) -> Path:
    """Write `report.json`, the shown clips and `index.html` into `folder`; returns the page."""
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    rows = []
    for index, answer in enumerate(answers[:SHOWN]):
        name = f"clips/{index:03d}.webp"
        write_video(folder / name, [answer.frames], answer.fps)
        rows.append(_figure(name, answer))
    page = folder / "index.html"
    table = html.escape(json.dumps(dict(report), indent=2))
    page.write_text(_PAGE.format(figures="\n".join(rows), numbers=table), encoding="utf-8")
    return page


def _figure(name: str, answer: Answer) -> str:
    return (
        f'<figure><img src="{name}" alt=""><figcaption>{html.escape(answer.case.caption.text)}<br>'
        f"({answer.case.split}, seed {answer.seed})</figcaption></figure>"
    )


def _interval(groups: Sequence[Sequence[float]]) -> dict[str, float]:
    interval: Interval = bootstrap_interval(groups)
    return {"mean": interval.mean, "low": interval.low, "high": interval.high, "count": interval.count}


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Kinema: evaluation</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 1rem }}
figure {{ margin: 0 }}
img {{ width: 100%; image-rendering: pixelated }} figcaption {{ font-size: 12px }}
pre {{ background: #f4f4f4; padding: 1rem; overflow: auto }}
@media (prefers-color-scheme: dark) {{ body {{ color: #ddd; background: #181818 }} pre {{ background: #222 }} }}
</style></head><body><h1>Evaluation</h1>
<p>Intervals are 95 %.</p>
<main>
{figures}
</main>
<h2>Numbers</h2><pre>{numbers}</pre></body></html>
"""
