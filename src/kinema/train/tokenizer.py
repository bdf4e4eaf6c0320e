"""The tokenizer of a model trained here: byte-pair encoding of captions and of general English."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

ENGLISH_MODULES = (
    "argparse",
    "asyncio",
    "collections",
    "datetime",
    "difflib",
    "email",
    "http",
    "logging",
    "turtle",
    "unittest",
)
"""Modules of the standard library whose docstrings stand for general English: every machine has them."""


def train_tokenizer(captions: Iterable[str], vocab_size: int, max_tokens: int) -> PreTrainedTokenizerFast:
    """Train a lower-casing byte-level BPE tokenizer (Sennrich et al. 2016): nothing is ever unknown.

    Prompts end with `</s>` and pad with `<pad>` on the right, as T5's do. `max_tokens` includes the `</s>`.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(captions), trainer)
    end = tokenizer.token_to_id("</s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", end)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        model_max_length=max_tokens,
        padding_side="right",
    )


def _texts(captions: Iterable[str]) -> Iterator[str]:
    yield from captions
    for name in ENGLISH_MODULES:
        yield from _docstrings(name)


def _docstrings(name: str) -> Iterator[str]:
    """Give the docstrings of a package's public classes and functions, in a fixed order, as plain words."""
    package = importlib.import_module(name)
    names = sorted(module.name for module in pkgutil.iter_modules(getattr(package, "__path__", [])))
    for module_name in [name, *(f"{name}.{part}" for part in names if not part.startswith("_"))]:
        try:
            module = importlib.import_module(module_name)
        except ImportError:  # a part for another operating system
            continue
        for _, member in sorted(
            inspect.getmembers(module, lambda value: inspect.isclass(value) or inspect.isfunction(value))
        ):
            yield " ".join(re.findall(r"[A-Za-z',.]+", inspect.getdoc(member) or ""))
