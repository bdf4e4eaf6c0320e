import warnings

import pytest
import torch

from kinema.model import PRESETS, DiT, Model, TextEncoder, Tokenizer, VideoVAE

WORDS = ["a", "red", "blue", "ball", "box", "rolls", "to", "the", "left", "right"]


def scramble(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Move every weight away from its start, so that zeros and ones hide nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return module.eval()


def word_tokenizer(max_tokens: int):
    from tokenizers import Tokenizer as Words
    from tokenizers import models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(("<pad>", "</s>", "<unk>", *WORDS))}
    words = Words(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=max_tokens
    )


@pytest.fixture
def tiny() -> Model:
    preset = PRESETS["tiny"]
    torch.manual_seed(0)
    return Model(
        dit=scramble(DiT(preset.dit)),
        vae=scramble(VideoVAE(preset.vae)),
        text=scramble(TextEncoder(preset.text)),
        tokenizer=Tokenizer(word_tokenizer(preset.max_tokens)),
        defaults=preset.defaults,
    )


@pytest.fixture
def quiet():
    """Silence what diffusers and transformers say about themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
