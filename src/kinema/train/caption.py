"""The words that a clip is learnt with, drawn anew each time."""

import torch

from kinema.model.text import Tokenizer
from kinema.world.changing import Stated, states
from kinema.world.describe import LENGTHS, Caption, describe_with_facts
from kinema.world.facts import Facts
from kinema.world.scene import Scene

ATTEMPTS = 64
"""Wordings that are tried for one that states what it must; a short caption names the material in one of five."""


def caption_of(
    scene: Scene | str,
    seed: int,
    drop: float = 0.0,
    tokenizer: Tokenizer | None = None,
    stated: Stated | None = None,
) -> Caption:
    """Word the scene anew for each seed; a share `drop` is empty; what the tokenizer finds too long is shortened.

    Where something must be `stated`, none is empty, and other words are tried until they say it, longer ones last. The
    caption of footage, a text, is taken as it is.
    """
    generator = torch.Generator().manual_seed(seed)
    silence = Caption("", Facts(objects=()))
    if torch.rand((), generator=generator) < drop and stated is None:
        return silence
    if isinstance(scene, str):
        return Caption(scene, Facts(objects=()))
    longest = int(torch.randint(len(LENGTHS), (), generator=generator))
    captions = (
        describe_with_facts(scene, seed + attempt, length)
        for lengths in (LENGTHS[longest::-1], () if stated is None else LENGTHS[longest + 1 :])
        for attempt in range(1 if stated is None else ATTEMPTS)
        for length in lengths
    )
    return next(
        (
            caption
            for caption in captions
            if (tokenizer is None or tokenizer.count(caption.text) <= tokenizer.max_tokens)
            and (stated is None or states(caption.facts, stated))
        ),
        silence,
    )
