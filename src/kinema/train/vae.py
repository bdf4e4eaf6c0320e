"""How the video autoencoder is trained: error per pixel, a little Kullback-Leibler divergence, short clips first."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from kinema.media import contact_sheet, write_video
from kinema.model.vae import VideoVAE
from kinema.train.config import VAEStage
from kinema.train.corpus import Corpus, iter_batches
from kinema.train.order import batch_indices
from kinema.train.precision import autocast, device_of

SAMPLED = 4


class VAETask:
    """Trains `networks["vae"]` on parts of the corpus' clips (Rombach et al. 2022, section 3.1)."""

    def __init__(self, vae: VideoVAE, corpus: Corpus, config: VAEStage) -> None:
        self.networks = nn.ModuleDict({"vae": vae})
        if config.decoder_only:
            vae.encoder.requires_grad_(False)
            vae.to_moments.requires_grad_(False)
        self._corpus = corpus
        self._config = config

    def loss(self, clips_seen: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean absolute plus squared error of the reconstruction, and the weighted divergence of the posterior."""
        phase = self._config.phase(clips_seen, self._corpus.config.frames)
        num_frames, batch_size = phase.frames, phase.batch_size
        indices = batch_indices(self._corpus.config.clips, self._config.seed, clips_seen, batch_size)
        last_start = self._corpus.config.frames - num_frames
        first = torch.randint(last_start + 1, (batch_size,), generator=generator, device=generator.device).tolist()
        frames = self._corpus.frames(indices, num_frames, first, generator.device)
        # Mirrored clips are as true as the others, and cost nothing.
        is_mirrored = torch.rand(batch_size, generator=generator, device=generator.device) < 0.5
        frames = torch.where(is_mirrored[:, None, None, None, None], frames.flip(3), frames)
        if phase.crop is not None:
            top, left = (
                int(torch.randint(side - phase.crop + 1, (), generator=generator, device=generator.device))
                for side in frames.shape[2:4]
            )
            frames = frames[:, :, top : top + phase.crop, left : left + phase.crop]
        output = self.networks["vae"](frames, generator)
        error = output.reconstruction.float() - frames
        mean, logvar = output.mean.float(), output.logvar.float()
        divergence = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
        squared = error.square().mean()
        loss = error.abs().mean() + squared + self._config.kl_weight * divergence
        return loss, {"squared_error": squared, "divergence": divergence}

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

    @torch.no_grad()
    def _reconstruct(self, averaged: nn.ModuleDict, indices: Sequence[int]) -> Tensor:
        vae = averaged["vae"]
        assert isinstance(vae, VideoVAE)
        device = device_of(vae)
        with autocast(device, self._config.precision):
            return vae.decode(vae.encode(self._corpus.frames(indices, device=device))).float().cpu()
