import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from kinema.cli.main import main
from kinema.media import Frame, read_metadata, write_video
from kinema.provenance.mark import UNMARKED, Marks, write_marked
from kinema.provenance.verify import verify
from kinema.serve import provenance_check
from kinema.serve.artefacts import Artefacts
from kinema.serve.job import Job, NewJob
from kinema.serve.jobs import Jobs
from kinema.serve.settings import QueueSettings
from kinema.serve.store import Store
from kinema.serve.worker import Worker
from kinema.spec import Extend, VideoSpec


def _work(store: Store, folder: Path, model: Path, new: NewJob, **options: Any) -> tuple[Job, Path]:
    """Let a worker do one job; gives it and its video."""
    artefacts = Artefacts(folder / "artefacts")
    worker = Worker(store, artefacts, (str(model),), **options)
    worker.load()
    job = Jobs(store, QueueSettings()).submit(new)[0]
    assert worker.work_once()
    done = Jobs(store, QueueSettings()).get(job.id)
    assert done.result is not None, done
    return done, artefacts.fetch(done.result.artefacts["video"].name, folder / f"{job.id}.mp4")


def test_what_a_worker_publishes_is_marked_and_an_extension_keeps_its_parent(
    store: Store, tmp_path: Path, tiny_model: Path
) -> None:
    spec = VideoSpec(prompt="a red ball", model=str(tiny_model), steps=2, width=64, height=64)
    parent, video = _work(store, tmp_path, tiny_model, NewJob(spec=spec))
    found = verify(video)
    assert [mark.outcome for mark in found.marks] == ["found"] * 4
    assert parent.result is not None
    source = parent.result.artefacts["video"].name
    longer = dataclasses.replace(parent.result.spec, frames=None, edit=Extend(video=source, seconds=0.5))
    _, video = _work(store, tmp_path, tiny_model, NewJob(spec=longer, kind="extend"))
    found = verify(video)
    assert [mark.outcome for mark in found.marks] == ["found"] * 4
    assert found.marks[0].details["ingredients"] == (f"{parent.id}.mp4",)
    assert not found.contradictions


def test_the_owner_of_a_worker_chooses_its_marks(store: Store, tmp_path: Path, tiny_model: Path) -> None:
    spec = VideoSpec(prompt="a red ball", model=str(tiny_model), steps=2, width=64, height=64)
    _, bare = _work(store, tmp_path, tiny_model, NewJob(spec=spec), marks=UNMARKED)
    assert [mark.outcome for mark in verify(bare).marks] == ["not found"] * 3 + ["found"]
    _, labelled = _work(store, tmp_path, tiny_model, NewJob(spec=spec), marks=Marks(label="cn"))
    assert read_metadata(labelled)["label"] == "cn"
    small = NewJob(spec=dataclasses.replace(spec, width=32, height=32))
    with pytest.raises(AssertionError, match="too small for the label"):
        _work(store, tmp_path, tiny_model, small, marks=Marks(label="cn"))


def test_serve_refuses_a_label_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--dry-run", "--label", "us"]) == 2
    assert "unknown label 'us'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def clip() -> Frame:
    return np.random.default_rng(0).integers(90, 160, (5, 64, 64, 3)).astype(np.uint8)


def _check(place: Any, path: Path) -> Any:
    return place.client.content_provenance_checks.create(file=path)


@pytest.mark.parametrize("ending", ["mp4", "webm", "gif"])
def test_openais_client_checks_videos_too(place: Any, clip: Frame, tmp_path: Path, ending: str) -> None:
    write_marked(tmp_path / f"marked.{ending}", [clip], 8, {"kinema": "{}"})
    answer = _check(place, tmp_path / f"marked.{ending}")
    assert answer.object == "content_provenance_check"
    c2pa, watermark, aigc, _ = answer.results
    if ending == "webm":
        assert (c2pa.type, c2pa.outcome, c2pa.validation_state) == ("c2pa", "not_detected", "not_present")
    else:
        assert (c2pa.type, c2pa.outcome, c2pa.validation_state) == ("c2pa", "detected", "trusted")
        assert (c2pa.issuer, c2pa.generated_at[:2]) == ("Kinema", "20")
    assert (watermark.type, watermark.outcome) == ("kinema_watermark", "detected")
    assert aigc.outcome == "detected"


def test_an_altered_file_is_invalid_and_an_unmarked_one_has_nothing(place: Any, clip: Frame, tmp_path: Path) -> None:
    path = tmp_path / "marked.mp4"
    write_marked(path, [clip], 8, {"kinema": "{}"}, Marks(watermark=False))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    c2pa = _check(place, path).results[0]
    assert (c2pa.outcome, c2pa.validation_state) == ("not_detected", "invalid")
    write_video(tmp_path / "bare.png", clip[:1], 8)
    answer = _check(place, tmp_path / "bare.png")
    assert {each.outcome for each in answer.results} == {"not_detected"}
    assert "proves nothing" in answer.note


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "unsupported_file"),
        (b"plain text", "unsupported_file"),
        (b"\0\0\0\x18ftypmp42" + bytes(64), "invalid_value"),
    ],
)
def test_what_is_no_picture_or_video_is_refused(place: Any, content: bytes, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        place.client.content_provenance_checks.create(file=("a.mp4", io.BytesIO(content)))
    assert (caught.value.code, caught.value.param) == (code, "file")
    assert "/tmp" not in str(caught.value)


def test_a_request_without_a_file_is_refused(place: Any) -> None:
    answer = place.http.post("/v1/content_provenance_checks", json={"file": "text"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")


def test_more_pixels_than_the_server_takes_are_not_decoded(clip: Frame, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [clip], 8)
    with pytest.raises(provenance_check.MediaError, match="has 64x64 pixels, more than 4000"):
        provenance_check.check_provenance((tmp_path / "a.mp4").read_bytes(), "mp4", 4000)


def test_the_certificates_to_trust_can_be_fetched(place: Any) -> None:
    from kinema.provenance.authority import open_authority

    assert place.http.get("/v1/provenance/anchors").text == open_authority().roots
