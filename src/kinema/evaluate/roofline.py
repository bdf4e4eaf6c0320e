"""The least time that a stage could take on this machine: its products at full rate, or its weights read once."""

import time
from dataclasses import dataclass

import torch

from kinema.generate.estimate import matrix_rate, wait_for
from kinema.generate.plan import make_plan
from kinema.generate.prepare import LoadOptions
from kinema.spec import VideoSpec

_PROBE_BYTES = 2**28
_PROBE_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What a stage must do, and the time below which it cannot be done here."""

    flops: int
    """Floating-point operations of its products."""
    weight_bytes: int
    """Bytes of weights that it reads, once per call."""
    seconds: float
    """The longer of both at the rates that were measured."""
    bound: str
    """Which of the two it is: compute or memory."""


def floors(spec: VideoSpec, device: str | None = None, dtype: str | None = None) -> dict[str, Floor]:
    """Count each stage of a request and hold it against the device's rates (Williams et al. 2009, "Roofline").

    Activations are not counted as memory traffic, so a stage may stay above its floor for a good reason.
    """
    plan = make_plan(spec, LoadOptions(device=device, dtype=dtype))
    where = plan.prepared.device
    products, bytes_rate = matrix_rate(where, plan.prepared.dtype), memory_rate(where)
    found = {}
    for each in plan.works():
        compute_s = each.work.flops * each.times / products
        memory_s = each.weight_bytes * each.times / bytes_rate
        found[each.stage] = Floor(
            flops=each.work.flops * each.times,
            weight_bytes=each.weight_bytes * each.times,
            seconds=max(compute_s, memory_s),
            bound="compute" if compute_s >= memory_s else "memory",
        )
    return found


def memory_rate(device: torch.device) -> float:
    """Bytes per second that are read and written while a large array is copied, measured for a tenth of a second."""
    source = torch.ones(_PROBE_BYTES // 4, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    wait_for(device)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < _PROBE_S:
        target.copy_(source)
        wait_for(device)
        count += 1
    return 2 * _PROBE_BYTES * count / (time.perf_counter() - began)
