import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest
from openai import omit

from kinema.media import probe

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def _start(folder: Path, model: Path, port: int) -> subprocess.Popen[bytes]:
    words = ["--port", str(port), "--store", str(folder), "--model", str(model), "--lease", "2"]
    return subprocess.Popen([sys.executable, "-m", "kinema", "serve", *words])


def _wait_until_ready(client: openai.OpenAI) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        try:
            client.get("/../ready", cast_to=object)
        except openai.APIError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the server did not get ready")


def test_the_client_gets_its_video_although_everything_is_killed_on_the_way(tmp_path: Path, tiny_model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    server = _start(tmp_path / "store", tiny_model, port)
    try:
        _wait_until_ready(client)
        waiting = client.videos.create(prompt="a red ball", extra_body={"steps": 300, "seed": 1})
        while client.videos.retrieve(waiting.id).progress < 10:
            time.sleep(0.05)
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        server = _start(tmp_path / "store", tiny_model, port)
        _wait_until_ready(client)
        made = client.videos.poll(waiting.id, poll_interval_ms=100)
        assert (made.status, made.progress) == ("completed", 100)
        seconds = float(made.seconds)
        source = {"extra_body": {"video": {"id": made.id}}}
        extended = client.videos.extend(prompt="on", seconds=f"{2 * seconds:g}", video=omit, **source)  # type: ignore[arg-type]
        assert client.videos.poll(extended.id, poll_interval_ms=100).status == "completed"
        lengths = []
        for video in (made, extended):
            path = tmp_path / f"{video.id}.mp4"
            client.videos.download_content(video.id).write_to_file(path)
            lengths.append(probe(path).frames - 1)
        assert lengths[1] == 2 * lengths[0]
    finally:
        server.terminate()
        assert server.wait(120) in (0, 143, -signal.SIGTERM)
        client.close()
