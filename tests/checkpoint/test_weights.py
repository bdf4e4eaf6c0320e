import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from kinema.checkpoint.layouts import Layout
from kinema.checkpoint.weights import load_weights, read_json, save_weights
from kinema.errors import CheckpointError

LAYOUT = Layout(
    names=((r"^inner\.", "block.0."),),
    shapes=((r"inner\.weight", (1, 3, -1)),),
    copies=(("copied.weight", "block.0.weight"),),
)


def _module(seed=0):
    torch.manual_seed(seed)
    return nn.ModuleDict({"inner": nn.Linear(2, 3), "outer": nn.Linear(3, 1)})


@pytest.fixture
def folder(tmp_path):
    save_weights(_module(), tmp_path, "weights", LAYOUT)
    return tmp_path


def _rewrite(folder, change):
    tensors = load_file(folder / "weights.safetensors")
    change(tensors)
    save_file(tensors, folder / "weights.safetensors")


def _refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        load_weights(_module(), folder, "weights", LAYOUT)
    return str(caught.value)


def test_weights_come_back_under_their_names_and_shapes(folder):
    saved = load_file(folder / "weights.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in saved.items()} == {
        "block.0.weight": (1, 3, 2), "block.0.bias": (3,), "outer.weight": (1, 3), "outer.bias": (1,),
    }  # fmt: skip
    other = _module(seed=1)
    load_weights(other, folder, "weights", LAYOUT)
    for ours, theirs in zip(other.parameters(), _module().parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_weights_take_the_type_that_the_module_has(folder):
    other = _module(seed=1).to(torch.bfloat16)
    load_weights(other, folder, "weights", LAYOUT)
    assert torch.equal(other["inner"].weight, _module()["inner"].weight.bfloat16())


def test_shards_are_read_by_their_index(folder):
    tensors = load_file(folder / "weights.safetensors")
    (folder / "weights.safetensors").unlink()
    names = {}
    for number, (name, tensor) in enumerate(tensors.items()):
        names[name] = f"weights-{number}.safetensors"
        save_file({name: tensor}, folder / names[name])
    (folder / "weights.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    other = _module(seed=1)
    load_weights(other, folder, "weights", LAYOUT)
    assert torch.equal(other["inner"].weight, _module()["inner"].weight)
    (folder / names["outer.bias"]).unlink()
    assert names["outer.bias"] in _refusal(folder)


def test_a_copy_may_stand_beside_or_instead_of_the_original(folder):
    _rewrite(folder, lambda tensors: tensors.update({"copied.weight": tensors["block.0.weight"].clone()}))
    load_weights(_module(), folder, "weights", LAYOUT)
    _rewrite(folder, lambda tensors: tensors.pop("block.0.weight"))
    other = _module(seed=1)
    load_weights(other, folder, "weights", LAYOUT)
    assert torch.equal(other["inner"].weight, _module()["inner"].weight)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("outer.bias"), ("outer.bias is missing",)),
        (lambda t: (t.pop("outer.bias"), t.pop("outer.weight")), ("outer.bias is missing", "1 more")),
        (lambda t: t.update({"head.weight": torch.zeros(2)}), ("head.weight is not part",)),
        (lambda t: t.update({"block.0.bias": torch.zeros(5)}), ("block.0.bias has shape 5", "makes it 3")),
        (lambda t: t.update({"block.0.weight": torch.zeros(1, 2, 3)}), ("has shape 1x2x3", "makes it 1x3x2")),
        (lambda t: t["block.0.weight"].view(-1)[3:4].fill_(float("nan")), ("block.0.weight holds", "not numbers")),
        (lambda t: t["outer.bias"].fill_(float("inf")), ("outer.bias holds", "not numbers")),
        (lambda t: t.update({"outer.bias": torch.zeros(1, dtype=torch.int64)}), ("outer.bias is I64",)),
    ],
)
def test_a_wrong_tensor_is_named_with_its_file(folder, change, words):
    _rewrite(folder, change)
    message = _refusal(folder)
    for word in (*words, str(folder / "weights.safetensors")):
        assert word in message


def test_a_file_that_was_cut_off_names_the_tensor_that_it_lost(folder):
    path = folder / "weights.safetensors"
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    last = max((name for name in header if name != "__metadata__"), key=lambda name: header[name]["data_offsets"][1])
    path.write_bytes(data[:-3])
    message = _refusal(folder)
    assert "cut off" in message
    assert last in message
    path.write_bytes(data[:30])
    assert "within its header" in _refusal(folder)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 100, struct.pack("<Q", 4) + b"{]{]" + b"0" * 9])
def test_a_file_of_something_else_is_named(folder, content):
    (folder / "weights.safetensors").write_bytes(content)
    assert "weights.safetensors" in _refusal(folder)


def test_a_missing_file_is_named(tmp_path):
    assert f"{tmp_path / 'weights.safetensors'} is missing" in _refusal(tmp_path)


@pytest.mark.parametrize(("content", "word"), [(None, "missing"), ("{", "JSON"), ("[1]", "list"), (b"\xff", "JSON")])
def test_a_config_that_cannot_be_read_is_named(tmp_path, content, word):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CheckpointError, match=rf"config.json.*{word}"):
        read_json(path)


@pytest.mark.parametrize(
    "header", [[1, 2], {"a": 3}, {"a": {"dtype": "F32"}}, {"a": {"dtype": "F32", "data_offsets": "x"}}]
)
def test_a_header_that_describes_no_tensors_is_named(folder, header):
    data = json.dumps(header).encode()
    (folder / "weights.safetensors").write_bytes(struct.pack("<Q", len(data)) + data + bytes(64))
    assert "weights.safetensors has a header that describes no tensors" in _refusal(folder)
