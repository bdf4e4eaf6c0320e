"""Fetching published models, against a hub of our own on this machine; no test asks the network."""

import hashlib
import http.server
import json
import threading
import types

import pytest
import torch
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from kinema.errors import CheckpointError, SpecError
from kinema.model import hub

COMMIT = "a" * 40
NOT_FOUND = types.SimpleNamespace(status_code=404, headers={}, request=None)
LARGE = "transformer/diffusion_pytorch_model.safetensors"


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


def _git_sha(data):
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


class Hub(http.server.ThreadingHTTPServer):
    """Answers what huggingface_hub asks; may serve wrong bytes."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.gets = []
        self.wrong = set()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server_port}"

    def etag(self, name):
        return _sha256(self.files[name]) if name == LARGE else _git_sha(self.files[name])


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args):
        pass

    def _json(self, data, status=200):
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self):
        self._file(with_body=False)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path.startswith("/api/models/some/model/tree/"):
            self._json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": _git_sha(data)}
                    | ({"lfs": {"oid": _sha256(data), "size": len(data), "pointerSize": 1}} if name == LARGE else {})
                    for name, data in self.server.files.items()
                ]
            )
        elif path.startswith("/api/models/some/model"):
            siblings = [{"rfilename": name} for name in self.server.files]
            self._json({"_id": "1", "id": "some/model", "modelId": "some/model", "sha": COMMIT, "siblings": siblings,
                        "private": False, "tags": [], "downloads": 0, "likes": 0})  # fmt: skip
        else:
            self._file(with_body=True)

    def _file(self, *, with_body):
        name = self.path.split("?")[0].partition(f"/resolve/{COMMIT}/")[2]
        if name not in self.server.files:
            self._json({"error": "Repository not found"}, 404)
            return
        data = self.server.files[name]
        if name in self.server.wrong:
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = 0
        if "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{self.server.etag(name)}"')
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if not with_body:
            return
        self.server.gets.append((name, start))
        self.wfile.write(data[start:])


@pytest.fixture
def server(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    torch.manual_seed(0)
    files = {
        "model_index.json": b'{"_class_name": "WanPipeline"}',
        "transformer/config.json": b"{}",
        LARGE: bytes(range(256)) * 4096,
        "assets/picture.png": b"not wanted",
    }
    hub_server = Hub(files)
    thread = threading.Thread(target=hub_server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield hub_server
    hub_server.shutdown()
    hub_server.server_close()
    thread.join()


def _names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_model_is_fetched_once_and_its_hashes_are_right(server, tmp_path):
    assert hub.installed("some/model", cache=tmp_path) is None
    folder = hub.fetch("some/model", endpoint=server.endpoint, cache=tmp_path)
    assert _names(folder) == {"model_index.json", "transformer/config.json", LARGE}
    assert (folder / LARGE).read_bytes() == server.files[LARGE]
    assert len(list(hub.check_hashes(folder))) == 3
    assert hub.installed("some/model", cache=tmp_path) == folder
    asked = len(server.gets)
    assert hub.fetch("some/model", endpoint=server.endpoint, cache=tmp_path) == folder
    assert len(server.gets) == asked


def test_a_damaged_file_is_named_removed_and_fetched_anew(server, tmp_path):
    server.wrong = {LARGE}
    folder = hub.fetch("some/model", endpoint=server.endpoint, cache=tmp_path)
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model.safetensors is damaged"):
        list(hub.check_hashes(folder))
    server.wrong = set()
    folder = hub.fetch("some/model", endpoint=server.endpoint, cache=tmp_path)
    assert (folder / LARGE).read_bytes() == server.files[LARGE]
    assert len(list(hub.check_hashes(folder))) == 3


def test_a_model_that_the_hub_does_not_have_is_named(server, tmp_path):
    says = r"^some/other is neither a folder here nor a model that could be fetched: the hub answers 404; "
    with pytest.raises(SpecError, match=says):
        hub.fetch("some/other", endpoint=server.endpoint, cache=tmp_path)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            RepositoryNotFoundError("404. Repository Not Found.", response=NOT_FOUND),
            "the hub has none of that",
        ),
        (LocalEntryNotFoundError("No entry.\nPlease check your internet connection."), "the hub cannot be reached"),
        (HFValidationError("Repo id must use alphanumeric chars."), "the hub has no such names"),
        (OSError("Disk quota exceeded. See 3.5.\nTry again."), "Disk quota exceeded"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_what_the_client_says_in_sentences_is_said_in_words(monkeypatch, error, why):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(SpecError, match=rf"could be fetched: {why}.*; check the spelling and the network$"):
        hub.fetch("some/model")


def test_a_folder_of_ones_own_has_no_hashes_to_check(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    assert list(hub.check_hashes(tmp_path)) == []
