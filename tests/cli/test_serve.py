import json
import socket
import stat
from pathlib import Path

import pytest

from kinema.cli import flags
from kinema.cli import main as cli
from kinema.cli.serve import Serve, settings_of, welcome, worker_command
from kinema.cli.worker import Work


def test_a_public_address_needs_a_key(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    assert cli.main(["serve", "--host", "0.0.0.0", "--dry-run"]) == 2
    assert "--make-key NAME --keys keys.json" in capsys.readouterr().err
    assert cli.main(["serve", "--make-key", "anna", "--keys", str(keys)]) == 0
    token = capsys.readouterr().out.strip()
    assert token.startswith("sk-kinema-")
    assert token not in keys.read_text()
    assert cli.main(["serve", "--host", "0.0.0.0", "--dry-run", "--keys", str(keys)]) == 0
    assert json.loads(capsys.readouterr().out)["keys"] == ["anna"]


def test_two_keys_of_one_name_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["serve", "--make-key", "anna", "--keys", str(tmp_path / "keys.json")]
    assert cli.main(words) == 0
    assert cli.main(words) == 2
    assert "same name" in capsys.readouterr().err


def test_the_key_file_is_for_its_owner_only(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    assert cli.main(["serve", "--make-key", "anna", "--keys", str(keys)]) == 0
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600


def test_dry_run_shows_the_settings_and_makes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    store = tmp_path / "store"
    words = ["--model", "mini,other", "--alias", "sora-2=other", "--max-queued", "5"]
    assert cli.main(["serve", "--dry-run", "--store", str(store), *words]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["models"], shown["aliases"], shown["queue"]["max_queued"]) == (
        ["mini", "other"], {"sora-2": "other"}, 5,
    )  # fmt: skip
    assert (shown["artefacts"], shown["worker"]["device"], shown["worker"]["no_marks"]) == (None, None, False)
    assert cli.main(["serve", "--dry-run", "--device", "cpu", "--label", "eu", "--artefacts", "a"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["artefacts"], shown["worker"]["device"], shown["worker"]["label"]) == ("a", "cpu", "eu")
    assert cli.main(["serve", "--dry-run", "--no-worker"]) == 0
    assert json.loads(capsys.readouterr().out)["worker"] is None
    assert not store.exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--port", "99999"], "1 to 65535"),
        (["--alias", "sora-2"], "NAME=MODEL"),
        (["--alias", "sora-2=other"], "served: mini"),
        (["--max-queued", "0"], "max_queued=0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    assert cli.main(["serve", "--dry-run", *words]) == 2
    assert says in capsys.readouterr().err


def test_a_port_that_is_taken_is_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert cli.main(["serve", "--port", port, "--store", str(tmp_path / "store")]) == 2
    told = capsys.readouterr().err
    assert (f"port {port}: " in told, "give another --port" in told, "page:" in told) == (True, True, False)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ([], "http://127.0.0.1:8000/"),
        (["--host", "0.0.0.0", "--port", "81"], "http://localhost:81/"),
        (["--host", "::1"], "http://[::1]:8000/"),
        (["--public-url", "https://video.example.com/"], "https://video.example.com/"),
    ],
)
def test_the_first_words_of_a_server_are_addresses_that_open(words: list[str], page: str) -> None:
    options = flags.parse(Serve, words, "serve")
    lines = welcome(options, settings_of(options)).splitlines()
    assert lines == [f"page: {page}", f"API:  {page}v1  (models: mini)"]


def test_the_worker_behind_a_server_computes_as_it_was_told(tmp_path: Path) -> None:
    words = ["--store", str(tmp_path), "--device", "cpu", "--dtype", "float32", "--memory", "2GB", "--no-marks"]
    command = worker_command(flags.parse(Serve, words, "serve"))
    work = flags.parse(Work, command[command.index("worker") + 1 :], "worker")
    assert (work.store, work.device, work.dtype, work.memory, work.no_marks) == (
        str(tmp_path), "cpu", "float32", "2GB", True,
    )  # fmt: skip


def test_an_amount_of_memory_that_is_none_is_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for command in ("serve", "worker"):
        assert cli.main([command, "--store", str(tmp_path / "store"), "--memory", "much"]) == 2
        assert "such as 8GB" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("store", ["mysql://db/kinema", "postgresql://kinema@db/kinema"])
def test_a_worker_names_what_its_store_lacks(capsys: pytest.CaptureFixture[str], store: str) -> None:
    assert cli.main(["worker", "--store", store]) == 6
    assert capsys.readouterr().err.startswith("kinema: ")
