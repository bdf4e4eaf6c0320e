import asyncio
import base64
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
from mcp.client import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ImageContent, Request, RequestParams, ResourceLink, Result
from pydantic import BaseModel, ConfigDict, Field
from tests.serve.doubles import VIDEO, Double, Place

from kinema.media import probe
from kinema.serve.app import make_app
from kinema.serve.artefacts import Artefacts
from kinema.serve.jobs import Jobs
from kinema.serve.keys import KeyRing, make_key
from kinema.serve.mcp_tasks import IDENTIFIER
from kinema.serve.mcp_tools import make_mcp
from kinema.serve.settings import Limits, ServeSettings
from kinema.serve.store import Store

Use = Callable[[Client], Awaitable[None]]
ERAS = ("auto", "legacy")


class Desk:
    """The tools of one agent on this machine, and the worker's double behind them."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.artefacts = Artefacts(folder / "artefacts")
        self.jobs, self.double = Jobs(store), Double(store, self.artefacts)
        self.server = make_mcp(make_app(store, self.artefacts).state.api, is_local=True)

    def use(self, work: Use, **options: Any) -> None:
        async def run() -> None:
            async with Client(self.server, **options) as client:
                await work(client)

        asyncio.run(run())


@pytest.fixture
def desk(tmp_path: Path, store: Store) -> Iterator[Desk]:
    opened = Desk(tmp_path, store)
    yield opened
    opened.double.stop()


def text_of(result: CallToolResult) -> str:
    return result.content[0].text  # type: ignore[union-attr]


@pytest.mark.parametrize("era", ERAS)
def test_an_agent_makes_a_video_hears_how_far_it_is_and_reads_the_file(desk: Desk, era: str) -> None:
    heard: list[float] = []

    async def hear(done: float, total: float | None, message: str | None) -> None:
        heard.append(done)

    async def work(client: Client) -> None:
        made = await client.call_tool(
            "generate_video", {"prompt": "a red ball", "seed": 7, "seconds": 4}, progress_callback=hear
        )
        assert not made.is_error, made
        shown = made.structured_content
        assert (shown["status"], shown["seed"], shown["seconds"], shown["progress"]) == ("completed", 7, "4", 100)
        assert Path(shown["file"]).read_bytes() == VIDEO
        assert shown["file"] in text_of(made)
        _, link, picture = made.content
        assert isinstance(link, ResourceLink)
        assert (link.mime_type, link.size) == ("video/mp4", len(VIDEO))
        assert isinstance(picture, ImageContent)
        assert base64.b64decode(picture.data) == b"thumbnail"
        (content,) = (await client.read_resource(link.uri)).contents
        assert base64.b64decode(content.blob) == VIDEO  # type: ignore[union-attr]
        assert heard[-1] == 100

    desk.use(work, mode=era)


def test_an_agent_edits_extends_lists_cancels_and_deletes(desk: Desk) -> None:
    async def work(client: Client) -> None:
        async def call(tool: str, **words: Any) -> Any:
            result = await client.call_tool(tool, words)
            assert not result.is_error, text_of(result)
            return result.structured_content

        made = await call("generate_video", prompt="a red ball")
        edited = await call("edit_video", video_id=made["id"], prompt="a blue ball")
        extended = await call("extend_video", video_id=made["id"], prompt="it stops", seconds=4)
        assert (edited["parent_id"], edited["seed"], extended["seconds"]) == (made["id"], made["seed"], "4")
        desk.double.on.clear()
        waiting = await call("generate_video", prompt="never made", wait_s=0)
        listed = await call("list_videos", limit=3)
        assert [each["id"] for each in listed["videos"]] == [waiting["id"], extended["id"], edited["id"]]
        assert listed["has_more"]
        rest = await call("list_videos", after=edited["id"])
        assert [each["id"] for each in rest["videos"]] == [made["id"]]
        assert (await call("cancel_video", video_id=waiting["id"]))["error"]["code"] == "cancelled"
        assert desk.jobs.get(waiting["id"]).status == "cancelled"
        await call("delete_video", video_id=made["id"])
        gone = await client.call_tool("get_video", {"video_id": made["id"]})
        assert gone.is_error
        assert "there is no video" in text_of(gone)
        assert "list_videos" in text_of(gone)
        assert "GET" not in text_of(gone)
        models = (await call("list_models"))["models"]
        assert {"id": "mini", "ready": True, "default_size": "64x64"}.items() <= models[-1].items()

    desk.use(work)


def test_a_tool_that_has_waited_enough_says_how_to_go_on(desk: Desk) -> None:
    desk.double.on.clear()

    async def work(client: Client) -> None:
        result = await client.call_tool("generate_video", {"prompt": "a red ball", "wait_s": 0.1})
        assert not result.is_error
        assert "get_video" in text_of(result)
        desk.double.on.set()
        later = {"video_id": result.structured_content["id"], "wait_s": 30}
        assert (await client.call_tool("get_video", later)).structured_content["status"] == "completed"

    desk.use(work)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"prompt": "a ball", "size": "63x64"}, "use 48 or 64"),
        ({"prompt": "a ball", "model": "nobody"}, "nobody"),
        ({"prompt": "a ball", "seed": -1}, "seed=-1"),
        ({"prompt": "a ball", "first_image": "/no/such.png"}, "cannot be read"),
        ({"prompt": ""}, "prompt"),
    ],
)
def test_what_cannot_be_made_is_refused_in_words_that_help(desk: Desk, words: dict[str, Any], says: str) -> None:
    async def work(client: Client) -> None:
        result = await client.call_tool("generate_video", words)
        assert result.is_error
        assert says in text_of(result)
        assert "Traceback" not in text_of(result)

    desk.use(work)


def test_tools_say_what_they_change_and_what_they_need(desk: Desk) -> None:
    async def work(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) >= {
            "generate_video", "edit_video", "loop_video", "extend_video", "get_video", "list_videos", "cancel_video",
            "delete_video", "list_models", "verify_video",
        }  # fmt: skip
        assert tools["get_video"].annotations.read_only_hint  # type: ignore[union-attr]
        assert tools["delete_video"].annotations.destructive_hint  # type: ignore[union-attr]
        assert tools["generate_video"].input_schema["required"] == ["prompt"]
        for tool in tools.values():
            for name, about in tool.input_schema["properties"].items():
                assert about.get("description") or name == "limit", (tool.name, name)

    desk.use(work)


@pytest.mark.slow
def test_kinema_mcp_starts_a_worker_when_a_video_is_asked_for_and_goes_on_the_next_time(
    tmp_path: Path, tiny_model: Path
) -> None:
    words = ["-m", "kinema", "mcp", "--store", str(tmp_path / "store"), "--model", str(tiny_model)]
    agent = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
    ids: list[str] = []

    async def ask() -> None:
        async with Client(agent) as client:
            models = (await client.call_tool("list_models", {})).structured_content["models"]
            assert [model["ready"] for model in models] == [False] * len(models)  # nothing was loaded for that
            asked = await client.call_tool("generate_video", {"prompt": "a red ball", "seed": 3, "wait_s": 0})
            ids.append(asked.structured_content["id"])

    async def come_back() -> None:
        async with Client(agent) as client:
            made = await client.call_tool("get_video", {"video_id": ids[0], "wait_s": 600})
            assert made.structured_content["status"] == "completed", made
            assert probe(made.structured_content["file"]).frames > 1
            verified = await client.call_tool("verify_video", {"video_id": ids[0]})
            assert {mark["kind"] for mark in verified.structured_content["marks"]} >= {"record", "watermark"}

    asyncio.run(ask())
    asyncio.run(come_back())


def test_the_logging_of_the_process_stays_as_it_is(tmp_path: Path, store: Store) -> None:
    root = logging.getLogger()
    kept, level = list(root.handlers), root.level
    root.handlers.clear()  # or nothing would be added, whoever tries
    try:
        make_app(store, Artefacts(tmp_path))
        assert (root.handlers, root.level) == ([], level)
    finally:
        root.handlers[:] = kept


class Task(Result):
    model_config = ConfigDict(extra="allow")

    result_type: Literal["task"] = Field("task", alias="resultType")
    task_id: str = Field(alias="taskId")


class TaskParams(RequestParams):
    task_id: str = Field(alias="taskId")


class TaskRequest(Request[TaskParams, str]):
    name_param = "taskId"


class TaskShown(BaseModel):
    model_config = ConfigDict(extra="allow")


class TakesTasks(ClientExtension):
    """A client that follows a task to its end, cancelling it on the way if told to."""

    identifier = IDENTIFIER

    def __init__(self, desk: Desk, *, cancels: bool = False) -> None:
        self.desk, self.cancels = desk, cancels
        self.seen: list[dict[str, Any]] = []

    def claims(self) -> list[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Task, resolve=self.follow)]

    async def ask(self, session: Any, method: str, task_id: str) -> dict[str, Any]:
        params = TaskParams.model_validate({"taskId": task_id})
        answer = await session.send_request(TaskRequest(method=method, params=params), TaskShown)
        return dict(answer.model_dump())

    async def follow(self, task: Task, context: ClaimContext) -> CallToolResult:
        self.seen.append(task.model_dump(by_alias=True))
        assert self.desk.jobs.get(task.task_id)  # it is in the queue before its client hears of it
        self.seen.append(await self.ask(context.session, "tasks/get", task.task_id))
        assert (await self.ask(context.session, "tasks/update", task.task_id))["resultType"] == "complete"
        if self.cancels:
            await self.ask(context.session, "tasks/cancel", task.task_id)
        self.desk.double.on.set()
        while (shown := await self.ask(context.session, "tasks/get", task.task_id))["status"] == "working":
            await asyncio.sleep(0.02)
        self.seen.append(shown)
        if shown["status"] == "cancelled":
            return CallToolResult(content=[], is_error=True)
        return CallToolResult.model_validate(shown["result"])


def test_a_client_that_takes_tasks_gets_one_and_asks_after_it(desk: Desk) -> None:
    desk.double.on.clear()
    extension = TakesTasks(desk)

    async def work(client: Client) -> None:
        result = await client.call_tool("generate_video", {"prompt": "a red ball"})
        assert result.structured_content["status"] == "completed"
        given, working, done = extension.seen
        assert (given["taskId"], given["status"]) == (result.structured_content["id"], "working")
        assert (working["resultType"], working["status"]) == ("complete", "working")
        assert 1000 <= working["pollIntervalMs"] <= 10_000
        assert (done["status"], done["result"]["isError"]) == ("completed", False)
        assert done["createdAt"] == given["createdAt"] <= done["lastUpdatedAt"]

    desk.use(work, extensions=[extension])


def test_a_task_can_be_cancelled(desk: Desk) -> None:
    desk.double.on.clear()
    extension = TakesTasks(desk, cancels=True)

    async def work(client: Client) -> None:
        assert (await client.call_tool("generate_video", {"prompt": "a red ball"})).is_error
        assert extension.seen[-1]["status"] == "cancelled"

    desk.use(work, extensions=[extension])


def test_a_client_that_takes_no_tasks_may_not_ask_for_them_and_unknown_ones_are_refused(desk: Desk) -> None:
    async def undeclared(client: Client) -> None:
        with pytest.raises(MCPError) as refused:
            await TakesTasks(desk).ask(client.session, "tasks/get", "video_x")
        assert refused.value.error.code == -32021

    async def unknown(client: Client) -> None:
        with pytest.raises(MCPError, match="there is no video") as refused:
            await TakesTasks(desk).ask(client.session, "tasks/get", "video_x")
        assert refused.value.error.code == -32602

    desk.use(undeclared)
    desk.use(unknown, extensions=[TakesTasks(desk)])


def over_http(place: Place, work: Use, token: str | None = None, **options: Any) -> None:
    from mcp.client.streamable_http import streamable_http_client

    async def run() -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            transport = streamable_http_client(f"{place.running.url}/mcp", http_client=http)
            async with Client(transport, **options) as client:
                await work(client)

    asyncio.run(run())


@pytest.mark.parametrize("era", ERAS)
def test_the_same_tools_are_there_over_http(place: Place, era: str) -> None:
    heard: list[float] = []

    async def hear(done: float, total: float | None, message: str | None) -> None:
        heard.append(done)

    async def work(client: Client) -> None:
        made = await client.call_tool("generate_video", {"prompt": "a red ball"}, progress_callback=hear)
        shown = made.structured_content
        assert "file" not in shown  # paths of the server mean nothing to others
        assert place.http.get(shown["url"]).content == VIDEO
        (content,) = (await client.read_resource(f"video://{shown['id']}/thumbnail.webp")).contents
        assert base64.b64decode(content.blob) == b"thumbnail"  # type: ignore[union-attr]
        assert heard[-1] == 100
        path = await client.call_tool("generate_video", {"prompt": "x", "first_image": "/etc/passwd"})
        assert path.is_error
        assert "data:image" in text_of(path)

    over_http(place, work, mode=era)


def test_over_http_a_key_is_wanted_and_shows_only_its_own(open_place: Callable[..., Place]) -> None:
    (anna, anna_key), (ben, ben_key), (eve, eve_key) = make_key("anna"), make_key("ben"), make_key("eve")
    ring = KeyRing(keys=(anna_key, ben_key, eve_key.__class__(name="eve", sha256=eve_key.sha256, can_write=False)))
    place = open_place(ServeSettings(), ring, token=anna)
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    answer = place.http.post("/mcp", json=asked)
    assert (answer.status_code, json.loads(answer.text)["error"]["code"]) == (401, "invalid_api_key")
    ids: list[str] = []

    async def make(client: Client) -> None:
        ids.append((await client.call_tool("generate_video", {"prompt": "a red ball"})).structured_content["id"])

    async def look(client: Client) -> None:
        assert (await client.call_tool("get_video", {"video_id": ids[0]})).is_error
        with pytest.raises(MCPError):
            await client.read_resource(f"video://{ids[0]}/video.mp4")

    async def only_look(client: Client) -> None:
        refused = await client.call_tool("generate_video", {"prompt": "a red ball"})
        assert "may look" in text_of(refused)

    over_http(place, make, anna)
    assert place.jobs.get(ids[0]).owner == "anna"
    over_http(place, look, ben)
    over_http(place, only_look, eve)


def test_over_http_nobody_calls_more_often_than_they_may(open_place: Callable[..., Place]) -> None:
    place = open_place(ServeSettings(limits=Limits(calls_per_minute=2)))
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    headers = {"accept": "application/json, text/event-stream"}
    codes = [place.http.post("/mcp", json=asked, headers=headers).status_code for _ in range(3)]
    assert (codes[2], 429 in codes[:2]) == (429, False)


def test_a_page_on_another_site_cannot_reach_the_tools(place: Place) -> None:
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    headers = {"accept": "application/json, text/event-stream"}
    assert place.http.post("/mcp", json=asked, headers=headers | {"origin": "https://evil.test"}).status_code == 403
    assert place.http.post("/mcp", json=asked, headers=headers | {"host": "evil.test"}).status_code == 421
