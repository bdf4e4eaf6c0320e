import dataclasses
from pathlib import Path

import torch

from kinema.generate.pipeline import Pipeline
from kinema.spec import VideoSpec

SPEC = VideoSpec(prompt="a red ball rolls", frames=5, width=32, height=32, steps=6, guidance=3.0)


def test_step_caching_is_off_unless_asked_for_and_gives_way_to_the_error_it_makes(tiny_model: Path) -> None:
    pipe = Pipeline.load(str(tiny_model), "cpu", "float32")
    plain = pipe.resolve(SPEC)
    ran = []
    pipe.model.dit.blocks[1].register_forward_hook(lambda *_: ran.append(1))
    before = pipe.latents(plain)
    assert len(ran) == 6
    assert torch.equal(pipe.latents(dataclasses.replace(plain, step_cache=0.0)), before)
    assert len(ran) == 12
    cached = pipe.latents(dataclasses.replace(plain, step_cache=10.0))
    assert len(ran) == 13  # the first step only
    assert (cached - before).abs().max() > 0
    assert (cached - before).norm() < before.norm()
    assert torch.equal(pipe.latents(plain), before)
