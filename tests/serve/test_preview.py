import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kinema.generate.stream import to_pixels
from kinema.model import Model, load_model
from kinema.serve.artefacts import Artefacts
from kinema.serve.feed import Feed
from kinema.serve.job import NewJob
from kinema.serve.jobs import Jobs
from kinema.serve.preview import Previewer, foresee
from kinema.serve.store import Store
from kinema.serve.worker import Worker
from kinema.spec import VideoSpec


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(str(tiny_model), torch.device("cpu"), torch.float32)


def picture(url: str) -> Image.Image:
    head, _, data = url.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def test_a_preview_shows_where_the_latent_is_going(model: Model) -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(1, model.vae.config.z_dim, 2, 4, 4, generator=generator)
    noise = torch.randn(clean.shape, generator=generator)
    t = 0.7
    with torch.inference_mode():
        (frames,) = model.vae.decode_stream([clean])
    truth, webp = Image.fromarray(to_pixels(frames[0][-1:])[0]), io.BytesIO()
    truth.save(webp, "WEBP", quality=70)
    shown = picture(foresee(model.vae, (1 - t) * clean + t * noise, torch.full((1, 2), t), noise - clean))
    assert shown.size == truth.size
    assert np.abs(np.asarray(shown, float) - np.asarray(Image.open(webp).convert("RGB"), float)).mean() < 1


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_previews_take_at_most_a_twentieth_of_the_time(model: Model) -> None:
    clock, shown = _Clock(), []

    def show(url: str) -> None:
        clock.now += 1.0  # a dear one
        shown.append(url)

    previewer = Previewer(model.vae, show, clock)
    latent = torch.zeros(1, model.vae.config.z_dim, 2, 2, 2)

    def step(x: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        clock.now += 0.5
        return x

    velocity = previewer.watched(step)
    for _ in range(400):
        assert velocity(latent, torch.ones(1, 2)) is latent
    assert 5 <= len(shown) <= 0.05 * clock.now + 1


def test_a_preview_that_fails_stops_the_previews_and_not_the_video(model: Model) -> None:
    clock, calls = _Clock(), 0

    def show(url: str) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("no memory")

    latent = torch.zeros(1, model.vae.config.z_dim, 2, 2, 2)
    velocity = Previewer(model.vae, show, clock).watched(lambda x, times: x)
    for _ in range(3):
        clock.now += 100
        assert velocity(latent, torch.ones(1, 2)) is latent
    assert calls == 1


def test_a_worker_shows_previews_and_clears_them_away_when_the_video_is_there(
    store: Store, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinema.serve.preview._PAUSE_S", 0.0)
    monkeypatch.setattr("kinema.serve.preview._MOST_OF_TIME", 1e9)
    monkeypatch.setattr("kinema.serve.preview._PAUSE_GROWTH", 0.0)
    worker = Worker(store, Artefacts(tmp_path / "artefacts"), (str(tiny_model),))
    worker.load()
    jobs, seen, publish = Jobs(store), [], worker.leases.publish

    def look_and_publish(*args: Any) -> None:
        seen.extend(Feed(store, None).previews())
        publish(*args)

    monkeypatch.setattr(worker.leases, "publish", look_and_publish)
    job, _ = jobs.submit(NewJob(spec=VideoSpec(prompt="a red ball", model=str(tiny_model))))
    assert worker.work_once()
    assert jobs.get(job.id).status == "completed"
    assert [event.job_id for event in seen] == [job.id]
    shape = jobs.get(job.id).spec.shape
    assert picture(seen[0].data["image"]).size == (shape.width, shape.height)
    assert "video.preview" not in {event.type for event in jobs.events(job.id)}
