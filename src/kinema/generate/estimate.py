"""What a generation will cost, counted on tensors that hold no numbers."""

import functools
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

EFFICIENCY = 0.37
"""Share of the rate of one large matrix product that a whole generation reaches.

`mini` in bfloat16 on two cores: 34, 38 and 39 % (lab notebook, 2026-11-26). `kinema bench --alone` prints the measured
share of each stage in its column "reached", and with `--json` the floors and the times that it is made of.
"""

_UNITS = ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "s"))

_PROBE_SIDE = 1024
_PROBE_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a computation does: floating-point operations, and the most memory that its tensors hold at once."""

    flops: int
    peak_bytes: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a generation will cost on this machine, roughly."""

    flops: int
    """Floating-point operations."""
    seconds: float
    """Time, judged by a short matrix product on the same device; a factor of two off is normal."""
    memory_bytes: int
    """Weights and the largest intermediate tensors together."""
    weight_bytes: int
    """Weights alone."""

    def describe(self) -> str:
        """One line for people."""
        size, unit = next(
            (self.seconds / length, unit) for length, unit in _UNITS if self.seconds >= 2 * length or length == 1
        )
        memory = _rounded(self.memory_bytes / 1e9, 2)
        return f"about {_rounded(size, 2)} {unit} and {memory} GB ({_rounded(self.flops / 1e12, 3)} TFLOP)"


def _rounded(value: float, digits: int) -> str:
    """A number as people write it: 0.12, 75, 12,000."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if rounded >= 10 ** (digits - 1) else f"{rounded:g}"


def count_work(compute: Callable[[], object]) -> Work:
    """Count what `compute` does, all of whose tensors must be on the meta device: that costs next to nothing."""
    with torch.inference_mode(), _Meter() as meter:
        compute()
    return Work(flops=meter.flops, peak_bytes=meter.peak_bytes)


@functools.cache
def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of one large matrix product, measured once for a tenth of a second."""
    left = torch.ones(_PROBE_SIDE, _PROBE_SIDE, device=device, dtype=dtype)
    right = left.clone()
    torch.mm(left, right)
    wait_for(device)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < _PROBE_S:
        torch.mm(left, right)
        wait_for(device)
        count += 1
    return 2 * _PROBE_SIDE**3 * count / (time.perf_counter() - began)


def wait_for(device: torch.device) -> None:
    """Let a device finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _Meter(TorchDispatchMode):
    """Counts the products of every operation, and follows the bytes of the tensors they make until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.peak_bytes = 0
        self._bytes = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and guarding against it would import the compiler, which takes seconds

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = _attention_flops if func is _ATTENTION else flop_registry.get(func.overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        self._seen.update(leaf.untyped_storage() for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        result = func(*args, **kwargs)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=result)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._follow(leaf.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        self._bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self._bytes)
        weakref.finalize(storage, self._forget, storage.nbytes())

    def _forget(self, num_bytes: int) -> None:
        self._bytes -= num_bytes


_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default


def _attention_flops(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Two products: queries with keys, and their scores with values. The fused kernels never hold the scores."""
    pairs = query.shape[:-1].numel() * key.shape[-2]
    return 2 * pairs * (query.shape[-1] + value.shape[-1])
