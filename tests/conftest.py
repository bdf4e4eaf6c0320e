"""What all tests share: shape checks of signatures, the `gpu` marker, golden files."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# Only these rooms write jaxtyping signatures; the hook must stand before anything imports them.
install_import_hook(["kinema.model", "kinema.diffusion", "kinema.generate"], "beartype.beartype")

# A property that fails must fail for everybody, and a busy machine must not make it fail.
settings.register_profile("kinema", deadline=None, derandomize=True)
settings.load_profile("kinema")

GOLDEN = Path(__file__).parent / "golden"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


class Golden:
    """Compares text with a file under tests/golden; `make golden` rewrites the file instead."""

    def check(self, name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("KINEMA_GOLDEN") == "rewrite":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        assert text == expected, f"{path.name} differs; if that is meant, run `make golden` and review the diff"


@pytest.fixture(scope="session", autouse=True)
def _certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Files are signed by an authority that the tests make, not by that of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KINEMA_PROVENANCE", str(tmp_path_factory.mktemp("certificates") / "own"))
        yield


@pytest.fixture
def unsigned() -> Callable[[str | Path], bytes]:
    """Reads a file without its C2PA manifest, which holds the time, random salts and a signature: no two are alike."""
    return lambda path: _without_manifest(Path(path).read_bytes())


def _without_manifest(content: bytes) -> bytes:
    if content[4:8] == b"ftyp":
        boxes, at = [], 0
        while at < len(content):
            size = int.from_bytes(content[at : at + 4], "big")
            boxes.append(content[at : at + size])
            at += size
        return b"".join(box for box in boxes if box[4:8] != b"uuid")
    if content[:4] == b"RIFF":
        return content[: content.index(b"C2PA")]
    if content[:4] == b"GIF8":
        start = content.index(b"\x21\xff\x0bC2PA_GIF")
        end = start + 14
        while content[end]:
            end += content[end] + 1
        return content[:start] + content[end + 1 :]
    return content


@pytest.fixture
def golden() -> Golden:
    return Golden()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model of the preset `tiny` with random weights, whose tokens are bytes; read it only."""
    import torch
    from tokenizers import Tokenizer as Bytes
    from tokenizers import models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    from kinema.model import PRESETS, DiT, Model, TextEncoder, Tokenizer, VideoVAE, save_model

    preset = PRESETS["tiny"]
    torch.manual_seed(0)
    dit, vae, text = DiT(preset.dit), VideoVAE(preset.vae), TextEncoder(preset.text)
    for layer in (dit.time_proj, dit.proj_out):  # a new transformer predicts zero: it would hide what is wrong
        torch.nn.init.normal_(layer.weight, std=0.1)
    tokens = {token: i for i, token in enumerate(["<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Bytes(models.BPE(vocab=tokens, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", model_max_length=preset.max_tokens
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model = Model(dit=dit, vae=vae, text=text, tokenizer=Tokenizer(fast), defaults=preset.defaults)
    save_model(model, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_causal_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same model as one that makes video block by block; read it only."""
    import dataclasses

    from kinema.model import CausalConfig, load_model, save_model

    model = load_model(tiny_model)
    model.causal = CausalConfig(block=1, window=3, sink=1, positions="relative")
    model.defaults = dataclasses.replace(model.defaults, guidance=1.0, solver="consistency", shift=5.0)
    model.scheduler = {}
    folder = tmp_path_factory.mktemp("models") / "tiny-causal"
    save_model(model, folder)
    return folder
