"""The official Inspector's command line lists the tools and calls them, over both transports; it needs Node's npx."""

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.serve.doubles import Place

PACKAGE = "@modelcontextprotocol/inspector"
TOOLS = {
    "generate_video", "edit_video", "loop_video", "extend_video", "get_video", "list_videos", "list_models",
    "cancel_video", "delete_video", "verify_video",
}  # fmt: skip
TOOL_IS_ERROR = 5
"""The exit code of newer ones when a tool has refused; older ones end with 0 then."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inspector() -> list[str]:
    """How the Inspector is started; nothing is fetched for it."""
    given = os.environ.get("KINEMA_INSPECTOR")
    if given is None and shutil.which("npx") is None:
        pytest.skip("npx is not installed; it comes with Node")
    command = ["npx", "--offline", "--no-install", PACKAGE] if given is None else [given]
    try:
        found = subprocess.run([*command, "--cli", "--help"], capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{PACKAGE} does not answer")
    if found.returncode != 0:
        pytest.skip(f"{PACKAGE} is not there: npm install --global {PACKAGE}, or its place as KINEMA_INSPECTOR")
    return [*command, "--cli"]


@functools.cache
def _patience(*command: str) -> tuple[str, ...]:
    """Newer ones give up on a server after 15 seconds unless told otherwise."""
    told = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=120, check=False).stdout
    return ("--connect-timeout", "240000") if "--connect-timeout" in told else ()


def _ask(inspector: list[str], server: list[str], *words: str) -> Any:
    done = subprocess.run(
        [*inspector, *server, *words, *_patience(*inspector)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, TOOL_IS_ERROR), done.stderr + done.stdout
    return json.loads(done.stdout[done.stdout.index("{") :])


def _call(inspector: list[str], server: list[str], tool: str, **arguments: object) -> Any:
    given = [word for name, value in arguments.items() for word in ("--tool-arg", f"{name}={value}")]
    return _ask(inspector, server, "--method", "tools/call", "--tool-name", tool, *given)


def test_it_lists_and_calls_the_tools_over_stdio(inspector: list[str], tmp_path: Path) -> None:
    server = [sys.executable, "-m", "kinema", "mcp", "--no-worker", "--store", str(tmp_path / "store")]
    listed = _ask(inspector, server, "--method", "tools/list")
    assert {tool["name"] for tool in listed["tools"]} == TOOLS
    asked = _call(inspector, server, "generate_video", prompt="a red ball", wait_s=0)["structuredContent"]
    assert asked["status"] == "queued"
    videos = _call(inspector, server, "list_videos")["structuredContent"]["videos"]
    assert [each["id"] for each in videos] == [asked["id"]]
    missing = _call(inspector, server, "get_video", video_id="video_1")
    assert missing["isError"]
    assert "there is no video" in missing["content"][0]["text"]


def test_it_lists_and_calls_the_tools_over_http(inspector: list[str], place: Place) -> None:
    server = [f"{place.running.url}/mcp", "--transport", "http"]
    assert {tool["name"] for tool in _ask(inspector, server, "--method", "tools/list")["tools"]} == TOOLS
    made = _call(inspector, server, "generate_video", prompt="a red ball")
    assert made["structuredContent"]["status"] == "completed"
    assert {part["type"] for part in made["content"]} == {"text", "resource_link", "image"}
    templates = _ask(inspector, server, "--method", "resources/templates/list")["resourceTemplates"]
    assert {each["name"] for each in templates} == {"video.mp4", "thumbnail.webp", "spritesheet.jpg"}
