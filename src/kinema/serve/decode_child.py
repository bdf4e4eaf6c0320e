"""Decodes one picture in a process of its own, with little memory, time and rights: bytes in, a clean PNG out.

Started by path, so it imports nothing of Kinema. `decode_child.py MAX_PIXELS`; with exit code 3 a line says what is
wrong.
"""

import io
import resource
import sys

MEMORY_BYTES = 2 * 2**30
CPU_S = 10


def main() -> int:
    """Read a picture from standard input and write it, turned as its EXIF says, to standard output."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),  # it may write to the pipe only
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    from PIL import Image, ImageOps

    try:
        image = Image.open(io.BytesIO(sys.stdin.buffer.read()), formats=("PNG", "JPEG", "WEBP"))
        if image.width * image.height > int(sys.argv[1]):
            return _refuse(f"has {image.width}x{image.height} pixels, more than {sys.argv[1]}")
        clean = io.BytesIO()
        ImageOps.exif_transpose(image).convert("RGB").save(clean, "PNG", compress_level=1)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return _refuse(f"cannot be read as a picture: {error}")
    except MemoryError:
        return _refuse("needs too much memory")
    sys.stdout.buffer.write(clean.getvalue())
    return 0


def _refuse(message: str) -> int:
    sys.stderr.write(message)
    return 3


if __name__ == "__main__":
    sys.exit(main())
