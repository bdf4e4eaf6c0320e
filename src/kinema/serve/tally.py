"""Counts and durations of this process, for Prometheus."""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Labels = tuple[tuple[str, str], ...]


class Tally:
    """Counts what happens; any thread may."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._durations: dict[str, dict[Labels, list[float]]] = defaultdict(dict)

    def count(self, name: str, **labels: str) -> None:
        """Count one more."""
        with self._lock:
            self._counts[name][tuple(labels.items())] += 1

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Count one more that took so long."""
        with self._lock:
            row = self._durations[name].setdefault(tuple(labels.items()), [0.0] * (len(BUCKETS_S) + 2))
            row[bisect_left(BUCKETS_S, seconds)] += 1
            row[-1] += seconds

    def lines(self, about: Mapping[str, str]) -> list[str]:
        """All of it in Prometheus' text format; `about` says what each name means, and which there are."""
        with self._lock:
            counts = {name: dict(rows) for name, rows in self._counts.items()}
            durations = {
                name: {labels: list(row) for labels, row in rows.items()} for name, rows in self._durations.items()
            }
        lines: list[str] = []
        for name, rows in sorted(counts.items()):
            lines += [f"# HELP {name} {about[name]}", f"# TYPE {name} counter"]
            lines += [f"{name}{shown(labels)} {value:g}" for labels, value in sorted(rows.items())]
        for name, timed in sorted(durations.items()):
            lines += [f"# HELP {name} {about[name]}", f"# TYPE {name} histogram"]
            for labels, row in sorted(timed.items()):
                total = 0.0
                for bound, number in zip((*BUCKETS_S, "+Inf"), row[:-1], strict=True):
                    total += number
                    lines.append(f"{name}_bucket{shown((*labels, ('le', str(bound))))} {total:g}")
                lines += [f"{name}_count{shown(labels)} {total:g}", f"{name}_sum{shown(labels)} {row[-1]:.6f}"]
        return lines


def shown(labels: Labels) -> str:
    """Labels as Prometheus writes them."""
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels)
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
