import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kinema.serve.artefacts import Artefacts
from kinema.serve.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "store")
    yield opened
    opened.close()


@dataclass
class Running:
    """A server that listens, over a store and artefacts of its own."""

    url: str
    store: Store
    artefacts: Artefacts


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers: `serve(settings, keys)`."""
    import uvicorn

    from kinema.serve.app import make_app

    with contextlib.ExitStack() as stack:

        def start(*args: Any) -> Running:
            store = Store.open(tmp_path / "place" / "store")
            artefacts = Artefacts(tmp_path / "place" / "artefacts")
            with socket.create_server(("127.0.0.1", 0)) as listening:
                port = listening.getsockname()[1]
            config = uvicorn.Config(
                make_app(store, artefacts, *args), port=port, log_config=None, ws="none", access_log=False
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, daemon=True)
            thread.start()

            def stop() -> None:
                server.should_exit = True
                thread.join(30)
                store.close()

            stack.callback(stop)
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.01)
            return Running(f"http://127.0.0.1:{port}", store, artefacts)

        yield start


@pytest.fixture
def open_place(serve: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    import httpx2
    import openai
    from tests.serve.doubles import Double, Place

    opened: list[Any] = []

    def start(*args: Any, token: str = "none") -> Any:
        running = serve(*args)

        client = openai.OpenAI(base_url=f"{running.url}/v1", api_key=token, max_retries=0)
        http = httpx2.Client(base_url=running.url, timeout=120)
        opened.append(Place(running, Double(running.store, running.artefacts), client, http))
        return opened[-1]

    yield start
    for place in opened:
        place.double.stop()
        place.client.close()
        place.http.close()


@pytest.fixture
def place(open_place: Callable[..., Any]) -> Any:
    return open_place()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from tests.browser import start_browser

    with start_browser() as started:
        yield started


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    from tests.serve.studio import Stage

    opened: list[Any] = []

    def start(keys: Any = None) -> Any:
        opened.append(Stage(tmp_path, keys))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page: `visit(stage)`; no error may be thrown on it, and nothing asked of another host."""
    wrong: list[str] = []
    contexts = []

    def go(stage: Any, path: str = "/", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, "locale": "en-US", **options})
        contexts.append(context)
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if "Content Security" in message.text else None)
        own = (stage.url, "data:", "blob:")
        page.on("request", lambda request: None if request.url.startswith(own) else wrong.append(request.url))
        page.goto(stage.url + path)
        return page

    yield go
    for context in contexts:
        context.close()
    assert wrong == []
