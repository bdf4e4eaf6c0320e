"""A page on this machine to look at a data set: clips, scores, clusters, and what was dropped and why."""

import functools
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
from PIL import Image

from kinema.config import unknown
from kinema.data.frames import iter_pictures
from kinema.data.publish import escaped, reason_pattern, statistics
from kinema.data.store import Row, Store, quoted
from kinema.errors import DataError, KinemaError

PAGE = Path(__file__).with_name("page")
FILES = {
    "": ("index.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
}
MOST = 200
"""Clips of one answer."""
LENGTH = "seconds"
"""What sorts clips by their length, which is no column."""
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
        """Counts, reasons, cameras, clusters of copies, and the columns that hold numbers with their ranges."""
        facts = statistics(self._store)
        schema = self._store.schema("clips")
        numbers = [
            name
            for name in self._columns
            if pa.types.is_floating(schema.field(name).type) or pa.types.is_integer(schema.field(name).type)
        ]
        rows = self._store.read("clips", [*numbers, *({"camera"} & set(self._columns))])
        values = {name: [row[name] for row in rows if row[name] is not None] for name in numbers}
        copies = self._copies()
        return {
            "name": self._store.folder.name,
            "num_files": facts["files"],
            "files_without_clips": len(self._files_without_clips()),
            "kept": facts["kept"],
            "clips": facts["clips"],
            "hours": facts["hours"],
            "reasons": facts["dropped_by_reason"],
            "cameras": dict(Counter(row["camera"] for row in rows if row.get("camera"))),
            "clusters": len(copies),
            "copies": copies,
            "numbers": numbers,
            "ranges": {name: (min(each), max(each)) for name, each in values.items() if each},
        }

    def clips(self, question: dict[str, str]) -> dict[str, Any]:
        """A part of the clips that match `state`, `reason`, `camera`, `text`, `cluster` and `where` (SQL), by `sort`.

        Raises DataError for a condition or a column that does not fit.
        """
        where = self._condition(question)
        sort = question.get("sort") or "uri"
        if sort not in (LENGTH, *self._columns):
            raise DataError(unknown("column", sort, (LENGTH, *self._columns)))
        columns = [each for each in dict.fromkeys(("uri", "start_s", "end_s", sort)) if each != LENGTH]
        found = [{**row, LENGTH: row["end_s"] - row["start_s"]} for row in self._store.read("clips", columns, where)]
        known = [row for row in found if row[sort] is not None]
        known.sort(key=lambda row: (row["uri"], row["start_s"]))
        known.sort(key=lambda row: row[sort], reverse=question.get("order") == "down")
        ordered = [*known, *(row for row in found if row[sort] is None)]
        rows = self._rows([row["clip_id"] for row in _part(ordered, question)])
        values = [row[sort] for row in known if isinstance(row[sort], int | float)]
        return {"total": len(found), "clips": rows, "bars": _bars(values)}

    def clusters(self, question: dict[str, str]) -> dict[str, Any]:
        """A part of the clusters of clips that look alike, the largest first, the clip that was kept leading each."""
        where = self._condition({**question, "state": "all"})
        copies = self._copies()
        matching = {row["cluster"] for row in self._store.read("clips", ["cluster"], where)} if copies else set()
        sizes = {name: size for name, size in copies.items() if name in matching}
        part = _part(sorted(sizes, key=lambda name: (-sizes[name], name)), question)
        listed = []
        for name in part:
            alike = [row["clip_id"] for row in self._store.read("clips", [], f"cluster = {quoted(name)}")]
            listed.append({"name": name, "clips": self._rows(sorted(alike, key=lambda each: each != name))})
        return {"total": len(sizes), "clusters": listed}

    def files(self, question: dict[str, str]) -> dict[str, Any]:
        """A part of the files that gave no clips, and why."""
        words = (question.get("text") or "").lower()
        found = [row for row in self._files_without_clips() if words in row["uri"].lower()]
        return {"total": len(found), "files": _part(found, question)}

    def _files_without_clips(self) -> list[Row]:
        names = ("ingest_status", "ingest_reason", "split_status", "split_reason", "duplicate_of")
        columns = [name for name in names if name in self._store.columns("files")]
        found = []
        for row in self._store.read("files", columns):
            if row.get("duplicate_of"):
                found.append(
                    {"uri": row["uri"], "status": "copy", "reason": f"the same bytes as {row['duplicate_of']}"}
                )
            for stage in ("ingest", "split"):
                status = row.get(f"{stage}_status")
                if status not in (None, "done"):
                    found.append({"uri": row["uri"], "status": status, "reason": row.get(f"{stage}_reason") or ""})
        return found

    def _copies(self) -> dict[str, int]:
        """Clusters of more than one clip, and their sizes."""
        if "cluster" not in self._columns:
            return {}
        sizes = Counter(row["cluster"] for row in self._store.read("clips", ["cluster"], "cluster IS NOT NULL"))
        return {name: size for name, size in sizes.items() if size > 1}

    def _rows(self, names: Sequence[str]) -> list[Row]:
        """All columns of clips, in the order of their names as given."""
        if not names:
            return []
        listed = ", ".join(quoted(name) for name in names)
        rows = {row["clip_id"]: row for row in self._store.read("clips", self._columns, f"clip_id IN ({listed})")}
        return [rows[name] for name in names]

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
            like = quoted(reason_pattern(reason))
            columns = ["split_reason", "drop_reason"] if self._has_reasons else ["split_reason"]
            parts.append("(" + " OR ".join(f"{name} LIKE {like}" for name in columns) + ")")
        for name in ("camera", "cluster"):
            if value := question.get(name):
                parts.append(f"{name} = {quoted(value)}")
        if text := question.get("text"):
            columns = [name for name in ("uri", "caption", "clip_id") if name in self._columns]
            like = quoted(f"%{escaped(text.lower())}%")
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
            if kind in FILES:
                name, media_type = FILES[kind]
                self._send(HTTPStatus.OK, (PAGE / name).read_bytes(), f"{media_type}; charset=utf-8")
            elif kind == "overview":
                self._send_json(self._browser.overview())
            elif kind in ("clips", "clusters", "files"):
                asked = {key: value[0] for key, value in parse_qs(url.query).items()}
                self._send_json(getattr(self._browser, kind)(asked))
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
        self.send_header(
            "Content-Security-Policy", "default-src 'self'; img-src 'self' data:; style-src-attr 'unsafe-inline'"
        )
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(data)


def _part(found: Sequence[Any], question: dict[str, str]) -> list[Any]:
    """The rows from `from` on, `count` of them."""
    start = max(0, int(question.get("from") or 0))
    return list(found[start : start + min(MOST, int(question.get("count") or 60))])


def _bars(values: list[float], count: int = 40) -> dict[str, Any]:
    """Counts between even steps, for the little chart over the clips."""
    if not values:
        return {"low": 0, "high": 0, "counts": []}
    low, high = min(values), max(values)
    width = (high - low) or 1
    counts = Counter(min(count - 1, int((value - low) / width * count)) for value in values)
    return {"low": low, "high": high, "counts": [counts[k] for k in range(count)]}
