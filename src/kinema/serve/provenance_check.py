"""Marks in files of strangers, looked for in a process with limits that is thrown away, where decoding harms nobody.

`python -m kinema.serve.provenance_check NAME MAX_PIXELS` is that process: it looks at a file in the folder that it is
started in and prints what it found as JSON; with exit code 3 a line says why it cannot.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from kinema.errors import KinemaError, MediaError

MAX_FRAMES = 3000
MEMORY_BYTES = 4 * 2**30
CPU_S = 60
TIMEOUT_S = 120.0

_TURNS = threading.BoundedSemaphore(2)  # so many at once, however many ask


def check_provenance(content: bytes, ending: str, max_pixels: int) -> dict[str, Any]:
    """Look for every mark in a file, whose format `ending` names, as `kinema verify --json` does.

    Raises MediaError for one that cannot be read, is too large, or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="kinema-check-") as folder, _TURNS:
        name = f"file.{ending}"
        Path(folder, name).write_bytes(content)
        command = [sys.executable, "-m", "kinema.serve.provenance_check", name, str(max_pixels)]
        kept = {
            key: value for key, value in os.environ.items() if key in ("HOME", "XDG_CONFIG_HOME", "KINEMA_PROVENANCE")
        }
        environment = {**kept, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))}
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise MediaError("the file takes too long to look through; send a shorter one") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() if done.returncode == 3 else "the file cannot be decoded"
        raise MediaError(" ".join(said.split())[:300])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(name: str, max_pixels: int) -> int:
    """Look through a file of this folder with little memory, time and rights."""
    import resource

    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),  # it may write to the pipe only
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    from kinema.media import probe
    from kinema.provenance.verify import verify

    try:
        info = probe(name)
        if info.width * info.height > max_pixels:
            raise MediaError(f"the file has {info.width}x{info.height} pixels, more than {max_pixels}")
        found = verify(name, max_frames=MAX_FRAMES)
    except (KinemaError, MemoryError, OSError) as error:
        sys.stderr.write(str(error) or "the file needs too much memory")
        return 3
    marks = [dataclasses.asdict(mark) for mark in found.marks]
    answer = {"marks": marks, "contradictions": found.contradictions, "is_broken": found.is_broken}
    sys.stdout.write(json.dumps(answer, default=str))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
