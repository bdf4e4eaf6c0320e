"""A model's networks as a request meets them: at hand when needed, with its LoRAs, under its text and guidance."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kinema.diffusion import classifier_free
from kinema.generate.adapters import Adapters
from kinema.generate.canvas import Canvas
from kinema.generate.condition import condition_channels, read_pictures, shown_frames
from kinema.generate.experts import hand_over
from kinema.generate.image import as_frame
from kinema.generate.state import FrameVelocity
from kinema.generate.turns import Turns
from kinema.generate.words import Picture, Words
from kinema.model import DiT, Model, TextKV, Tiles
from kinema.model.step_cache import StepCache
from kinema.spec import VideoSpec


class Networks:
    """The networks of one model, for one resolved request at a time."""

    def __init__(self, model: Model, turns: Turns | None = None) -> None:
        """With `turns` the model is an outline, whose networks come when they are needed."""
        self.model, self._turns = model, turns
        self.stride = model.vae.stride.with_patch(model.dit.config.patch_size)
        """Frames, rows and columns of a token."""
        weight = next(model.dit.parameters())
        self.device, self.dtype = weight.device if turns is None else turns.device, weight.dtype
        self._adapters = Adapters(model, turns)
        self.words = Words(model, self.device, self.dtype, self.bring)
        """What has read the last texts, and keeps what it made of them."""

    def bring(self, network: nn.Module) -> None:
        """Have the weights of a network at hand."""
        if self._turns is not None:
            self._turns.bring(network)

    @property
    def tiles(self) -> Tiles | None:
        """What the autoencoder is to be cut into; None = it works on whole pictures."""
        return None if self._turns is None else self._turns.means.tiles

    def adapt(self, spec: VideoSpec) -> None:
        """Merge the LoRAs of a request in the place of those of the last one."""
        if self._adapters.use(spec.loras):
            self.words.forget()  # its keys and values are those of other weights

    def velocity(self, spec: VideoSpec, canvas: Canvas | None = None) -> FrameVelocity:
        """What `Pipeline.network` gives."""
        self.adapt(spec)
        texts = self.text(spec, spec.prompt, canvas)
        shown = self._shown(spec, canvas)
        high, *others = (
            self._expert(dit, text, guidance, shown, None if spec.step_cache is None else StepCache(spec.step_cache))
            for dit, text, guidance in zip(self.model.experts, texts, self._guidances(spec), strict=True)
        )
        return hand_over(high, others[0], self.model.boundary) if others and self.model.boundary else high

    def text(self, spec: VideoSpec, prompt: str, canvas: Canvas | None = None) -> tuple[TextKV, ...]:
        """Keys and values of a prompt and, if there is guidance, of what it leads away from, for each transformer."""
        is_guided = any(guidance != 1 for guidance in self._guidances(spec))
        pictures: tuple[Picture, ...] = tuple(path for path in (spec.image, spec.last_image) if path is not None)
        if canvas is not None and self.model.image is not None:
            pictures = tuple(shown_frames(self.model, canvas).values())
        texts = (prompt, spec.negative or "") if is_guided else (prompt,)
        return self.words.read(texts, () if self.model.image is None else pictures)

    def changes(self, spec: VideoSpec) -> Iterator[tuple[int, TextKV]]:
        """Give the later prompts of a request, each with the first latent frame that may show it."""
        assert spec.fps is not None
        for second, prompt in spec.changes:
            frame = math.ceil(second * spec.fps)  # the first one at or after that second
            yield -(-(frame - 1) // self.stride.time) + 1 if frame > 0 else 0, self.text(spec, prompt)[0]

    def _expert(
        self, dit: DiT, text: TextKV, guidance: float, shown: Tensor | None, steps: StepCache | None
    ) -> FrameVelocity:
        """One transformer under its text and guidance; `shown` goes beside every latent, `steps` may leave work out."""
        if guidance == 1 and len(text.keys[0]) > 1:
            text = text.texts(slice(1))  # the prompt without the negative one

        def velocity(latent: Tensor, times: Tensor) -> Tensor:
            if shown is not None:
                latent = torch.cat([latent, shown], dim=1)
            self.bring(dit)
            predicted: Tensor = dit(latent.to(self.dtype), times, text, steps=steps)
            return predicted.float()

        return classifier_free(velocity, velocity, guidance)  # one video meets all texts that there are

    def _guidances(self, spec: VideoSpec) -> tuple[float, ...]:
        """The guidance of each transformer."""
        assert spec.guidance is not None
        if self.model.dit_low is None:
            return (spec.guidance,)
        return spec.guidance, spec.guidance if spec.guidance_low is None else spec.guidance_low

    def _shown(self, spec: VideoSpec, canvas: Canvas | None) -> Float[Tensor, "1 c t y x"] | None:
        """What is put beside the latent: the given pictures of models that read them there."""
        if not self.model.condition_channels:
            return None
        self.bring(self.model.vae)
        pictures = read_pictures(spec, self.stride)
        if canvas is not None:
            pictures = {place: as_frame(frame) for place, frame in shown_frames(self.model, canvas).items()}
        return condition_channels(self.model.vae, pictures, spec.shape, self.device, self.tiles)
