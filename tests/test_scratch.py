import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from kinema.scratch import scratch_folder


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_folder_is_there_while_it_is_used(tmp_path: Path) -> None:
    with scratch_folder() as folder:
        (folder / "clip.mp4").write_text("bytes")
        with scratch_folder() as other:
            assert other != folder
            assert (folder / "clip.mp4").exists()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    code = (
        "import sys, tempfile, time; tempfile.tempdir = sys.argv[1]; from kinema.scratch import scratch_folder\n"
        "with scratch_folder() as folder: print(folder, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        left = Path(holder.stdout.readline().strip())
        with scratch_folder():
            assert left.exists()
        holder.send_signal(signal.SIGKILL)
    with scratch_folder():
        assert not left.exists()


def test_a_folder_without_a_lock_is_left_to_its_maker_for_a_minute(tmp_path: Path) -> None:
    fresh, old = tmp_path / "kinema-scratch-fresh", tmp_path / "kinema-scratch-old"
    fresh.mkdir()
    old.mkdir()
    an_hour_ago = time.time() - 3600
    os.utime(old, (an_hour_ago, an_hour_ago))
    with scratch_folder():
        assert fresh.exists()
        assert not old.exists()
