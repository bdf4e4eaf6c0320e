"""The most memory that this process ever held."""

import resource
import sys
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")


def peak_memory_bytes(device: torch.device) -> int:
    """Give the peak of the device's memory on a GPU, else of the process' resident memory, in bytes.

    Linux' VmHWM where there is one: `ru_maxrss` of a child process also counts its parent's peak.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
