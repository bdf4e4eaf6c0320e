"""The cheapest means by which a request fits into the memory there is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from kinema.errors import DeviceMemoryError
from kinema.generate.device import held_memory_bytes
from kinema.generate.estimate import Work
from kinema.generate.means import Means, companions, weight_bytes
from kinema.generate.works import StageWork, count_works, decode_work, encode_work
from kinema.model.tiles import Tiles
from kinema.shapes import LatentShape
from kinema.spec import VideoSpec, show_memory

if TYPE_CHECKING:
    from kinema.generate.pipeline import Pipeline

TILE_SIDES = (64, 48, 32, 24, 16)
"""Tiles that are tried, in latent cells; larger ones compute less twice."""

CPU_SCRATCH = 1.25
"""What kernels on a CPU hold beside their tensors, as a factor on those; measured, see the lab notebook, 2026-11-26."""

CPU_HELD_BYTES = 200_000_000
"""What a process takes once it computes, beside what it held before: code, threads, buffers; measured likewise."""


class Fitter:
    """Finds the means for the requests of one model; `outline` is that model on the device `meta`.

    Costs nothing first: networks that give way to each other. What is left is settled stage by stage: as few layers as
    possible come one by one, and tiles are as large as possible.
    """

    def __init__(
        self, outline: "Pipeline", device: torch.device, memory: int | None, quantize: str | None = None
    ) -> None:
        """`memory` is what to keep to, in bytes; None = all that there is. `quantize` is that of the means."""
        self._outline, self._memory = outline, memory
        is_cpu = device.type == "cpu"
        self._least = Means(quantize=quantize)
        # Eight bits in main memory that is ready for a GPU, block by block, have not been run.
        self._moves_blocks = quantize is None or is_cpu
        self._held = held_memory_bytes(device) + (CPU_HELD_BYTES if is_cpu else 0)
        self._scratch = CPU_SCRATCH if is_cpu else 1.0
        self._works: dict[VideoSpec, list[StageWork]] = {}
        self._tiled: dict[tuple[VideoSpec, str, Tiles], Work] = {}

    def works(self, spec: VideoSpec) -> list[StageWork]:
        """Count the stages of a resolved request, once for all its prompts and seeds."""
        alike = _alike(spec)
        if alike not in self._works:
            self._works[alike] = count_works(self._outline, spec)
        return self._works[alike]

    def means(self, spec: VideoSpec) -> Means:
        """Find the means for a resolved request. Raises DeviceMemoryError, which says what would fit, if none do."""
        if self._memory is None:
            return self._least
        for means in self._levels():
            if self._fits(spec, means):
                return means
        means = self._settled(spec, means)
        if not self._fits(spec, means):
            raise DeviceMemoryError(self._refusal(spec, self.peaks(spec, means)))
        return means

    def peaks(self, spec: VideoSpec, means: Means) -> dict[str, int]:
        """The memory that each stage of a resolved request takes by these means, with all that is held already."""
        return {each.stage: self._peak(spec, each, means) for each in self.works(spec)}

    def _levels(self) -> list[Means]:
        """The means that cost nothing but reading weights again; a stream goes to and fro, so its networks stay."""
        kept = [self._least, replace(self._least, in_turn="text")]
        return kept if self._outline.model.causal is not None else [*kept, replace(self._least, in_turn="all")]

    def _peak(self, spec: VideoSpec, stage: StageWork, means: Means) -> int:
        model = self._outline.model
        weights = sum(weight_bytes(each, means) for each in companions(model, means, stage.network))
        work = stage.work
        if means.tiles is not None and stage.network is model.vae:
            work = self._in_tiles(spec, stage.stage, means.tiles)
        return self._held + weights + stage.carried_bytes + int(self._scratch * work.peak_bytes)

    def _in_tiles(self, spec: VideoSpec, stage: str, tiles: Tiles) -> Work:
        vae, key = self._outline.model.vae, (_alike(spec), stage, tiles)
        if key not in self._tiled:
            chunk = self._outline.frames_per_chunk(spec)
            shape = spec.shape.to_latent(vae.stride)
            is_decode = stage == "decode"
            self._tiled[key] = decode_work(vae, shape, tiles, chunk) if is_decode else encode_work(vae, spec, tiles)
        return self._tiled[key]

    def _settled(self, spec: VideoSpec, means: Means) -> Means:
        """Take as much of each means as its stage needs, or all of it where even that is too little."""
        model, is_causal = self._outline.model, self._outline.model.causal is not None
        texts = [replace(means, text_layers=count) for count in range(len(model.text.layers) + 1)]
        means = self._first(spec, texts, "text")
        if not is_causal:
            sides = [side for side in TILE_SIDES if side < max(*_sides(spec.shape.to_latent(model.vae.stride)))]
            tiled = [replace(means, tiles=None if side is None else Tiles(side=side)) for side in (None, *sides)]
            means = self._first(spec, tiled, "image", "decode")
        most = len(model.dit.blocks) if self._moves_blocks else 0
        blocks = [replace(means, blocks=count) for count in range(most + 1)]
        return self._first(spec, blocks, "denoise", *(("decode",) if is_causal else ()))

    def _first(self, spec: VideoSpec, means: Sequence[Means], *stages: str) -> Means:
        """The first means by which these stages fit; the last where none does."""
        for each in means:
            if all(self._fits(spec, each, stage) for stage in stages):
                break
        return each

    def _fits(self, spec: VideoSpec, means: Means, *stages: str) -> bool:
        assert self._memory is not None
        peaks = self.peaks(spec, means)
        return all(peak <= self._memory for stage, peak in peaks.items() if not stages or stage in stages)

    def _refusal(self, spec: VideoSpec, peaks: Mapping[str, int]) -> str:
        assert self._memory is not None
        stage = max(peaks, key=lambda name: peaks[name])
        fewer = self._fewer_frames(spec)
        rather = f"frames={fewer}" if fewer else "a smaller size"
        return (
            f"memory={show_memory(self._memory)} is too little for {spec.frames} frames of {spec.width}x{spec.height} "
            f"with {self._outline.name}: {stage} takes {show_memory(peaks[stage])} by all means there are, of which "
            f"{show_memory(self._held)} are held already; give memory={show_memory(peaks[stage])}, or {rather}"
        )

    def _fewer_frames(self, spec: VideoSpec) -> int | None:
        """The most frames that would fit; None where not even one does, or where a video says how many there are."""
        if spec.edit is not None or spec.changes:
            return None
        time = self._outline.model.vae.stride.time
        fits, too_many = 0, spec.shape.to_latent(self._outline.model.vae.stride).frames
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            shorter = replace(spec, frames=(middle - 1) * time + 1, last_image=None)
            fits, too_many = (
                (middle, too_many)
                if self._fits(shorter, self._settled(shorter, self._levels()[-1]))
                else (fits, middle)
            )
        return (fits - 1) * time + 1 if fits else None


def _alike(spec: VideoSpec) -> VideoSpec:
    """The same request for all seeds."""
    return replace(spec, seed=0)


def _sides(shape: LatentShape) -> tuple[int, int]:
    return shape.height, shape.width
