import re

import pytest
import torch

from kinema.checkpoint.layouts import TEXT_TRANSFORMERS
from kinema.checkpoint.weights import load_weights
from kinema.errors import CheckpointError, SpecError
from kinema.model.configs import text_json
from kinema.model.text import TextEncoder, TextEncoderConfig, Tokenizer, embed_tokens, init_text_weights

from .conftest import scramble, word_tokenizer

CONFIG = TextEncoderConfig(
    vocab_size=50, d_model=24, d_ff=40, num_layers=3, num_heads=2, head_dim=8, num_buckets=16, max_distance=20
)


@torch.no_grad()
def test_against_transformers(tmp_path, quiet):
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(0)
    reference = scramble(UMT5EncoderModel(UMT5Config(**text_json(CONFIG, torch.float32))))
    reference.save_pretrained(tmp_path)
    ours = TextEncoder(CONFIG).eval()
    load_weights(ours, tmp_path, "model", TEXT_TRANSFORMERS)
    ids = torch.randint(0, 50, (3, 30))
    mask = (torch.arange(30)[None] < torch.tensor([30, 7, 1])[:, None]).long()
    theirs = reference(ids, mask).last_hidden_state * mask[..., None]
    torch.testing.assert_close(ours(ids, mask), theirs, rtol=0, atol=1e-4)
    torch.testing.assert_close(ours(ids[1:2, :7], mask[1:2, :7]), theirs[1:2, :7], rtol=0, atol=1e-4)
    short = embed_tokens(ours, ids[1:], mask[1:], torch.device("cpu"))  # read at 7 tokens, given back at 30
    torch.testing.assert_close(short, theirs[1:], rtol=0, atol=1e-4)


def test_every_weight_gets_a_gradient():
    encoder = TextEncoder(CONFIG)
    ids = torch.arange(40).view(2, 20)
    with torch.autocast("cpu", torch.bfloat16):
        encoder(ids, torch.ones_like(ids)).float().pow(3).sum().backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


def test_the_table_of_starting_values_is_true_and_complete():
    torch.manual_seed(0)
    config = TextEncoderConfig(vocab_size=400, d_model=128, d_ff=256, num_layers=2, num_heads=4, head_dim=16)
    encoder = TextEncoder(config)
    rows = re.findall(r"^    \| (\S.*?)\s+\| (\S.*?)\s+\|$", init_text_weights.__doc__, re.MULTILINE)
    rules = {name: start for names, start in rows for name in names.split(", ")}
    formulas = {
        "normal, std 1": lambda weight: 1.0,
        "normal, std (d e)^-1/2": lambda weight: (128 * 16) ** -0.5,
        "normal, std n^-1/2": lambda weight: weight.shape[1] ** -0.5,
        "normal, std d^-1/2": lambda weight: 128**-0.5,
    }
    for name, weight in encoder.named_parameters():
        if weight.dim() == 1:
            assert (weight == 1).all(), name
            continue
        expected = formulas[rules[name.removesuffix(".weight").rsplit(".", 1)[-1]]](weight)
        assert weight.std().item() == pytest.approx(expected, rel=0.15), name
    assert rules["every norm weight"] == "1"


def test_prompts_are_padded_to_the_models_length():
    tokenizer = Tokenizer(word_tokenizer(6))
    ids, mask = tokenizer.encode(["a red   ball\n", ""])
    assert ids.tolist() == [[3, 4, 6, 1, 0, 0], [1, 0, 0, 0, 0, 0]]
    assert mask.tolist() == [[1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0]]
    assert tokenizer.count("a red ball") == 4


def test_a_prompt_over_the_limit_is_refused_with_its_count():
    with pytest.raises(SpecError, match="the prompt has 8 tokens, but this model reads at most 6"):
        Tokenizer(word_tokenizer(6)).encode(["a", "a red ball rolls to the left"])


def test_a_tokenizer_comes_back_as_it_was_saved(tmp_path, quiet):
    Tokenizer(word_tokenizer(9)).save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded.max_tokens == 9
    assert loaded.encode(["a blue box"])[0].tolist() == Tokenizer(word_tokenizer(9)).encode(["a blue box"])[0].tolist()


def test_a_folder_without_a_tokenizer_is_named(tmp_path, quiet):
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("text", ["", '{"a":', "[]", "null"])
def test_a_damaged_tokenizer_is_an_error_that_names_its_file(tmp_path, name, text):
    Tokenizer(word_tokenizer(9)).save(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=rf"{name} (cannot be read as JSON|holds a).*fetch the file again$"):
        Tokenizer.load(tmp_path)


def test_a_tokenizer_that_is_missing_or_holds_nothing_is_named(tmp_path):
    Tokenizer(word_tokenizer(9)).save(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"holds no tokenizer that can be read .*; fetch it again$"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer.json is missing; a model folder needs it$"):
        Tokenizer.load(tmp_path)
