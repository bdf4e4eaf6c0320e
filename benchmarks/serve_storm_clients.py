"""The clients of `serve_storm.py`, which use the API and do not give up, and what they were promised."""

import asyncio
import collections
import contextlib
import dataclasses
import functools
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from kinema.media import write_video

UPLOADS = 0.15
"""Share of edits whose video is uploaded: decoding one in a child process takes seconds of a loaded core."""


@functools.cache
def uploaded_clip() -> bytes:
    """A video that comes from elsewhere: half a second of grey, 32 x 32."""
    with tempfile.TemporaryDirectory() as folder:
        write_video(Path(folder, "a.mp4"), np.full((5, 32, 32, 3), 90, np.uint8), 8.0)
        return Path(folder, "a.mp4").read_bytes()


@dataclasses.dataclass
class Ledger:
    """What clients were promised."""

    created: dict[str, str] = dataclasses.field(default_factory=dict)
    """Prompt, which is a name of its own for each order, by id."""
    kinds: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    deleted: set[str] = dataclasses.field(default_factory=set)
    sources: dict[str, str] = dataclasses.field(default_factory=dict)
    """The video that an edit starts from, by the id of the edit."""
    calling: set[str] = dataclasses.field(default_factory=set)
    """Jobs that are to be told of."""
    told: set[str] = dataclasses.field(default_factory=set)
    asked: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    completed_seen: set[str] = dataclasses.field(default_factory=set)
    refused: list[str] = dataclasses.field(default_factory=list)
    """Requests that were answered with 4xx though nothing is wrong with them."""
    in_storm: int = 0
    """Orders that were taken before the last kill."""

    @property
    def answers(self) -> int:
        """How often the server has answered somebody."""
        return sum(self.asked[method] for method in ("POST", "GET", "DELETE"))

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one message of a webhook, and say so."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length:")[2].split()[0])
            body = await reader.readexactly(length)
            self.told.add(json.loads(body)["data"]["id"])
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        except (OSError, EOFError):
            return  # whoever sent it was killed
        finally:
            writer.close()


class Refused(Exception):  # noqa: N818 - an answer
    """The server would not do what it should."""


class Client:
    """Somebody who uses the API, and does not give up."""

    def __init__(self, http: httpx2.AsyncClient, ledger: Ledger, name: str, seed: int, callback: str) -> None:
        self._http, self._ledger, self._name, self._callback = http, ledger, name, callback
        self._random, self._count = random.Random(seed), 0

    async def use(self, stop: asyncio.Event) -> None:
        """Create, look, edit, cancel and delete until told to stop."""
        while not stop.is_set():
            with contextlib.suppress(Refused):
                await self._use_once(stop)

    async def _use_once(self, stop: asyncio.Event) -> None:
        made = await self._order("create", "/v1/videos", {})
        await self._pause(0.5)
        if await self._change(made):
            return
        if await self._completed(made, stop):
            edited = await self._edit(made)
            if self._random.random() < 0.3:
                await self._delete(made)  # what is made from it may fail now, and nothing else
            if not await self._change(edited) and self._random.random() < 0.5:
                await self._completed(edited, stop)

    async def _pause(self, most_s: float) -> None:
        await asyncio.sleep(self._random.uniform(0, most_s))

    async def _change(self, job_id: str) -> bool:
        """Cancel it or delete it, or neither."""
        what = self._random.random()
        if what < 0.25:
            await self._ask("POST", f"/v1/videos/{job_id}/cancel")
        elif what < 0.5:
            await self._delete(job_id)
        return what < 0.5

    async def _delete(self, job_id: str) -> None:
        await self._ask("DELETE", f"/v1/videos/{job_id}")
        self._ledger.deleted.add(job_id)

    async def _completed(self, job_id: str, stop: asyncio.Event) -> bool:
        """Look until it has ended, or the storm has."""
        while not stop.is_set():
            shown = await self._ask("GET", f"/v1/videos/{job_id}")
            if shown["status"] == "completed":
                self._ledger.completed_seen.add(job_id)
            if shown["status"] in ("completed", "failed"):
                return bool(shown["status"] == "completed")
            await self._pause(1.0)
        return False

    async def _edit(self, source: str) -> str:
        """Do something to a finished video, or to one that is uploaded first."""
        named: dict[str, str] = {"id": source}
        if self._random.random() < UPLOADS:
            file = await self._ask(
                "POST", "/v1/files", files={"file": ("a.mp4", uploaded_clip()), "purpose": (None, "user_data")}
            )
            named = {"file_id": str(file["id"])}
        kind = self._random.choice(("extend", "remix", "vary", "loop", "replace", "join"))
        wish = {
            "loop": {"seconds": 0.5},
            "replace": {"start": 0.25},
            "join": {"cuts": [{"video": named}, {"video": named}]},
        }.get(kind, {})
        if kind == "extend":
            job_id = await self._order(kind, "/v1/videos/extensions", {"video": named, "seconds": 1.0})
        else:
            job_id = await self._order(kind, "/v1/videos/edits", {"video": named, "edit": {"kind": kind, **wish}})
        if "id" in named:
            self._ledger.sources[job_id] = source
        return job_id

    async def _order(self, kind: str, path: str, body: dict[str, Any]) -> str:
        self._count += 1
        prompt = f"{self._name} order {self._count}"
        is_calling = self._random.random() < 0.25
        body = {**body, "prompt": prompt, **({"callback_url": self._callback} if is_calling else {})}
        made = await self._ask("POST", path, body, {"idempotency-key": prompt})
        job_id = str(made["id"])
        self._ledger.created[job_id] = prompt
        self._ledger.kinds[kind] += 1
        if is_calling:
            self._ledger.calling.add(job_id)
        return job_id

    async def _ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, files: Any = None
    ) -> dict[str, Any]:
        wait_s = 0.05
        while True:
            try:
                answer = await self._http.request(method, path, json=body, headers=headers, files=files)
            except httpx2.HTTPError:
                await self._pause(wait_s)
                wait_s = min(2.0, 2 * wait_s)  # or asking in vain would take the time of what is to answer
                continue
            if answer.status_code == 404 and method == "DELETE":
                return {}  # an earlier try did it, and its answer was lost
            if answer.status_code in (429, 500, 502, 503):
                self._ledger.asked[str(answer.status_code)] += 1
                await self._pause(1.0)
                continue
            self._ledger.asked[method] += 1
            if answer.status_code != 200:
                self._ledger.refused.append(f"{method} {path} {body}: {answer.status_code} {answer.text}")
                raise Refused(path)
            return dict(answer.json())
