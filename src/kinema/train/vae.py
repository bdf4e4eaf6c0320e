"""How the video autoencoder is trained: error per pixel, a little Kullback-Leibler divergence, short clips first."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from kinema.media import contact_sheet, write_video
from kinema.model.vae import VideoVAE
from kinema.train.anchor import Anchor
from kinema.train.config import VAEStage
from kinema.train.corpus import Corpus, iter_batches
from kinema.train.grounding import Truth
from kinema.train.order import batch_indices
from kinema.train.precision import autocast, device_of

SAMPLED = 4


class VAETask:
    """Trains `networks["vae"]` on parts of the corpus' clips (Rombach et al. 2022, section 3.1)."""

    def __init__(
        self,
        vae: VideoVAE,
        corpus: Corpus,
        config: VAEStage,
        truth: Truth | None = None,
        anchor: Anchor | None = None,
    ) -> None:
        """`truth` says where objects are, for stages where their pixels count more; `anchor` what latents were."""
        self.networks = nn.ModuleDict({"vae": vae})
        if config.decoder_only:
            vae.encoder.requires_grad_(False)
            vae.to_moments.requires_grad_(False)
        self._corpus = corpus
        self._config = config
        self._truth = truth
        self._anchor = anchor

    def loss(self, clips_seen: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean absolute plus squared error of the pixels, each by its weight, and the divergence of the posterior."""
        phase = self._config.phase(clips_seen, self._corpus.config.frames)
        num_frames, batch_size = phase.frames, phase.batch_size
        indices = batch_indices(self._corpus.config.clips, self._config.seed, clips_seen, batch_size)
        last_start = self._corpus.config.frames - num_frames
        first = torch.randint(last_start + 1, (batch_size,), generator=generator, device=generator.device).tolist()
        frames = self._corpus.frames(indices, num_frames, first, generator.device)
        weight = self._weight(indices, num_frames, first, frames)
        # Mirrored clips are as true as the others, and cost nothing.
        is_mirrored = torch.rand(batch_size, generator=generator, device=generator.device) < 0.5
        frames, weight = (torch.where(is_mirrored[:, None, None, None, None], x.flip(3), x) for x in (frames, weight))
        if phase.crop is not None:
            top, left = (
                int(torch.randint(side - phase.crop + 1, (), generator=generator, device=generator.device))
                for side in frames.shape[2:4]
            )
            frames, weight = (x[:, :, top : top + phase.crop, left : left + phase.crop] for x in (frames, weight))
        output = self.networks["vae"](frames, generator)
        error = output.reconstruction.float() - frames
        mean, logvar = output.mean.float(), output.logvar.float()
        divergence = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
        parts = {"squared_error": error.square().mean(), "divergence": divergence}
        loss = (weight * (error.abs() + error.square())).mean() + self._config.kl_weight * divergence
        if self._anchor is not None:
            parts["latent_change"] = self._anchor.distance(frames, output.mean)
            loss = loss + self._config.anchor * parts["latent_change"]
        return loss, parts

    def validate(self, averaged: nn.ModuleDict) -> dict[str, float]:
        """Peak signal-to-noise ratio, in dB over [0, 255], of whole clips never trained on."""
        errors = [
            (self._reconstruct(averaged, indices) - self._corpus.frames(indices)).square().mean(dim=(1, 2, 3, 4))
            for indices in iter_batches(self._corpus.validation_indices[:64], 8)
        ]
        return {"psnr_db": float((10.0 * torch.log10(4.0 / torch.cat(errors))).mean())}

    def sample(self, averaged: nn.ModuleDict, path: Path) -> dict[str, float]:
        """Draw true clips above their reconstructions."""
        indices = self._corpus.validation_indices[:SAMPLED]
        pairs = zip(self._corpus.frames(indices), self._reconstruct(averaged, indices), strict=True)
        rows = [clip[::2] for pair in pairs for clip in pair]
        pixels = ((torch.stack(rows) + 1.0) * 127.5).round().byte()
        sheet = contact_sheet(list(pixels.flatten(0, 1).numpy()), columns=pixels.shape[1])
        write_video(path, [sheet], fps=1)
        return {}

    def _weight(self, indices: Sequence[int], num_frames: int, first: Sequence[int], frames: Tensor) -> Tensor:
        """How much the error of each pixel counts: `b f h w 1`."""
        if self._truth is None:
            return torch.ones_like(frames[..., :1])
        share = self._truth.objects(indices, num_frames, first).to(frames.device)
        rows, columns = (whole // part for whole, part in zip(frames.shape[2:4], share.shape[2:], strict=True))
        share = share.repeat_interleave(rows, dim=2).repeat_interleave(columns, dim=3)
        return 1.0 + (self._config.object_weight - 1.0) * share[..., None]

    @torch.no_grad()
    def _reconstruct(self, averaged: nn.ModuleDict, indices: Sequence[int]) -> Tensor:
        vae = averaged["vae"]
        assert isinstance(vae, VideoVAE)
        device = device_of(vae)
        with autocast(device, self._config.precision):
            return vae.decode(vae.encode(self._corpus.frames(indices, device=device))).float().cpu()
