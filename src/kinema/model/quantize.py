"""Weights of eight bits: the linear layers of a transformer's blocks, by torchao."""

import contextlib
import functools
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from kinema.config import unknown
from kinema.errors import SpecError, how_to_install

QUANTIZATIONS = ("int8", "fp8")
"""Kinds of eight bits: whole numbers on any device, floating point on GPUs that multiply it."""

_FP8_CAPABILITY = (8, 9)
"""The first NVIDIA GPUs that multiply eight-bit floating point: Ada and Hopper."""

_BLOCK_WEIGHT = re.compile(r"blocks\.\d+\..*\bweight")


def check_quantize(kind: str, device: torch.device) -> None:
    """Refuse a kind that is unknown, or that cannot be had here. Raises SpecError, which says what can."""
    if kind not in QUANTIZATIONS:
        raise SpecError(unknown("quantize", kind, QUANTIZATIONS))
    if kind == "fp8":
        if device.type != "cuda":
            raise SpecError(f"quantize=fp8 needs an NVIDIA GPU, and this is {device.type}; use int8")
        if torch.cuda.get_device_capability(device) < _FP8_CAPABILITY:
            raise SpecError(
                f"quantize=fp8 needs a GPU that multiplies it (Ada, Hopper or newer); use int8, not {device}"
            )
    try:
        _torchao()
    except ImportError:
        raise SpecError(f"quantize needs the package torchao: {how_to_install('quantize')}") from None


def is_quantized(name: str, weight: Tensor) -> bool:
    """Whether a weight of a transformer, by its name, is one of those that get eight bits."""
    return weight.ndim == 2 and _BLOCK_WEIGHT.fullmatch(name) is not None


def quantized_bytes(weight: Tensor) -> int:
    """What such a weight takes with eight bits: one byte for each number, five for each row (scale, zero point)."""
    return weight.numel() + 5 * weight.shape[0]


@torch.no_grad()
def quantized(weight: Tensor, kind: str) -> Tensor:
    """The weight of a linear layer ("d_out d") with eight bits and a scale for each row; it computes as the other did.

    int8 on a GPU multiplies eight bits by eight bits, activations being scaled token by token. On a CPU PyTorch's
    products of bfloat16 are quicker than those of eight bits: weights are widened as they are used.
    """
    layer = nn.Linear(1, 1, bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    ao = _torchao()
    if kind == "fp8":
        config = ao.Float8DynamicActivationFloat8WeightConfig(granularity=ao.PerRow(), set_inductor_config=False)
    elif weight.device.type == "cpu":
        config = ao.Int8WeightOnlyConfig(set_inductor_config=False)
    else:
        config = ao.Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)
    ao.quantize_(layer, config)
    return layer.weight.detach()


@functools.cache
def _torchao() -> Any:
    """The package; what it says of kernels that it does not find is about those of other GPUs. Raises ImportError."""
    with _quiet():
        import torchao.quantization

    return torchao.quantization


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
