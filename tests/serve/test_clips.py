"""Videos that requests bring: decoded where they can do no harm, made fit for the model, kept while they are needed."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from tests.serve.doubles import MODEL, PNG, Place

from kinema.errors import MediaError
from kinema.media import probe, read_video, write_video
from kinema.provenance import c2pa
from kinema.provenance.mark import UNMARKED, write_marked
from kinema.serve.artefacts import Artefacts
from kinema.serve.capabilities import known_models
from kinema.serve.clips import store_clip
from kinema.serve.edits import Source
from kinema.serve.faults import Fault
from kinema.serve.files import Files
from kinema.serve.forms import Upload
from kinema.serve.job import NewJob
from kinema.serve.jobs import Jobs, forget
from kinema.serve.keys import KeyRing, make_key
from kinema.serve.outward import Outward
from kinema.serve.pictures import UNUSED_S, Pictures, sweep_pictures
from kinema.serve.settings import QueueSettings, ServeSettings
from kinema.serve.store import Store
from kinema.serve.worker import Worker
from kinema.spec import Extend, Remix, Vary, VideoSpec

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _clip(
    folder: Path, count: int = 18, fps: float = 8.0, size: tuple[int, int] = (64, 64), form: str = "mp4"
) -> bytes:
    """A video whose left half is red and whose right half becomes brighter, frame by frame."""
    width, height = size
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[:, :, : width // 2, 0] = 200
    frames[:, :, width // 2 :] = (np.arange(count) * 240 // max(1, count - 1)).astype(np.uint8)[:, None, None, None]
    path = folder / f"clip.{form}"
    write_video(path, frames, fps)
    return path.read_bytes()


class Shelf:
    """A store that takes videos in."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.artefacts, self.folder = Artefacts(folder / "artefacts"), folder
        files = Files(store, self.artefacts, lambda: 1000.0)
        self.pictures = Pictures(database=store, artefacts=self.artefacts, files=files, outward=Outward())

    def take(self, content: bytes, max_s: float = 20.0) -> Source:
        return store_clip(Upload(content=content), self.pictures, MODEL, max_s)

    def frames(self, taken: Source) -> Any:
        return read_video(self.artefacts.fetch(taken.video, self.folder / "taken.mp4")).frames.astype(int)


@pytest.fixture
def shelf(store: Store, tmp_path: Path) -> Shelf:
    return Shelf(store, tmp_path)


@pytest.mark.parametrize("form", ["mp4", "webm"])
def test_a_video_is_taken_at_the_model_s_rate_and_size_and_in_whole_latent_frames(shelf: Shelf, form: str) -> None:
    taken = shelf.take(_clip(shelf.folder, 57, 24.0, (160, 128), form))
    assert (taken.fps, taken.width, taken.height, taken.job) == (8.0, *MODEL.nearest_size(160, 128), None)
    assert taken.seconds == 2.0  # 19 of its 57 frames are seen at the model's rate; 17 make whole latent frames
    info = probe(shelf.artefacts.fetch(taken.video, shelf.folder / "a.mp4"))
    assert (info.frames, info.fps, info.width, info.height) == (17, 8.0, taken.width, taken.height)
    frames = shelf.frames(taken)
    wanted = np.arange(17) * 3 * 240 // 56
    np.testing.assert_allclose(frames[:, 8, -6].mean(-1), wanted, atol=6)
    assert frames[:, 8, 6, 0].min() > 180


def test_a_video_of_the_model_s_own_kind_keeps_its_frames(shelf: Shelf) -> None:
    clip = _clip(shelf.folder, 17)
    frames = shelf.frames(shelf.take(clip))
    assert len(frames) == 17
    assert np.abs(frames - read_video(shelf.folder / "clip.mp4").frames).mean() < 3


def test_a_video_is_turned_as_its_camera_was(shelf: Shelf) -> None:
    clip = bytearray(_clip(shelf.folder, 5))
    at = clip.index(b"tkhd") + 44
    quarter = (0, 1 << 16, 0, (1 << 32) - (1 << 16), 0, 0, 0, 0, 1 << 30)  # clockwise
    clip[at : at + 36] = b"".join(number.to_bytes(4, "big") for number in quarter)
    frames = shelf.frames(shelf.take(bytes(clip)))
    assert frames[0, 8, 32, 0] > 180  # what was left is above
    assert frames[0, 56, 32, 0] < 40


def test_what_is_no_video_is_refused_in_one_line(shelf: Shelf) -> None:
    clip = _clip(shelf.folder, 33)
    for content, says in (
        (PNG, "no video that is read here"),
        (b"", "no video that is read here"),
        (clip[:40] + bytes(500), "cannot be read|holds no"),
        (b"\x1aE\xdf\xa3" + bytes(100), "cannot be read|holds no"),
    ):
        with pytest.raises((MediaError, Fault), match=says) as refused:
            shelf.take(content)
        assert str(refused.value).startswith("video ")
        assert "\n" not in str(refused.value)
    with pytest.raises(MediaError, match="lasts longer than 2 s"):
        shelf.take(clip, max_s=2.0)
    assert shelf.artefacts.names("inputs") == []


