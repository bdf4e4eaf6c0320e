"""Sizes of clips, in pixels and in latents, and the one place that converts between them.

The letters of the axes, the same in signatures, einops patterns and prose:

`b` batch; `f h w` frames, rows and columns of video; `t y x` frames, rows and columns of latents; `c` channels;
`n` video tokens; `k` text tokens; `d` width; `a` heads; `e` width of a head.

A causal video autoencoder turns the first frame into a latent frame of its own, and every `stride.time` frames after it
into one more: f = (t - 1) * stride.time + 1, h = y * stride.height, w = x * stride.width.
"""

from dataclasses import dataclass

from kinema.errors import SpecError

MAX_FRAMES = 1_000_000
"""Eleven hours at 24 frames per second; more is a slip of the finger."""
MAX_SIDE = 65_536
"""Pixels, for the same reason."""


@dataclass(frozen=True)
class Stride:
    """How many frames, rows and columns of video one latent stands for."""

    time: int
    height: int
    width: int

    def __post_init__(self) -> None:
        """Refuse strides below one."""
        _require_positive(time=self.time, height=self.height, width=self.width)

    def with_patch(self, patch: tuple[int, int, int]) -> "Stride":
        """The stride of whole tokens: what sizes must divide by so that both autoencoder and transformer can use them.

        `patch` is the transformer's (time, height, width) patch. Raises SpecError unless its time is 1, because the
        lone first frame could not be paired.
        """
        if patch[0] != 1:
            raise SpecError(f"patch {patch} joins {patch[0]} latent frames; only 1 in time fits a causal autoencoder")
        return Stride(self.time, self.height * patch[1], self.width * patch[2])


@dataclass(frozen=True)
class VideoShape:
    """A clip's number of frames, and its height and width in pixels."""

    frames: int
    height: int
    width: int

    def __post_init__(self) -> None:
        """Refuse sizes below one."""
        _require_positive(frames=self.frames, height=self.height, width=self.width)

    def to_latent(self, stride: Stride) -> "LatentShape":
        """The size of the latents of this clip.

        Raises SpecError, naming the nearest values that fit, for frames that are not k * stride.time + 1 and for sides
        that the stride does not divide.
        """
        if (self.frames - 1) % stride.time:
            valid = _either(nearest_frames(self.frames, stride))
            rule = f"a clip has a multiple of {stride.time} frames plus 1"
            raise SpecError(f"frames={self.frames} does not fit: {rule}; use {valid}")
        for name, value, step in (("height", self.height, stride.height), ("width", self.width, stride.width)):
            if value % step:
                valid = _either(_neighbours(value, step, smallest=step, largest=MAX_SIDE))
                raise SpecError(f"{name}={value} does not fit: it must be a multiple of {step}; use {valid}")
        return LatentShape(
            (self.frames - 1) // stride.time + 1, self.height // stride.height, self.width // stride.width
        )


@dataclass(frozen=True)
class LatentShape:
    """A clip's number of latent frames, and their height and width."""

    frames: int
    height: int
    width: int

    def __post_init__(self) -> None:
        """Refuse sizes below one."""
        _require_positive(frames=self.frames, height=self.height, width=self.width)

    def to_video(self, stride: Stride) -> VideoShape:
        """The size of the clip that these latents decode to."""
        return VideoShape((self.frames - 1) * stride.time + 1, self.height * stride.height, self.width * stride.width)

    def num_tokens(self, patch: tuple[int, int, int]) -> int:
        """How many video tokens the transformer sees; `patch` is its (time, height, width) patch.

        Raises SpecError when the patch does not divide the latents.
        """
        sides = (self.frames, self.height, self.width)
        if any(side % step for side, step in zip(sides, patch, strict=True)):
            raise SpecError(f"latents of {sides} do not divide into patches of {patch}")
        return (self.frames // patch[0]) * (self.height // patch[1]) * (self.width // patch[2])


def nearest_frames(frames: int, stride: Stride) -> tuple[int, ...]:
    """The valid numbers of frames nearest to the one given: itself, or the one below and, up to MAX_FRAMES, above."""
    near = _neighbours(max(frames, 1) - 1, stride.time, smallest=0, largest=MAX_FRAMES - 1)
    return tuple(value + 1 for value in near)


def nearest_size(height: int, width: int, stride: Stride) -> tuple[int, int]:
    """The valid (height, width) nearest to the one given, each side by itself; halves go up."""
    return _nearest_multiple(height, stride.height), _nearest_multiple(width, stride.width)


def _nearest_multiple(value: int, step: int) -> int:
    return max(step, (2 * value + step) // (2 * step) * step)


def _neighbours(value: int, step: int, *, smallest: int, largest: int) -> tuple[int, ...]:
    """The multiples of `step` next to a value, as far as they lie between the bounds."""
    below = min(value, largest) // step * step
    near = (below,) if below == value else (below, below + step)
    return tuple(each for each in near if smallest <= each <= largest)


def _either(values: tuple[int, ...]) -> str:
    return " or ".join(map(str, values))


def _require_positive(**sizes: object) -> None:
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SpecError(f"{name}={value!r} is not a size; it takes a whole number from 1 up")
