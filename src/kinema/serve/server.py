"""The web server, which lets go of those who follow events before it ends."""

import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from kinema.signals import ending_signals, handling


class Server(uvicorn.Server):
    """Serves the application; asked to stop, it ends the streams that would never end by themselves."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app
        app.state.is_stopping = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let all that asks a process to end stop the server; uvicorn itself leaves SIGHUP out."""
        with super().capture_signals(), handling(ending_signals(), self.handle_exit):
            yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: tell the streams, then wait for the requests that are under way."""
        self._app.state.is_stopping = True
        await super().shutdown(sockets)
