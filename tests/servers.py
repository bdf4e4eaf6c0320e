"""Servers on this machine, run while something is tested."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import pytest


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    """Run a server in a thread, and give its address."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def bucket_server(patch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run a server that speaks S3, which all clients of this process then ask, and give one of them."""
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server")
    fsspec = pytest.importorskip("fsspec")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    for name, value in (
        ("AWS_ENDPOINT_URL", address), ("AWS_ACCESS_KEY_ID", "any"), ("AWS_SECRET_ACCESS_KEY", "any"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):  # fmt: skip
        patch.setenv(name, value)
    client = boto3.client("s3")
    fsspec.filesystem("s3").clear_instance_cache()
    try:
        yield client
    finally:
        client.close()
        server.stop()
