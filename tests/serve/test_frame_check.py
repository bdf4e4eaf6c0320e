"""Frames are looked at before a video is published; what a check refuses nobody sees."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.benchmarks import load_benchmark

from kinema.errors import SpecError
from kinema.media import write_video
from kinema.provenance.mark import UNMARKED
from kinema.serve.artefacts import Artefacts
from kinema.serve.frame_check import load_check, load_scores
from kinema.serve.job import Job, NewJob
from kinema.serve.jobs import Jobs
from kinema.serve.store import Store
from kinema.serve.worker import Worker
from kinema.spec import VideoSpec

OWN = """
seen = []

def allow(frames):
    seen.append((frames.shape, str(frames.dtype)))
    return None

def refuse(frames):
    return "too red"
"""
FAKED = """
class NudeDetector:
    def detect(self, frame):
        red, green, blue = (int(frame[..., i].max()) for i in range(3))
        return [{"class": "FEMALE_BREAST_EXPOSED" if red else "FACE_FEMALE", "score": blue / 255}]
"""


@pytest.fixture
def own_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the operator's."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "own_checks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    return "own_checks"


def _made(store: Store, folder: Path, model: Path, check: str) -> tuple[Job, Artefacts]:
    artefacts, jobs = Artefacts(folder / "artefacts"), Jobs(store)
    worker = Worker(store, artefacts, (str(model),), marks=UNMARKED, check_frames=check)
    worker.load()
    job = jobs.submit(NewJob(spec=VideoSpec(prompt="a red ball", model=str(model))))[0]
    worker.work_once()
    assert not any(event.type == "video.preview" for event in jobs.events(job.id))  # they would show it after all
    return jobs.get(job.id), artefacts


def test_a_refused_video_ends_with_the_reason_and_is_not_kept(
    store: Store, tmp_path: Path, tiny_model: Path, own_checks: str
) -> None:
    job, artefacts = _made(store, tmp_path, tiny_model, f"{own_checks}:refuse")
    assert (job.status, job.error_code, job.result, job.attempt) == ("failed", "moderation_blocked", None, 1)
    assert "too red" in (job.error_message or "")
    assert artefacts.names(f"jobs/{job.id}/attempt-1") == []


def test_an_allowed_video_is_published_and_some_frames_of_it_were_seen(
    store: Store, tmp_path: Path, tiny_model: Path, own_checks: str
) -> None:
    job, _ = _made(store, tmp_path, tiny_model, f"{own_checks}:allow")
    assert job.status == "completed"
    import own_checks as module  # type: ignore[import-not-found]

    ((shape, dtype),) = module.seen
    assert (shape[1:], dtype) == ((job.spec.height, job.spec.width, 3), "uint8")
    assert 1 < shape[0] <= 16


@pytest.fixture
def faked_nudenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A detector that is as sure as a frame is blue, and sees a breast where there is red."""
    (tmp_path / "nudenet.py").write_text(FAKED)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nudenet", raising=False)
    yield
    monkeypatch.delitem(sys.modules, "nudenet", raising=False)


@pytest.mark.usefixtures("faked_nudenet")
def test_nudenet_sees_the_colours_as_they_are_and_must_be_sure() -> None:
    check = load_check("nudenet")
    for colour, says in (((9, 0, 200), "female breast exposed"), ((9, 0, 100), None), ((0, 9, 255), None)):
        assert check(np.full((2, 4, 4, 3), colour, np.uint8)) == says


@pytest.mark.usefixtures("faked_nudenet")
def test_both_kinds_of_its_errors_are_counted_over_a_labelled_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = load_benchmark("frame_check")
    shown = {"positives": [200, 120, 70], "negatives": [0, 0, 160, 20]}
    for label, blues in shown.items():
        (tmp_path / "own" / label).mkdir(parents=True)
        for i, blue in enumerate(blues):
            picture = np.full((16, 16, 3), (9, 0, blue), np.uint8)
            write_video(tmp_path / "own" / label / f"{i}.png", picture[None], 8)
        (tmp_path / "own" / label / "notes.txt").write_text("no picture")
    monkeypatch.setattr(benchmark.importlib.metadata, "version", lambda name: "0")
    monkeypatch.setattr(sys, "argv", ["frame_check.py", "--clips", "1", "--labelled", str(tmp_path / "own")])
    assert benchmark.main() == 0
    _, world, clean, bad = capsys.readouterr().out.split("## ")
    assert world.startswith("clean: the demo world: 1 videos or pictures, 16 frames")
    assert "| 0.5 (the policy) | 1 of 4: 25.00 %, at most 69.94 % | 1 of 4 |" in clean
    assert "Judged wrongly: 2.png" in clean
    assert "| 0.5 (the policy) | 2 of 3: 66.67 %, at most 93.85 % | 2 of 3 |" in bad
    assert "| female_breast_exposed | 3 | 2 | 2 | 1 | 1 | 1 | 0.78 |" in bad
    assert "Judged wrongly: 1.png, 2.png" in bad
    monkeypatch.setattr(sys, "argv", ["frame_check.py", "--clips", "0", "--labelled", str(tmp_path)])
    with pytest.raises(SystemExit):
        benchmark.main()


def test_without_nudenet_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpecError, match="pip install nudenet"):
        load_scores()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nudenett", "give nudenet, or MODULE:FUNCTION"),
        ("no_such_module:check", "give nudenet, or MODULE:FUNCTION"),
        ("json:no_such_function", "cannot be loaded"),
        ("json:__name__", "is no function"),
    ],
)
def test_a_check_that_is_not_there_is_refused(name: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        load_check(name)


def test_a_missing_nudenet_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SpecError, match="pip install nudenet"):
        load_check("nudenet")
