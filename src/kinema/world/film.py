"""From linear light to the picture: exposure, a filmic curve, and sRGB."""

import torch
from torch import Tensor

EXPOSURE = 0.78


def develop(light: Tensor) -> Tensor:
    """Turn linear light (any shape, >= 0) into display-linear values in [0, 1], with soft shoulders for highlights.

    The curve is the rational one of Narkowicz (2015) with gentler contrast, so that hues keep apart.
    """
    x = light * EXPOSURE
    return (x * (1.9 * x + 0.06) / (x * (1.75 * x + 0.72) + 0.12)).clamp(0.0, 1.0)


def to_srgb(value: Tensor) -> Tensor:
    """Encode display-linear values in [0, 1] as sRGB in [0, 1] (IEC 61966-2-1)."""
    curve = 1.055 * value.clamp(min=0.0031308).pow(1.0 / 2.4) - 0.055
    return torch.where(value < 0.0031308, value * 12.92, curve)


def to_srgb_bytes(value: Tensor) -> Tensor:
    """Encode display-linear values in [0, 1] as sRGB, uint8."""
    return (to_srgb(value) * 255.0 + 0.5).to(torch.uint8)
