"""Pictures of strangers, decoded where they can do no harm."""

import subprocess
import sys
from pathlib import Path

from kinema.errors import MediaError

CHILD = Path(__file__).with_name("decode_child.py")
TIMEOUT_S = 60.0


def decode_picture(content: bytes, name: str, max_pixels: int) -> bytes:
    """A png, jpg or webp as a clean PNG: the first picture of it, turned upright, without anything else.

    It is decoded in a child process with limits on memory and time. Raises MediaError, which begins with `name`.
    """
    command = [sys.executable, "-I", str(CHILD), str(max_pixels)]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=TIMEOUT_S, env={}, check=False)
    except subprocess.TimeoutExpired:
        raise MediaError(f"{name} takes too long to decode; send another picture") from None
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode(errors="replace").strip() if done.returncode == 3 else "cannot be decoded"
    raise MediaError(f"{name} {' '.join(said.split())[:300]}; send png, jpg or webp")
