"""The page in a real browser: a server that can be killed and started again, and a worker that does as it is told."""

import dataclasses
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from PIL import Image
from tests.serve.doubles import MODEL

from kinema.config import to_dict
from kinema.generate.record import Record
from kinema.media import Frame, VideoWriter
from kinema.serve.app import make_app
from kinema.serve.artefacts import Artefacts
from kinema.serve.job import Artefact, Job, Result
from kinema.serve.jobs import Jobs
from kinema.serve.keys import KeyRing
from kinema.serve.leases import Leases
from kinema.serve.server import Server
from kinema.serve.settings import ServeSettings
from kinema.serve.store import Store

PREVIEW = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


class Stage:
    """A server on a port of its own over a store that outlives it, and its worker's part, played by the test."""

    def __init__(self, folder: Path, keys: KeyRing | None = None) -> None:
        self.folder, self.keys = folder, keys or KeyRing()
        self.store = Store.open(folder / "store")
        self.artefacts, self.jobs = Artefacts(folder / "artefacts"), Jobs(self.store)
        self.leases = Leases(self.store, "actor")
        self.leases.offer("mini", json.dumps(to_dict(MODEL)))
        self.leases.alive(["mini"])
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = int(listening.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._server: uvicorn.Server | None = None
        self.start()

    def start(self) -> None:
        app = make_app(self.store, self.artefacts, ServeSettings(), self.keys)
        config = uvicorn.Config(
            app, port=self.port, log_config=None, ws="none", access_log=False, timeout_graceful_shutdown=1
        )
        self._server = Server(app, config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
            self._thread.join(30)
            self._server = None

    def close(self) -> None:
        self.stop()
        self.store.close()

    def take(self) -> Job:
        """Take the next job, which the page has asked for or is about to."""
        deadline = time.monotonic() + 240  # an upload is decoded in a process of its own
        while time.monotonic() < deadline:
            if job := self.leases.claim(["mini"]):
                return job
            time.sleep(0.02)
        raise AssertionError("the page asked for nothing")

    def work(self, job: Job, percent: int) -> None:
        self.leases.renew(job, stage="denoise", step=percent, total=100, progress=percent, eta_s=30.0)

    def finish(self, job: Job, pictures: Frame | None = None) -> Job:
        """Publish a real video, of a square that wanders unless other pictures are given."""
        spec = job.spec.resolve(MODEL.defaults, MODEL.stride)
        if spec.frames is None:  # of an edit, whose length and rate a worker reads from the video
            spec = dataclasses.replace(spec, fps=8.0, frames=round(8 * float(job.request["seconds"])) + 1)
        frames = np.full((spec.frames, spec.height, spec.width, 3), 200, np.uint8)
        for i, frame in enumerate(frames):
            frame[20:44, i : i + 24] = (190, 40, 20)
        frames = frames if pictures is None else pictures
        video, thumbnail = self.folder / f"{job.id}.mp4", self.folder / f"{job.id}.webp"
        record = Record(spec=spec, version="0", weights="0", device="cpu", dtype="float32")
        with VideoWriter(video, spec.fps or 8, record.to_metadata()) as writer:
            writer.write(frames)
        Image.fromarray(frames[len(frames) // 2]).save(thumbnail, "WEBP")
        files = {}
        webp = (thumbnail, "image/webp")
        for variant, (path, kind) in {"video": (video, "video/mp4"), "thumbnail": webp, "spritesheet": webp}.items():
            name = f"jobs/{job.id}/attempt-{job.attempt}/{variant}"
            files[variant] = Artefact(name=name, num_bytes=self.artefacts.put(path, name), media_type=kind)
        self.leases.publish(job, Result(artefacts=files, spec=spec, seconds=((spec.frames or 1) - 1) / (spec.fps or 8)))
        return self.jobs.get(job.id)

    def add(self, prompt: str, owner: str = "", pictures: Frame | None = None, **more: Any) -> Job:
        """A finished video that was there before."""
        self.order(prompt, owner, **more)
        return self.finish(self.take(), pictures)

    def order(self, prompt: str, owner: str = "", **more: Any) -> None:
        """A video that somebody has asked for."""
        from kinema.serve.job import NewJob
        from kinema.spec import VideoSpec

        spec = VideoSpec(prompt=prompt, **more).resolve(MODEL.defaults, MODEL.stride)
        self.jobs.submit(NewJob(owner=owner, spec=spec, request={"model": "mini", "seconds": "2", "size": "64x64"}))


def drop(page: Any, path: Path, kind: str) -> None:
    """Drop a file on the page."""
    page.evaluate(
        """async ([bytes, name, type]) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], name, { type }));
          for (const each of ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(new DragEvent(each, { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        [list(path.read_bytes()), path.name, kind],
    )


@contextmanager
def follow_cancel(stage: Stage, job: Job) -> Iterator[None]:
    """Work on a job, as a worker does, until it is told to stop."""
    from kinema.errors import JobCancelled

    def work() -> None:
        try:
            while True:
                stage.leases.renew(job)
                time.sleep(0.05)
        except JobCancelled:
            stage.leases.cancelled(job)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join(30)
    assert not thread.is_alive(), "the job was not cancelled"


def ask(page: Any, prompt: str) -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.keyboard.press("Enter")


def until(page: Any, claim: str) -> None:
    """Wait until a claim holds on the page, whose policy lets nobody evaluate strings there for long."""
    deadline = time.monotonic() + 30
    while not page.evaluate(claim):
        assert time.monotonic() < deadline, claim
        page.wait_for_timeout(20)


def plays(page: Any) -> None:
    until(page, "document.querySelector('#viewer-video').currentTime > 0")


def copied(page: Any, name: str, *, place: str = "#viewer") -> str:
    """Press a button that copies, and give what it copied; the notice may still be that of the copy before."""
    page.evaluate("navigator.clipboard.writeText('')")
    page.locator(place).get_by_role("button", name=name, exact=True).click()
    until(page, "navigator.clipboard.readText().then((text) => text !== '')")
    until(page, "document.querySelector('#toast').textContent === 'Copied.'")
    return str(page.evaluate("navigator.clipboard.readText()"))