def test_a_video_with_too_many_pixels_is_refused(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinema.serve.clips.MAX_PIXELS", 64 * 64 - 1)
    with pytest.raises(MediaError, match="64x64 pixels, more than 4095"):
        shelf.take(_clip(shelf.folder, 5))


def test_the_official_client_edits_and_extends_an_uploaded_video(place: Place, tmp_path: Path) -> None:
    place.double.on.clear()
    clip, videos = _clip(tmp_path, 17), place.client.videos
    edited = videos.edit(prompt="a blue ball", video=("me.mp4", clip, "video/mp4"))
    longer = videos.extend(prompt="it rolls", seconds="3", video=("me.mp4", clip, "video/mp4"))
    file = place.client.files.create(file=("me.mp4", clip), purpose="user_data")
    named = videos.extend(prompt="it rolls", seconds="3", video=openai.omit, extra_body={"video": {"file_id": file.id}})
    specs = [place.jobs.get(each.id).spec for each in (edited, longer, named)]
    (name,) = place.running.artefacts.names("inputs")
    assert [spec.edit for spec in specs] == [Remix(video=name), *[Extend(video=name, seconds=1.0)] * 2]
    assert [(each.seconds, each.size, each.remixed_from_video_id) for each in (edited, longer)] == [
        ("2", "64x64", None), ("3", "64x64", None),
    ]  # fmt: skip
    wish = {"kind": "join", "cuts": [{"video": {"file_id": file.id}}, {"video": {"file_id": file.id}, "start": 1}]}
    joined = place.http.post("/v1/videos/edits", json={"prompt": "x", "edit": wish}).json()
    assert (joined["edit"], joined["seconds"]) == ("join", "3.125")


def test_an_uploaded_video_has_an_owner(open_place: Callable[..., Place], tmp_path: Path) -> None:
    (mine, my_key), (yours, your_key) = make_key("me"), make_key("you")
    place = open_place(ServeSettings(), KeyRing(keys=(my_key, your_key)), token=mine)
    file = place.client.files.create(file=("a.mp4", _clip(tmp_path)), purpose="user_data")
    for path, more in (("edits", {}), ("extensions", {"seconds": 3})):
        asked = {"prompt": "x", "video": {"file_id": file.id}, **more}
        answer = place.http.post(f"/v1/videos/{path}", json=asked, headers={"authorization": f"Bearer {yours}"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_an_uploaded_video_is_kept_while_a_job_needs_it(place: Place, tmp_path: Path) -> None:
    place.double.on.clear()
    store, artefacts = place.running.store, place.running.artefacts
    made = place.client.videos.edit(prompt="x", video=io.BytesIO(_clip(tmp_path)))
    later = place.jobs.clock() + 2 * UNUSED_S
    sweep_pictures(store, lambda name: not artefacts.remove(name), later)
    assert len(artefacts.names("inputs")) == 1
    place.jobs.delete(made.id)
    forget(store, made.id, later, QueueSettings())
    sweep_pictures(store, lambda name: not artefacts.remove(name), later)
    assert artefacts.names("inputs") == []


def test_before_any_worker_has_spoken_an_upload_waits(serve: Callable[..., Any], tmp_path: Path) -> None:
    clip = _clip(tmp_path)
    answer = httpx2.post(f"{serve().url}/v1/videos/edits", data={"prompt": "x"}, files={"video": clip})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_not_ready")


@pytest.mark.parametrize("is_signed", [True, False])
def test_an_edit_of_an_uploaded_video_keeps_what_that_said_of_its_origin(
    shelf: Shelf, store: Store, tiny_model: Path, is_signed: bool
) -> None:
    frames = np.random.default_rng(0).integers(90, 160, (9, 64, 64, 3)).astype(np.uint8)
    upload = shelf.folder / "camera.mp4"
    write_marked(upload, frames, 8.0, {"title": "seen"}, None if is_signed else UNMARKED)
    worker = Worker(store, shelf.artefacts, (str(tiny_model),))
    worker.load()
    model = known_models(store)[str(tiny_model)]
    taken = store_clip(Upload(content=upload.read_bytes()), shelf.pictures, model, 20.0)
    spec = VideoSpec(
        prompt="x", model=str(tiny_model), width=taken.width, height=taken.height, steps=1,
        edit=Vary(video=taken.video),
    )  # fmt: skip
    job = Jobs(store).submit(NewJob(spec=spec))[0]
    worker.work_once()
    done = Jobs(store).get(job.id)
    assert done.result is not None, done.error_message
    found = c2pa.read(shelf.artefacts.fetch(done.result.artefacts["video"].name, shelf.folder / "made.mp4"))
    assert found is not None
    assert (found.state, found.problems) == ("trusted", ())
    assert (found.ingredients, found.origins) == (("upload-1.mp4",), ("signed by Kinema" if is_signed else "",))


def test_a_worker_goes_on_from_an_uploaded_video(shelf: Shelf, store: Store, tiny_model: Path) -> None:
    worker = Worker(store, shelf.artefacts, (str(tiny_model),), marks=UNMARKED)
    worker.load()
    model = known_models(store)[str(tiny_model)]
    step_s = model.stride.time / model.defaults.fps
    taken = store_clip(Upload(content=_clip(shelf.folder, 30, 24.0)), shelf.pictures, model, 20.0)
    spec = VideoSpec(
        prompt="x", model=str(tiny_model), width=taken.width, height=taken.height, steps=1,
        edit=Extend(video=taken.video, seconds=step_s),
    )  # fmt: skip
    job = Jobs(store).submit(NewJob(spec=spec))[0]
    worker.work_once()
    done = Jobs(store).get(job.id)
    assert done.result is not None, done.error_message
    assert done.result.seconds == pytest.approx(taken.seconds + step_s)
    video = shelf.artefacts.fetch(done.result.artefacts["video"].name, shelf.folder / "longer.mp4")
    before = shelf.frames(taken)
    assert np.abs(read_video(video).frames[: len(before)].astype(int) - before).mean() < 4
