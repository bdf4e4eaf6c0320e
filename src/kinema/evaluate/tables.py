"""The numbers of a report as tables to read, in a terminal and on a page alike."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

GIVEN: dict[str, tuple[str, str | None]] = {
    "first_frame_loss_db": ("given first frame, dB lost", None),
    "last_frame_loss_db": ("given last frame, dB lost", None),
    "action": ("action after a given first frame", None),
    "seam_jump": ("jump after a given beginning", "seam_jump_true"),
    "velocity_error": ("velocity error after it, heights/s", "velocity_error_decoded"),
}
"""What is shown of `given`: its label, and what stands beside it."""

SWITCH = {
    "followed": "second prompt followed {seconds:g} s after it came",
    "kept": "what both prompts state, seen then",
    "jump": "largest change until then, over that before",
}
"""What is shown of `switch`, by its label."""

Row = tuple[str, ...]


@dataclass(frozen=True)
class NumberTable:
    """One table: the names of its columns, the first of which names its rows, and the rows."""

    columns: Row
    rows: tuple[Row, ...]


def tables_of(report: Mapping[str, Any]) -> tuple[NumberTable, ...]:
    """Arrange a report of `build_report`: scores by axis, the same by number of objects, and what else was measured."""
    tables = _scores(report), _scores_by_objects(report), NumberTable(_MEASURED, tuple(_measured(report)))
    return tables if report["drift"] is None else (*tables, _drift(report["drift"]))


_MEASURED = ("measured", "value", "of true clips")


def _scores(report: Mapping[str, Any]) -> NumberTable:
    adherence, parser = report["adherence"], report["parser"]
    columns = {
        "seen": adherence["seen"],
        "held out": adherence["held_out"],
        "free words": adherence["free"],
        "true clips": parser["truth_by_axis"],
        "decoded": parser["decoded_by_axis"],
        "shuffled": parser["shuffled_by_axis"],
    }
    columns = {name: column for name, column in columns.items() if column}
    rows = ((axis, *(_percent(column.get(axis)) for column in columns.values())) for axis in parser["truth_by_axis"])
    return NumberTable(("stated and seen, %", *columns), tuple(rows))


def _scores_by_objects(report: Mapping[str, Any]) -> NumberTable:
    groups = report["adherence"]["by_objects"]
    names = (f"{number} object" if number == "1" else f"{number} objects" for number in groups)
    rows = ((axis, *(_percent(group.get(axis)) for group in groups.values())) for axis in report["adherence"]["seen"])
    return NumberTable(("seen, by objects stated, %", *names), tuple(rows))


def _drift(drift: Mapping[str, Any]) -> NumberTable:
    """How the end of long videos differs from their beginning."""
    columns = (f"of videos of {drift['seconds']:g} s", *(f"{end} {drift['window_s']:g} s" for end in ("first", "last")))
    rows = (
        (
            name,
            _bounds(value["first"]),
            _bounds(value["last"]),
            f"{value['last']['mean'] / value['first']['mean'] - 1:+.1%}",
        )
        for name, value in drift.items()
        if isinstance(value, Mapping)
    )
    return NumberTable((*columns, "change"), tuple(rows))


def _measured(report: Mapping[str, Any]) -> Iterator[Row]:
    vae, video, speed = report["vae"], report["video"], report["speed"]
    psnr = vae["psnr_db_interval"]
    yield "autoencoder, PSNR", f"{psnr['mean']:.2f} dB ({psnr['low']:.2f} to {psnr['high']:.2f})", ""
    yield "steadiness of decoded clips", f"{vae['flicker_decoded']:.4f}", f"{vae['flicker_true']:.4f}"
    yield "steadiness of generated clips", f"{video['flicker']:.4f}", f"{vae['flicker_true']:.4f}"
    yield "speed of objects, heights/s", f"{video['mean_speed']:.3f}", f"{video['mean_speed_true']:.3f}"
    yield "share of moving clips", f"{video['dynamic_degree']:.3f}", f"{video['dynamic_degree_true']:.3f}"
    yield "clips whose objects last", _bounds(video["permanence"]), _bounds(video["permanence_true"])
    yield "sharpness of generated clips", f"{video['sharpness']:.1f}", ""
    yield "time for one video", f"{speed['seconds_per_video']:.2f} s", ""
    yield "most memory", f"{speed['memory_mb']} MB", ""
    for name, (label, reference) in GIVEN.items():
        if report["given"] is not None:
            yield label, _bounds(report["given"][name]), _bounds(report["given"].get(reference))
    if (switch := report["switch"]) is not None:
        for name, label in SWITCH.items():
            yield label.format(**switch), _bounds(switch[name]), ""


def _bounds(interval: Mapping[str, float] | None) -> str:
    return "" if interval is None else "{mean:.2f} ({low:.2f} to {high:.2f})".format(**interval)


def _percent(interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return ""
    numbers = (100.0 * interval[name] for name in ("mean", "low", "high"))
    return "{:.0f} ({:.0f}-{:.0f})".format(*numbers)
