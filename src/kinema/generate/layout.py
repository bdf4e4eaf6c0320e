"""Which frames of a run are given and which are made, counted before any of them is read."""

from dataclasses import dataclass

from kinema.errors import SpecError
from kinema.generate.times import frame_at, new_frames
from kinema.spec import Blend, Replace


@dataclass(frozen=True, kw_only=True)
class Span:
    """The frames of a video that a run of the model sees, and those of them that it makes anew."""

    first: int
    last: int
    """One beyond the last frame that is seen."""
    start: int
    end: int
    """One beyond the last frame that is made."""

    @property
    def made(self) -> list[bool]:
        """Whether each frame that is seen is made."""
        return [self.start <= place < self.end for place in range(self.first, self.last)]


def replaced(edit: Replace, count: int, fps: float, time: int, usual: int) -> Span:
    """Lay out the replacement of a span of a video of `count` frames.

    `time` is how many frames a latent one stands for, `usual` how many latent frames the model makes at once. Raises
    SpecError for a span that is not in the video, or that no whole latent frames hold.
    """
    start = 0 if edit.start is None else frame_at(edit.start, fps, "start")
    end = count if edit.end is None else frame_at(edit.end, fps, "end")
    if start >= count or end > count:
        raise SpecError(
            f"the span reaches beyond {edit.video}, which has {count} frames ({count / fps:.4g} s); end it there"
        )
    first, last = _window(start, end, count, time, usual)
    return Span(first=first, last=last, start=start, end=end)


def blended(edit: Blend, counts: tuple[int, int], fps: float, time: int, usual: int) -> tuple[int, int, int]:
    """Count the frames of the first video that lead to a blend, those of the blend, and those that follow it.

    `counts` are the frames of both videos. Raises SpecError for a blend longer than one of them.
    """
    overlap = new_frames(edit.seconds, fps, time, edit.kind)
    shortest = min(counts) - 1
    if overlap > shortest:
        raise SpecError(
            f"an overlap of {edit.seconds:g} s leaves nothing of the shorter video; use up to "
            f"{shortest // time * time / fps:.4g} s"
        )
    each = max(1, (usual - overlap // time) // 2)
    lead = min(each - 1, (counts[0] - overlap - 1) // time) * time + 1
    return lead, overlap, min(each, (counts[1] - overlap) // time) * time


def _window(start: int, end: int, count: int, time: int, usual: int) -> tuple[int, int]:
    """The part of a video, whole latent frames long, that shows what is around a span: about as long as is usual."""
    most = max(2, usual - -(-(end - start) // time)) * time
    best: tuple[tuple[int, int], int, int] | None = None
    for first in range(max(0, start - most), start + 1):
        for last in range(end, min(count, end + most) + 1):
            if (last - first - 1) % time:
                continue
            known_before = 0 if first == start else 1 + (start - first - 1) // time
            made_until = first + 1 + -(-(end - first - 1) // time) * time
            known_after = max(0, last - made_until) // time
            score = min(known_before, known_after, most // time // 2) * 100 + known_before + known_after
            score = score if (known_before + known_after) * time <= most + time else -1
            if best is None or (score, first - last) > best[0]:
                best = (score, first - last), first, last
    if best is None:
        below = count - (count - 1) % time
        raise SpecError(
            f"the video has {count} frames; to make something of all of it anew it must have a multiple of {time} "
            f"and one more, such as {below} or {below + time}; cut it with kinema edit --join first"
        )
    return best[1], best[2]
