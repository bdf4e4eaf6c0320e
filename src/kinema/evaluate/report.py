"""The result of an evaluation: numbers with intervals, as JSON, and a page of clips to look at."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from kinema.evaluate.adherence import Axis, Judged, Observed, parser_shuffled, parser_truth, summarise
from kinema.evaluate.drift import Drift
from kinema.evaluate.fidelity import Fidelity
from kinema.evaluate.given import Given
from kinema.evaluate.metrics import Interval, bootstrap_interval, is_permanent, motion_statistics
from kinema.evaluate.page import write_page
from kinema.evaluate.suite import Answer
from kinema.evaluate.switch import Switch
from kinema.world.observation import Observation


def build_report(
    answers: Sequence[Answer],
    fidelity: Fidelity,
    observed: Sequence[Observed],
    seconds_per_video: float,
    memory_bytes: int,
    provenance: Mapping[str, Any],
    given: Given | None = None,
    drift: Drift | None = None,
    switch: Switch | None = None,
) -> dict[str, Any]:
    """Put everything together.

    `observed` are rendered clips and what the parser saw in them, for the judge's own figures; `seconds_per_video` was
    measured alone, and `memory_bytes` is the most that the process held until then; `provenance` says what command,
    seeds and counts the numbers come from; `given` is there for models that take frames, `drift` and `switch`
    for those that stream, where long videos were asked for.
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
            "by_objects": _by_objects(answers),
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
        "drift": None if drift is None else asdict(drift),
        "switch": None if switch is None else asdict(switch),
        "provenance": dict(provenance),
    }


def make_place(folder: Path) -> None:
    """Make the folder of a report before there is one. Raises OSError, with its name, where nothing can be written."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / "report.json.partial"
    probe.touch()
    probe.unlink()


def write_report(report: Mapping[str, Any], answers: Sequence[Answer], folder: Path) -> Path:
    """Write `report.json`, the shown clips and `index.html` into `folder`; returns the page."""
    make_place(folder)
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return write_page(report, answers, folder)


def _by_objects(answers: Sequence[Answer]) -> dict[str, dict[str, dict[str, float]]]:
    """Scores of the training distribution by how many objects a prompt states."""
    groups: dict[int, list[Judged]] = {}
    for answer in answers:
        if answer.case.source == "train":
            stated = answer.case.caption.facts
            groups.setdefault(stated.count or len(stated.objects), []).append(_judge(answer))
    return {str(number): _intervals(summarise(group).seen) for number, group in sorted(groups.items())}


def _permanence(observations: Sequence[Observation], aspect: float) -> Interval:
    """Share of the clips in which no object appears, vanishes or changes its colour."""
    tracks = [[thing.track for thing in one.objects] for one in observations]
    return bootstrap_interval([[float(is_permanent(clip, aspect=aspect))] for clip in tracks])


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
