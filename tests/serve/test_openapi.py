import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.serve.doubles import PNG, Place

from kinema.serve.settings import QueueSettings, ServeSettings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

STREAMS = r"/events$"
"""They end when the video does, or never."""


@pytest.mark.slow
def test_nothing_that_is_asked_makes_an_error_of_the_server_or_an_undocumented_status(
    open_place: Callable[..., Place], tmp_path: Path
) -> None:
    place = open_place(ServeSettings(queue=QueueSettings(lease_s=36_000.0)))
    place.double.leases.alive(["mini"])  # without a worker /ready answers 503, as it should
    video = place.client.videos.create_and_poll(prompt="x", poll_interval_ms=20)
    file = place.client.files.create(file=("a.png", PNG), purpose="vision")
    known = {"video_id": video.id, "file_id": file.id, "name": "mini"}
    settings = "\n".join(f'{name} = "{value}"' for name, value in known.items())
    (tmp_path / "schemathesis.toml").write_text(f"[parameters]\n{settings}\n")
    words = ["run", f"{place.running.url}/openapi.json", "--exclude-path-regex", STREAMS]
    words += ["--checks", "not_a_server_error,status_code_conformance", "--phases", "coverage,fuzzing"]
    words += ["--max-examples", "5", "--mode", "all", "--seed", "1", "--continue-on-failure"]
    words += ["--generation-database", "none", "--no-shrink", "--request-timeout", "120", "--no-color"]
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *words],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout or "passed" in done.stdout


def test_every_route_tells_its_errors_and_its_body(place: Place) -> None:
    described = place.http.get("/openapi.json").json()
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            codes = set(operation["responses"])
            assert {"500", "503"} <= codes, (path, method)
            assert "422" not in codes or method == "post", (path, method)
            if path.startswith("/v1"):
                assert {"400", "401"} <= codes, (path, method)
    videos = described["paths"]["/v1/videos"]["post"]["requestBody"]["content"]
    assert set(videos) == {"application/json", "multipart/form-data"}
    assert described["components"]["schemas"]["CreateVideo"]["required"] == ["prompt"]


def test_no_page_runs_scripts_from_elsewhere(place: Place) -> None:
    assert [place.http.get(path).status_code for path in ("/docs", "/redoc")] == [404, 404]
