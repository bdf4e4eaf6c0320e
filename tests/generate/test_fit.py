"""The cheapest means that fit."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

import kinema.generate.fit as fit
from kinema.errors import DeviceMemoryError, SpecError
from kinema.generate.means import Means
from kinema.generate.pipeline import Pipeline
from kinema.generate.plan import Plan, make_plan
from kinema.generate.prepare import LoadOptions
from kinema.model import PRESETS, DiT, Model, load_model, save_model
from kinema.spec import VideoSpec, parse_memory, show_memory

SPEC = VideoSpec(prompt="a red ball rolls", frames=17, width=160, height=160, steps=2)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process held nothing."""
    monkeypatch.setattr(fit, "held_memory_bytes", lambda _: 0)
    monkeypatch.setattr(fit, "CPU_HELD_BYTES", 0)


def _plan(folder: Path, memory: int | None, spec: VideoSpec = SPEC) -> Plan:
    options = LoadOptions(device="cpu", dtype="float32", memory=memory)
    return make_plan(dataclasses.replace(spec, model=str(folder)), options)


def _peak(plan: Plan, means: Means) -> int:
    return max(plan.fitter.peaks(plan.spec, means).values())


@pytest.mark.usefixtures("bare")
def test_as_little_is_done_as_suffices(tiny_model: Path) -> None:
    free = _plan(tiny_model, None)
    assert free.means == Means()
    for means in (Means(), Means(in_turn="text"), Means(in_turn="all")):
        assert _plan(tiny_model, _peak(free, means)).means == means
    in_turn = free.fitter.peaks(free.spec, Means(in_turn="all"))
    tight = _plan(tiny_model, max(in_turn.values()) - 1)
    assert tight.means.tiles is not None  # decoding takes the most
    assert (tight.means.blocks, tight.means.text_layers) == (0, 0)
    assert _peak(tight, tight.means) <= tight.prepared.memory < _peak(free, Means(in_turn="all"))  # type: ignore[operator]


@pytest.mark.usefixtures("bare")
def test_what_never_fits_is_refused_with_what_would(tiny_model: Path) -> None:
    with pytest.raises(DeviceMemoryError, match=r"memory=0.1MB is too little for 17 frames of 160x160") as caught:
        _plan(tiny_model, 100_000)
    enough = str(caught.value).rpartition("give memory=")[2].partition(",")[0]
    plan = _plan(tiny_model, parse_memory(enough))
    with pytest.raises(DeviceMemoryError, match=r"or frames=\d+$") as caught:
        _plan(tiny_model, int(0.97 * parse_memory(enough)))
    fewer = int(str(caught.value).rpartition("frames=")[2])
    assert fewer < 17
    assert _plan(tiny_model, int(0.97 * parse_memory(enough)), dataclasses.replace(SPEC, frames=fewer)).means
    assert plan.means.describe()


@pytest.mark.usefixtures("bare")
def test_a_stream_keeps_transformer_and_autoencoder(tiny_causal_model: Path) -> None:
    spec = dataclasses.replace(SPEC, frames=None, width=32, height=32)
    free = _plan(tiny_causal_model, None, spec)
    assert _plan(tiny_causal_model, _peak(free, Means(in_turn="text")), spec).means == Means(in_turn="text")
    with pytest.raises(DeviceMemoryError):  # decoding is what takes most, and a stream is not cut
        _plan(tiny_causal_model, _peak(free, Means(in_turn="text")) - 1, spec)


@pytest.mark.parametrize(
    ("text", "num_bytes"), [("8GB", 8 * 10**9), ("1.5 GiB", 3 * 2**29), ("800mb", 8 * 10**8), (7, 7)]
)
def test_an_amount_of_memory_is_read(text: str | int, num_bytes: int) -> None:
    assert parse_memory(text) == num_bytes
    assert num_bytes <= parse_memory(show_memory(num_bytes)) <= 1.1 * num_bytes + 10**5


@pytest.mark.parametrize("text", ["", "much", "8XB", "-1GB", "0"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="it takes a number and a unit, such as 8GB"):
        parse_memory(text)


@pytest.mark.slow
def test_a_process_keeps_to_what_it_was_given(tmp_path: Path) -> None:
    """Two processes of their own: the transformer weighs 400 MB, of which one is given 250 MB less than the other."""
    model = load_model("mini")
    sizes = dataclasses.replace(PRESETS["mini"].dit, num_layers=12, ffn_dim=2**15)
    large = Model(dit=DiT(sizes), vae=model.vae, text=model.text, tokenizer=model.tokenizer, defaults=model.defaults)
    weights = 4 * sum(weight.numel() for weight in large.dit.parameters())
    save_model(large, tmp_path / "large")
    del large
    code = (
        "import sys, json; from kinema import VideoSpec; from kinema.generate.plan import make_plan\n"
        "from kinema.generate.prepare import LoadOptions\n"
        "from kinema.evaluate.memory import peak_memory_bytes\n"
        "spec = VideoSpec(prompt='a ball', model=sys.argv[1], frames=5, steps=1)\n"
        "plan = make_plan(spec, LoadOptions(device='cpu', dtype='float32'))\n"
        "less = None if sys.argv[2] == '0' else plan.estimate.memory_bytes - int(sys.argv[2])\n"
        "plan = make_plan(spec, LoadOptions(device='cpu', dtype='float32', memory=less))\n"
        "frames = sum(int(part.sum()) for part in plan.load().stream(plan.spec))\n"
        "print(json.dumps([peak_memory_bytes(plan.prepared.device), frames, less, plan.means.blocks]))"
    )
    less = weights * 6 // 10

    def run(amount: int) -> list[int]:
        words = [sys.executable, "-c", code, str(tmp_path / "large"), str(amount)]
        return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[-1])

    (free, frames, *_), (tight, same, given, blocks) = run(0), run(less)
    assert same == frames
    assert blocks > 0
    assert tight < 1.05 * given
    assert tight < free - 0.8 * less


def test_python_takes_an_amount_too(tiny_model: Path) -> None:
    with pytest.raises(DeviceMemoryError, match="by all means there are, of which"):
        Pipeline.load(str(tiny_model), "cpu", memory="1MB").stream(SPEC).__next__()
