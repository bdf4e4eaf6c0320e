"""Marks in files of strangers, looked for in a process with limits that is thrown away, where decoding harms nobody.

`python -m kinema.serve.provenance_check NAME MAX_PIXELS` is that process: it looks at a file in the folder that it is
started in and prints what it found as JSON; with exit code 3 a line says why it cannot.
"""

import dataclasses
import json
import sys
from typing import Any

from kinema.errors import KinemaError, MediaError
from kinema.scratch import scratch_folder
from kinema.serve.child import REFUSED, restrict, run_child

MAX_FRAMES = 3000
MEMORY_BYTES = 4 * 2**30
CPU_S = 60
TIMEOUT_S = 120.0


def check_provenance(content: bytes, ending: str, max_pixels: int) -> dict[str, Any]:
    """Look for every mark in a file, whose format `ending` names, as `kinema verify --json` does.

    Raises MediaError for one that cannot be read, is too large, or takes too long.
    """
    with scratch_folder() as folder:
        name = f"file.{ending}"
        (folder / name).write_bytes(content)
        arguments = (name, str(max_pixels))
        told = run_child("kinema.serve.provenance_check", folder, *arguments, what="the file", timeout_s=TIMEOUT_S)
    found: dict[str, Any] = json.loads(told)
    return found


def main(name: str, max_pixels: int) -> int:
    """Look through a file of this folder with little memory, time and rights."""
    restrict(MEMORY_BYTES, CPU_S)
    from kinema.media import probe
    from kinema.provenance.verify import verify

    try:
        info = probe(name)
        if info.width * info.height > max_pixels:
            raise MediaError(f"has {info.width}x{info.height} pixels, more than {max_pixels}")
        found = verify(name, max_frames=MAX_FRAMES)
    except (KinemaError, MemoryError, OSError) as error:
        sys.stderr.write(str(error) or "needs too much memory")
        return REFUSED
    marks = [dataclasses.asdict(mark) for mark in found.marks]
    answer = {"marks": marks, "contradictions": found.contradictions, "is_broken": found.is_broken}
    sys.stdout.write(json.dumps(answer, default=str))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
