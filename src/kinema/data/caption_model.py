"""Captions from a vision-language model on this machine: any that transformers loads as image-text-to-text."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from kinema.data.lineage import fingerprint
from kinema.errors import DataError, first_line
from kinema.media import Frame


@dataclass(frozen=True)
class Answer:
    """What the model wrote, and how many tokens it read and wrote."""

    text: str
    tokens_in: int
    tokens_out: int


class CaptionModel:
    """A model and its processor, from a folder in transformers layout or a hub id.

    Raises DataError for what is none, and for a model that cannot be asked in words.
    """

    def __init__(self, name: str, device: str = "cpu", max_tokens: int = 256) -> None:
        try:
            self._processor = AutoProcessor.from_pretrained(name)
            network: Any = AutoModelForImageTextToText.from_pretrained(name, dtype="auto")
        except (OSError, ValueError, ImportError) as error:  # transformers says by these what a folder lacks
            raise DataError(
                f"caption.model={name!r} cannot be loaded as a vision-language model: {first_line(error)}; name a "
                "folder or hub id that transformers' AutoModelForImageTextToText loads, or set caption.endpoint"
            ) from error
        self._network = network.to(device).eval()
        if getattr(self._processor, "chat_template", None) is None:
            raise DataError(
                f"caption.model={name!r} has no chat template, so it cannot be asked with pictures and a prompt; take "
                "a model that was tuned to follow instructions"
            )
        tokenizer = self._processor.tokenizer
        tokenizer.padding_side = "left"  # what is written begins where the longest question ends
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._pad = tokenizer.pad_token_id
        self._max_tokens = max_tokens

    def ask(self, questions: Sequence[tuple[str, Sequence[Frame]]]) -> list[Answer]:
        """Answer prompts about pictures "h w 3" uint8, all in one batch; the likeliest token is taken each time."""
        texts = [
            self._processor.apply_chat_template(_conversation(prompt, len(pictures)), add_generation_prompt=True)
            for prompt, pictures in questions
        ]
        images = [[Image.fromarray(picture) for picture in pictures] for _, pictures in questions]
        given = self._processor(text=texts, images=images, padding=True, return_tensors="pt")
        given = given.to(self._network.device, dtype=self._network.dtype)
        with torch.inference_mode():
            written = self._network.generate(
                **given, do_sample=False, max_new_tokens=self._max_tokens, pad_token_id=self._pad
            )
        if not self._network.config.is_encoder_decoder:
            written = written[:, given["input_ids"].shape[1] :]
        spoken = self._processor.batch_decode(written, skip_special_tokens=True)
        read = given["attention_mask"].sum(dim=1).tolist()
        wrote = (written != self._pad).sum(dim=1).tolist()
        return [Answer(text.strip(), *counts) for text, *counts in zip(spoken, read, wrote, strict=True)]


def model_stamp(name: str) -> str:
    """What changes when the files of a local model do; the same text for all hub ids."""
    folder = Path(name)
    files = sorted(path for path in folder.glob("*") if path.is_file()) if folder.is_dir() else []
    return fingerprint("model", [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files])


def _conversation(prompt: str, num_pictures: int) -> list[dict[str, Any]]:
    pictures = [{"type": "image"}] * num_pictures
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": prompt}]}]
