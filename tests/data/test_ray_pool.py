"""Ray starts processes of its own and warns of what they do, so the cluster lives in a process beside the tests."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from kinema.data import DataRecipe, Store, ray_pool, run_recipe
from kinema.data.filter import FilterConfig, KeepConfig
from kinema.data.ingest import Source
from kinema.data.pool import Limits, Outcome
from kinema.data.rating import RatingConfig
from kinema.data.split import SplitConfig
from kinema.errors import DataError

STAGES = ("ingest", "split", "filter", "dedup")
RUN = """
import json, sys
import ray
from ray.cluster_utils import Cluster
from kinema.cli.main import main
from kinema.data.pool import Limits
from kinema.data.ray_pool import run_ray

if __name__ == "__main__":
    *recipes, crash, lost = sys.argv[1:]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    codes = [main(["data", "run", recipe, "--engine", "ray", "--stages", "ingest,split,filter,dedup"])
             for recipe in recipes]
    outcomes = run_ray(eval, [crash, "1 + 1", lost], Limits())
    ended = [[item, end.status, end.attempts, end.reason] for item, end in outcomes]
    print(json.dumps({"nodes": len(ray.nodes()), "codes": codes, "ended": sorted(ended)}))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the package ray is not installed")
def test_a_cluster_of_two_nodes_makes_the_data_set_that_this_machine_makes(
    footage: Path, classifier: Path, tmp_path: Path
) -> None:
    script, there = tmp_path / "run.py", tmp_path / "there"
    script.write_text(RUN)
    rates = (4.0, 6.0)  # the second run scores the clips of the first one again
    tomls = [tmp_path / f"{rate}.toml" for rate in rates]
    for toml, rate in zip(tomls, rates, strict=True):
        toml.write_text(
            f"out = {json.dumps(str(there))}\nmax_failures = 0.6\n[split]\nmin_s = 0.5\n"
            f"[filter]\nper_second = {rate}\n[nsfw]\nmodel = {json.dumps(str(classifier))}\nbatch = 2\n"
            "[keep]\nmax_nsfw = 1.0\nmin_codec_motion = 0.01\n"
            f"[[sources]]\npath = {json.dumps(str(footage))}\n"
        )
    crash = "__import__('os')._exit(9)"
    lost = "__import__('os').kill(__import__('os').getppid(), 9)"  # the slot itself, not only its child
    environment = {
        **os.environ,
        "RAY_raylet_start_wait_time_s": "300",
        "RAY_worker_niceness": "0",  # Ray's own 15 starves it on a busy machine
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_agent_register_timeout_ms": "600000",
    }
    ran = subprocess.run(
        [sys.executable, str(script), *map(str, tomls), crash, lost],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    said = json.loads(next(line for line in ran.stdout.splitlines() if line.startswith("{")))  # Ray talks in between
    assert (said["nodes"], said["codes"]) == (2, [0, 0])
    ended = {item: (status, attempts, reason) for item, status, attempts, reason in said["ended"]}
    assert ended["1 + 1"] == ("done", 1, None)
    assert ended[crash] == ("set apart", 3, "its process died (9)")
    assert ended[lost][:2] == ("set apart", 3)
    assert ended[lost][2].startswith("its worker died")
    here = tmp_path / "here"
    for rate in rates:
        run_recipe(
            replace(
                recipe(footage, here, "local"), filter=FilterConfig(per_second=rate),
                nsfw=RatingConfig(model=str(classifier), batch=2), keep=KeepConfig(max_nsfw=1.0, min_codec_motion=0.01),
            ),
            STAGES,
        )  # fmt: skip
    clips = Store(there).read("clips")
    assert len(clips) == 3
    assert all(clip["codec_motion"] > 0.01 and 0 < clip["nsfw"] < 1 and not clip["drop_reason"] for clip in clips)
    for table in ("files", "clips", "videos"):
        assert Store(there).read(table) == Store(here).read(table)  # type: ignore[arg-type]


class LostError(Exception):
    """Stands for what Ray raises when an actor is gone or out of sight."""


class FakeCluster:
    """Ray's face over slots of this process; an item loses as many of them as `losses` says."""

    exceptions = SimpleNamespace(RayError=LostError)

    def __init__(self, losses: dict[str, int]) -> None:
        self.losses = dict(losses)
        self.started: list[object] = []
        self.killed: list[object] = []
        self.parts: list[Outcome] = []

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def remote(self, **options: object) -> Callable[[type], SimpleNamespace]:
        return lambda kind: SimpleNamespace(remote=self._start)

    def _start(self, limits: Limits) -> SimpleNamespace:
        slot = SimpleNamespace(run=SimpleNamespace(remote=self._run), next=SimpleNamespace(remote=self._next))
        self.started.append(slot)
        return slot

    def _run(self, work: Callable[[str], object], item: str, attempt: int, seconds: float) -> tuple[str, Outcome]:
        value = work(item)
        if not isinstance(value, list):
            return item, Outcome("done", value, None, attempt)
        self.parts = [Outcome("part", each, None, attempt) for each in value]
        return item, self.parts.pop(0)

    def _next(self) -> tuple[str, Outcome]:
        return "a part", self.parts.pop(0) if self.parts else Outcome("done")

    def wait(self, references: list[Any], **options: object) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:]

    def get(self, reference: tuple[str, Outcome]) -> Outcome:
        item, outcome = reference
        if self.losses.get(item):
            self.losses[item] -= 1
            raise LostError("the actor is unavailable")
        return outcome

    def kill(self, slot: object) -> None:
        self.killed.append(slot)


@pytest.mark.parametrize(
    ("losses", "ends"),
    [
        ({"1": 1, "2": 1}, [("done", 1), ("done", 1), ("done", 1)]),
        ({"1": 3}, [("set apart", 3), ("done", 1), ("done", 1)]),
    ],
    ids=["both slots lost at once", "one item loses three"],
)
def test_a_slot_that_is_lost_is_no_attempt_at_its_item_and_ends(
    losses: dict[str, int], ends: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = FakeCluster(losses)
    monkeypatch.setattr(ray_pool, "connect", lambda: cluster)
    found = dict(ray_pool.run_ray(eval, ["1", "2", "3"], Limits()))
    assert [(found[item].status, found[item].attempts) for item in ("1", "2", "3")] == ends
    assert len(cluster.started) == 2 + sum(losses.values())
    assert all(slot in cluster.killed for slot in cluster.started)


def test_a_slot_is_asked_for_parts_until_its_item_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool, "connect", lambda: FakeCluster({}))
    found = list(ray_pool.run_ray(eval, ["[1, 2, 3]", "4", "5"], Limits()))
    ends = [(end.status, end.value) for item, end in found if item == "[1, 2, 3]"]
    assert ends == [("part", 1), ("part", 2), ("part", 3), ("done", None)]
    assert {item for item, end in found if end.status == "done"} == {"[1, 2, 3]", "4", "5"}


def test_without_ray_the_message_says_what_to_install(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install .*\[cluster\]"):
        run_recipe(recipe(footage, tmp_path / "d", "ray"), ("ingest",))


def recipe(footage: Path, out: Path, engine: Literal["local", "ray"]) -> DataRecipe:
    return DataRecipe(
        sources=(Source(path=str(footage)),), out=out, engine=engine, limits=Limits(workers=0),
        split=SplitConfig(min_s=0.5), max_failures=0.6,
    )  # fmt: skip
