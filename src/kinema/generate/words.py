"""What a model reads, before it makes anything: texts and pictures, as the keys and values of its cross-attention."""

import hashlib
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from kinema.generate.condition import image_tokens
from kinema.media import read_image
from kinema.model import DiT, Model, TextKV
from kinema.model.text import embed_tokens, fold_padding

Picture = str | UInt8[np.ndarray, "h w 3"]
"""A picture by its path, or as it is."""

_FOLDING = ("cpu", "meta")
"""Devices on which padding counts once; elsewhere the fused kernels of attention take no key that counts often."""


class Words:
    """Reads texts and pictures; the last ones are kept, for more seeds of one prompt."""

    def __init__(
        self, model: Model, device: torch.device, dtype: torch.dtype, bring: Callable[[nn.Module], None]
    ) -> None:
        """`bring` has the weights of a network at hand; `dtype` is the number type of the networks."""
        self._model, self._device, self._dtype, self._bring = model, device, dtype, bring
        self._kept: tuple[tuple[str, ...], tuple[TextKV, ...]] | None = None

    @torch.inference_mode()
    def read(self, texts: tuple[str, ...], pictures: tuple[Picture, ...] = ()) -> tuple[TextKV, ...]:
        """Give the keys and values of texts, in one batch, beside those of pictures, for each transformer.

        `pictures` are for models that see them (`Model.image`). Raises SpecError for a text that is too long, and
        MediaError for a file that is no picture.
        """
        names = (*texts, *map(_name, pictures))
        if self._kept is None or self._kept[0] != names:
            ids, mask = self._model.tokenizer.encode(list(texts))
            self._bring(self._model.text)
            encoded, repeats = embed_tokens(self._model.text, ids, mask, self._device).to(self._dtype), 1
            if self._device.type in _FOLDING:
                encoded, repeats = fold_padding(encoded, int(mask.sum(dim=1).max()))
            seen = None
            if self._model.image is not None:
                self._bring(self._model.image)
                pixels = [read_image(each) if isinstance(each, str) else each for each in pictures]
                seen = image_tokens(self._model.image, pixels, self._device).expand(len(texts), -1, -1)
            self._kept = names, tuple(self._text_kv(dit, encoded, seen, repeats) for dit in self._model.experts)
        return self._kept[1]

    def _text_kv(self, dit: DiT, encoded: Tensor, seen: Tensor | None, repeats: int) -> TextKV:
        self._bring(dit)
        if self._model.causal is not None:
            self._bring(self._model.vae)  # a stream that is told other words goes on with both
        return dit.text_kv(encoded, seen, repeats=repeats)

    def forget(self) -> None:
        """Read the next texts anew, even if they are the last ones again."""
        self._kept = None

    @property
    def num_bytes(self) -> int:
        """Memory of the keys and values that are kept."""
        kept = () if self._kept is None else self._kept[1]
        return sum(part.nbytes for text in kept for parts in text.tensors for part in parts)


def _name(picture: Picture) -> str:
    return picture if isinstance(picture, str) else hashlib.sha256(picture.tobytes()).hexdigest()
