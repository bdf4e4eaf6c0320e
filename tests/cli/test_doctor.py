import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kinema.cli import main as cli
from kinema.errors import how_to_install
from kinema.serve.leases import Leases
from kinema.serve.store import Store


def _findings(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, tuple[str, str]]]:
    code = cli.main(["doctor", "--json", *words])
    rows = json.loads(capsys.readouterr().out)
    worst = {"fault": 0, "warning": 1, "ok": 2}
    rows.sort(key=lambda row: worst[row["verdict"]], reverse=True)
    return code, {row["what"]: (row["verdict"], row["said"]) for row in rows}


def test_a_healthy_machine_is_found_healthy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**40))
    store = Store.open(tmp_path / "store")
    Leases(store, "a", clock=lambda: time.time() + 36_000).alive(["mini"])  # however slow this machine is
    store.close()
    code, found = _findings(capsys, "--store", str(tmp_path / "store"))
    assert code == 0, found
    assert {found[what][0] for what in ("kinema", "device", "disk", "codecs", "model", "store", "files")} == {"ok"}
    assert found["workers"] == ("ok", "1 heard of lately")
    assert not (tmp_path / "store" / "artefacts" / "doctor").exists()


def test_what_is_wrong_is_said_with_its_remedy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    monkeypatch.setitem(__import__("kinema.cli.doctor", fromlist=["_EXTRAS"])._EXTRAS, "data", ("no_such_module",))
    (tmp_path / "jobs.sqlite3").write_bytes(b"this is no database, it is a text of some length" * 100)
    code, found = _findings(capsys, "--store", str(tmp_path), "--model", "mimi")
    assert code == 1
    assert found["disk"][0] == found["store"][0] == found["model"][0] == "fault"
    assert "make room" in found["disk"][1]
    assert "mini" in found["model"][1]
    assert found["extras"] == ("warning", f"data is not installed; {how_to_install('data')} if you need it")


def test_a_store_that_is_not_there_yet_is_no_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, found = _findings(capsys, "--store", str(tmp_path / "new"))
    assert found["store"][0] == "warning"
    assert not (tmp_path / "new").exists()
    cli.main(["doctor"])
    assert capsys.readouterr().out.startswith("ok       kinema")
