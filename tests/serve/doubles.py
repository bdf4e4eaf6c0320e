"""A worker's double, and a running server with it behind and OpenAI's client before."""

import base64
import dataclasses
import json
import threading
import time
from typing import Any

import httpx2
import openai

from kinema.config import to_dict
from kinema.serve.artefacts import Artefacts
from kinema.serve.capabilities import Capabilities
from kinema.serve.job import Artefact, Result
from kinema.serve.jobs import Jobs, note
from kinema.serve.leases import Leases
from kinema.serve.links import Links
from kinema.serve.store import Store
from kinema.shapes import Stride
from kinema.spec import ModelDefaults

VIDEO = bytes(range(256)) * 8
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAYklEQVR4nO3PMQ0AIADAMEAI/qUgCxEcDcmqYJtn7/GzpQNeNaA1"
    "oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaBdQ3UBhOjh6FcAAAAASUVORK5CYII="
)
"""A red picture of 64 x 64 pixels."""
MODEL = Capabilities(
    name="mini",
    defaults=ModelDefaults(frames=17, height=64, width=64, fps=8.0, steps=20, guidance=4.0, solver="unipc", shift=1.0),
    stride=Stride(4, 16, 16),
    solvers=("euler", "unipc"),
    pictures=("first", "last"),
)


class Double:
    """Stands for a worker: takes jobs and publishes files at once, while it is on."""

    def __init__(self, store: Store, artefacts: Artefacts) -> None:
        self.leases, self.artefacts = Leases(store, "double"), artefacts
        self.leases.offer("mini", json.dumps(to_dict(MODEL)))
        self.failure: str | None = None
        """What goes wrong with every job, from now on."""
        self.preview: str | None = None
        """What every job shows on the way; it then waits until that was `shown`."""
        self.shown = threading.Event()
        self.on, self._stop = threading.Event(), threading.Event()
        self.on.set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def work_once(self) -> None:
        job = self.leases.claim(["mini"])
        if job is None:
            return
        self.leases.renew(job, stage="denoise", step=5, total=10, progress=47, eta_s=1.0)
        if self.preview is not None:
            with self.leases.store.write() as db:
                note(db, job.id, "video.preview", self.leases.clock(), image=self.preview)
            self.shown.wait(10)
        if self.failure is not None:
            self.leases.failed(job, "server_error", self.failure, again=False)
            return
        files = {}
        variants = {"video": "video/mp4", "thumbnail": "image/webp", "spritesheet": "image/jpeg"}
        for variant, kind in {**variants, **({"image": "image/png"} if job.kind == "image" else {})}.items():
            name = f"jobs/{job.id}/attempt-{job.attempt}/{variant}"
            content = {"video": VIDEO, "image": PNG}.get(variant, variant.encode())
            self.artefacts.write(name, content)
            files[variant] = Artefact(name=name, num_bytes=len(content), media_type=kind)
        spec = job.spec if job.spec.edit is not None else job.spec.resolve(MODEL.defaults, MODEL.stride)
        seconds = float(job.request["seconds"]) if spec.frames is None else (spec.frames - 1) / 8
        spec = dataclasses.replace(spec, fps=8.0, frames=round(8 * seconds) + 1)  # a worker reads both from the video
        self.leases.publish(job, Result(artefacts=files, spec=spec, seconds=seconds))

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            if self.on.is_set():
                self.work_once()


@dataclasses.dataclass
class Place:
    """A running server, the worker's double behind it, and OpenAI's client before it."""

    running: Any
    double: Double
    client: openai.OpenAI
    http: httpx2.Client

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.running.store)

    @property
    def links(self) -> Links:
        return Links(self.running.store, time.time)
