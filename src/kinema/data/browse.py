"""A page on this machine to look at a data set: clips, scores, clusters, and what was dropped and why."""

import functools
import io
import json
import re
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
from PIL import Image

from kinema.data.frames import iter_pictures
from kinema.data.publish import statistics
from kinema.data.store import Row, Store, quoted
from kinema.errors import DataError, KinemaError

PAGE = Path(__file__).with_name("browse.html")
MOST = 200
"""Clips of one answer."""
POSTER_PX = 320

_STATES = {
    "kept": "split_reason IS NULL AND drop_reason IS NULL",
    "dropped": "(split_reason IS NOT NULL OR drop_reason IS NOT NULL)",
    "all": "true",
}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")


class Browser:
    """Answers the page's questions about one data set; reads only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        names = store.columns("clips")
        if not names:
            raise DataError(f"{store.folder} has no clips yet; `kinema data run` makes them")
        self._columns = [name for name in names if name != "video_hash"]
        self._has_reasons = "drop_reason" in names

    def overview(self) -> dict[str, Any]:
        """Counts, reasons, cameras, and the columns that hold numbers."""
        facts = statistics(self._store)
        rows = self._store.read("clips", [name for name in ("camera", "cluster") if name in self._columns])
        sizes = Counter(row["cluster"] for row in rows if row.get("cluster"))
        schema = self._store.schema("clips")
        numbers = [
            name
            for name in self._columns
            if pa.types.is_floating(schema.field(name).type) or pa.types.is_integer(schema.field(name).type)
        ]
        return {
            "name": self._store.folder.name,
            "files": facts["files_by_status"],
            "kept": facts["kept"],
            "clips": facts["clips"],
            "hours": facts["hours"],
            "reasons": facts["dropped_by_reason"],
            "cameras": dict(Counter(row["camera"] for row in rows if row.get("camera"))),
            "clusters": sum(size > 1 for size in sizes.values()),
            "numbers": numbers,
        }

    def clips(self, question: dict[str, str]) -> dict[str, Any]:
        """A part of the clips that match `state`, `reason`, `camera`, `text`, `cluster` and `where` (SQL), by `sort`.

        Raises DataError for a condition or a column that does not fit.
        """
        where = self._condition(question)
        sort = question.get("sort") or "clip_id"
        if sort not in self._columns:
            raise DataError(f"there is no column {sort!r}; columns: {', '.join(self._columns)}")
        found = self._store.read("clips", [sort], where)
        known = [row for row in found if row[sort] is not None]
        known.sort(key=lambda row: row[sort], reverse=question.get("order") == "down")
        ordered = [*known, *(row for row in found if row[sort] is None)]
        start = int(question.get("from") or 0)
        names = [row["clip_id"] for row in ordered[start : start + min(MOST, int(question.get("count") or 60))]]
        rows: dict[str, Row] = {}
        if names:
            listed = ", ".join(quoted(name) for name in names)
            rows = {row["clip_id"]: row for row in self._store.read("clips", self._columns, f"clip_id IN ({listed})")}
        values = [row[sort] for row in known if isinstance(row[sort], int | float)]
        return {"total": len(found), "clips": [rows[name] for name in names], "bars": _bars(values)}

    def video(self, clip_id: str) -> tuple[bytes, str]:
        """The encoded clip and its media type."""
        data = self._store.bytes_of(clip_id)
        return data, "video/webm" if data[:4] == b"\x1aE\xdf\xa3" else "video/mp4"

    @functools.lru_cache(maxsize=512)  # noqa: B019 - one browser lives as long as its server
    def poster(self, clip_id: str) -> bytes:
        """The first picture of a clip as JPEG, 320 pixels at most."""
        picture = next(iter_pictures(self._store.bytes_of(clip_id))).rgb(POSTER_PX)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=80)
        return buffer.getvalue()

    def _condition(self, question: dict[str, str]) -> str:
        state = question.get("state") or "kept"
        if state not in _STATES:
            raise DataError(f"there is no state {state!r}; states: {', '.join(_STATES)}")
        condition = _STATES[state]
        if not self._has_reasons:
            condition = condition.replace("drop_reason", "split_reason")
        parts = [condition]
        if reason := question.get("reason"):
            like = quoted(_escaped(reason.replace("looks like another", "looks like")) + "%")
            columns = ["split_reason", "drop_reason"] if self._has_reasons else ["split_reason"]
            parts.append("(" + " OR ".join(f"{name} LIKE {like}" for name in columns) + ")")
        for name in ("camera", "cluster"):
            if value := question.get(name):
                parts.append(f"{name} = {quoted(value)}")
        if text := question.get("text"):
            columns = [name for name in ("uri", "caption", "clip_id") if name in self._columns]
            like = quoted(f"%{_escaped(text.lower())}%")
            parts.append("(" + " OR ".join(f"lower({name}) LIKE {like}" for name in columns) + ")")
        if where := question.get("where"):
            parts.append(f"({where})")
        return " AND ".join(parts)


def make_server(store: Store, port: int) -> ThreadingHTTPServer:
    """A server on 127.0.0.1 for one data set; port 0 takes a free one. Raises DataError when the port is taken."""
    browser = Browser(store)
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, browser))
    except OSError as error:
        raise DataError(f"port {port} cannot be used: {error.strerror}; name another --port") from error
    server.daemon_threads = True
    return server


class Handler(BaseHTTPRequestHandler):
    """One request; only GET, and only for this machine's own names, so that no other site can ask through a browser."""

    protocol_version = "HTTP/1.1"

    def __init__(self, browser: Browser, *arguments: Any) -> None:
        self._browser = browser
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answer with the page, the overview, clips, a video or a poster."""
        if self.headers.get("Host", "").rpartition(":")[0] not in ("127.0.0.1", "localhost"):
            self._send(HTTPStatus.FORBIDDEN, b"this page is for this machine", "text/plain")
            return
        url = urlsplit(self.path)
        kind, _, name = url.path.strip("/").partition("/")
        try:
            if kind == "":
                self._send(HTTPStatus.OK, PAGE.read_bytes(), "text/html; charset=utf-8")
            elif kind == "overview":
                self._send_json(self._browser.overview())
            elif kind == "clips":
                self._send_json(self._browser.clips({key: value[0] for key, value in parse_qs(url.query).items()}))
            elif kind == "video":
                self._send_part(*self._browser.video(unquote(name)))
            elif kind == "poster":
                self._send(HTTPStatus.OK, self._browser.poster(unquote(name)), "image/jpeg")
            else:
                self._send(HTTPStatus.NOT_FOUND, b"there is no such page", "text/plain")
        except (KinemaError, ValueError) as error:
            self._send(HTTPStatus.BAD_REQUEST, str(error).encode(), "text/plain; charset=utf-8")
        except ConnectionError:
            self.close_connection = True  # the browser went on to something else

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the standard library
        """Keep quiet: a line for each picture helps nobody."""

    def _send_json(self, value: dict[str, Any]) -> None:
        self._send(HTTPStatus.OK, json.dumps(value, ensure_ascii=False).encode(), "application/json")

    def _send_part(self, data: bytes, kind: str) -> None:
        """Answer with all, or with the range that a player asks for."""
        match = _RANGE.match(self.headers.get("Range", ""))
        if match is None or not any(match.groups()):
            self._send(HTTPStatus.OK, data, kind, {"Accept-Ranges": "bytes"})
            return
        first = int(match[1]) if match[1] else max(0, len(data) - int(match[2]))
        last = min(int(match[2]) if match[1] and match[2] else len(data) - 1, len(data) - 1)
        if first > last:
            self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", kind, {"Content-Range": f"bytes */{len(data)}"})
            return
        headers = {"Accept-Ranges": "bytes", "Content-Range": f"bytes {first}-{last}/{len(data)}"}
        self._send(HTTPStatus.PARTIAL_CONTENT, data[first : last + 1], kind, headers)

    def _send(self, status: HTTPStatus, data: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'; img-src 'self' data:")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(data)


def _bars(values: list[float], count: int = 40) -> dict[str, Any]:
    """Counts between even steps, for the little chart over the clips."""
    if not values:
        return {"low": 0, "high": 0, "counts": []}
    low, high = min(values), max(values)
    width = (high - low) or 1
    counts = Counter(min(count - 1, int((value - low) / width * count)) for value in values)
    return {"low": low, "high": high, "counts": [counts[k] for k in range(count)]}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
