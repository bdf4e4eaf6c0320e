"""The result of an evaluation: numbers with intervals, as JSON, and a page of clips to look at."""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from kinema.evaluate.adherence import Axis, Judged, Observed, parser_shuffled, parser_truth, summarise
from kinema.evaluate.fidelity import Fidelity
from kinema.evaluate.given import Given
from kinema.evaluate.metrics import Interval, bootstrap_interval, is_permanent, motion_statistics
from kinema.evaluate.suite import Answer
from kinema.media import write_video
from kinema.world.parse import Observation

SHOWN = 60
"""Clips on the page, at most."""


def build_report(
    answers: Sequence[Answer],
    fidelity: Fidelity,
    observed: Sequence[Observed],
    seconds_per_video: float,
    memory_bytes: int,
    provenance: Mapping[str, Any],
    given: Given | None = None,
) -> dict[str, Any]:
    """Put everything together.

    `observed` are rendered clips and what the parser saw in them, for the judge's own figures; `seconds_per_video` was
    measured alone, and `memory_bytes` is the most that the process held until then; `provenance` says what command,
    seeds and counts the numbers come from; `given` is there for models that take frames.
    """
    scores = summarise([_judge(answer) for answer in answers if answer.case.source != "free"])
    free = summarise([_judge(answer) for answer in answers if answer.case.source == "free"]).seen
    truth, shuffled = parser_truth(observed), parser_shuffled(observed)
    decoded = parser_truth(fidelity.observed)
    motion = motion_statistics(
        [[thing.track for thing in answer.observation.objects] for answer in answers], fps=answers[0].fps
    )
    true_motion = motion_statistics(
        [[thing.track for thing in item.observation.objects] for item in observed], fps=answers[0].fps
    )
    aspect = answers[0].frames.shape[2] / answers[0].frames.shape[1]
    return {
        "adherence": {
            "all_seen": scores.all_seen.mean,
            "all_held_out": scores.all_held_out.mean,
            "seen": _intervals(scores.seen),
            "held_out": _intervals(scores.held_out),
            "free": _intervals(free),
        },
        "parser": {
            "truth": _mean_of_axes(truth),
            "shuffled": _mean_of_axes(shuffled),
            "decoded": _mean_of_axes(decoded) if decoded else None,
            "truth_by_axis": _intervals(truth),
            "shuffled_by_axis": _intervals(shuffled),
            "decoded_by_axis": _intervals(decoded),
        },
        "vae": {
            "psnr_db": fmean(fidelity.psnr_db),
            "psnr_db_interval": asdict(bootstrap_interval([[value] for value in fidelity.psnr_db])),
            "flicker_true": fidelity.flicker_true,
            "flicker_decoded": fidelity.flicker_decoded,
        },
        "video": {
            "flicker": fmean(answer.flicker for answer in answers),
            "sharpness": fmean(answer.sharpness for answer in answers),
            "mean_speed": motion.mean_speed,
            "mean_speed_true": true_motion.mean_speed,
            "dynamic_degree": motion.dynamic_degree,
            "dynamic_degree_true": true_motion.dynamic_degree,
            "permanence": asdict(_permanence([answer.observation for answer in answers], aspect)),
            "permanence_true": asdict(_permanence([item.observation for item in observed], aspect)),
        },
        "speed": {
            "seconds_per_video": seconds_per_video,
            "memory_mb": round(memory_bytes / 1e6),
        },
        "given": None if given is None else asdict(given),
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


def _permanence(observations: Sequence[Observation], aspect: float) -> Interval:
    """Share of the clips in which no object appears, vanishes or changes its colour."""
    tracks = [[thing.track for thing in one.objects] for one in observations]
    return bootstrap_interval([[float(is_permanent(clip, aspect=aspect))] for clip in tracks])


def _figure(name: str, answer: Answer) -> str:
    missed = [axis for axis, values in answer.verdicts.items() if axis != "all" and not all(values)]
    verdict = f"not seen: {', '.join(missed)}" if missed else "all seen"
    return (
        f'<figure><img src="{name}" alt=""><figcaption>{html.escape(answer.case.caption.text)}<br>'
        f"<small>{answer.case.source}, seed {answer.seed}; {verdict}</small></figcaption></figure>"
    )


def _judge(answer: Answer) -> Judged:
    return Judged(
        prompt=f"{answer.case.source} {answer.case.number}",
        is_held_out=answer.case.source == "held_out",
        verdicts=answer.verdicts,
    )


def _intervals(by_axis: Mapping[Axis, Interval]) -> dict[str, dict[str, float]]:
    return {axis: asdict(interval) for axis, interval in by_axis.items()}


def _mean_of_axes(by_axis: Mapping[Axis, Interval]) -> float:
    """Mean of the axes, each counted alike; "all", which is made of the others, left out."""
    return fmean(interval.mean for axis, interval in by_axis.items() if axis != "all")


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
