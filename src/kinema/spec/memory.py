"""An amount of memory as people write it."""

import re

from kinema.errors import SpecError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_memory(amount: str | int) -> int:
    """Read an amount such as "8GB", "1.5 GiB" or a number of bytes. Raises SpecError for anything else."""
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([A-Za-z]*)\s*", str(amount))
    unit = None if found is None else _UNITS.get(found[2].upper())
    if found is None or unit is None or float(found[1]) * unit < 1:
        raise SpecError(f"memory={amount!r} is no amount of memory; it takes a number and a unit, such as 8GB or 800MB")
    return int(float(found[1]) * unit)


def show_memory(num_bytes: int) -> str:
    """Write an amount of memory with two digits or three, rounded up so that what is asked for suffices."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if num_bytes >= size or unit == "MB":
            tenths = -(-num_bytes * 10 // size)
            return f"{tenths / 10:g}{unit}" if tenths < 1000 else f"{-(-num_bytes // size)}{unit}"
    raise AssertionError
