"""Where to compute and in which number type, when nobody said; and what to say when there is too little memory."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from kinema.config import unknown
from kinema.errors import DeviceMemoryError, SpecError
from kinema.spec import VideoSpec

DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Number types of the networks by the name a person gives; latents and solvers stay in float32."""


def choose_device(name: str | None = None) -> torch.device:
    """Return the device called `name`; without a name CUDA where it is there, else the CPU. Raises SpecError."""
    if name is None:
        if not torch.cuda.is_available():
            return torch.device("cpu")
        local = os.environ.get("LOCAL_RANK")  # one GPU for each process that torchrun started
        return torch.device("cuda" if local is None else f"cuda:{local}")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SpecError(f"device={name!r} is no device; use cpu, cuda, or cuda:1 for the second GPU") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SpecError(f"device={name!r} is not on this machine (it has {torch.cuda.device_count()} GPUs); use cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SpecError(f"device={name!r} is not on this machine; use cpu")
    if device.type not in ("cpu", "cuda", "mps"):
        raise SpecError(f"device={name!r} is not supported; use cpu, cuda or mps")
    return device


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """Return the number type called `name`; without a name bfloat16 where `device` has it in hardware, else float32."""
    if name is not None:
        if name not in DTYPES:
            raise SpecError(unknown("dtype", name, DTYPES))
        return DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if device.type == "cpu" and cpu_has_bfloat16() else torch.float32


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name that `choose_dtype` takes."""
    return str(dtype).removeprefix("torch.")


def cpu_has_bfloat16() -> bool:
    """Say whether this CPU multiplies bfloat16 in hardware (AVX512-BF16, AMX, Arm's BF16): six times as fast."""
    if torch.backends.cpu.get_cpu_capability().startswith(("AVX", "DEFAULT", "NO AVX")):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def held_memory_bytes(device: torch.device) -> int:
    """Memory that is taken already: of a GPU by this process' tensors, else this process' own; 0 where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def give_back_memory(device: torch.device) -> None:
    """Hand freed memory back to the system: of a GPU what PyTorch keeps, else what glibc keeps, if it is glibc."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


@contextlib.contextmanager
def explained(spec: VideoSpec) -> Iterator[None]:
    """Turn running out of memory into an error that says what to make smaller."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        is_memory = not isinstance(error, RuntimeError) or isinstance(error, torch.OutOfMemoryError)
        if not is_memory and not any(sign in str(error) for sign in ("alloc", "Storage size calculation overflowed")):
            raise
        raise DeviceMemoryError(
            f"the device has too little memory for {spec.frames} frames of {spec.width}x{spec.height}; "
            "use fewer frames, a smaller size, dtype=bfloat16, or say how much there is, such as memory=8GB"
        ) from error
