"""Resampled clips have the faults of generation: from pure noise they are what it makes, from none the clip."""

import dataclasses

import pytest
import torch

from kinema.diffusion.objective import TimeSampling
from kinema.diffusion.schedule import Schedule
from kinema.errors import SpecError
from kinema.generate.rollout import Rollout
from kinema.model import CausalConfig, load_model
from kinema.train.config import ResamplingConfig
from kinema.train.flow import embed_captions
from kinema.train.resampling import resample

CAUSAL = CausalConfig(block=1, window=3, sink=1, positions="relative")
CONFIG = ResamplingConfig(times=TimeSampling(shift=1e-7), steps=2, guidance=2.5)


@pytest.fixture(scope="module")
def setting(tiny_model):
    model = load_model(tiny_model)
    text = embed_captions(model.text, model.tokenizer, ["a red ball rolls", "two boxes fall"])
    empty = embed_captions(model.text, model.tokenizer, [""]).expand_as(text)
    data = torch.randn(2, 4, 5, 4, 4, generator=torch.Generator().manual_seed(3))
    return model.dit, data, text, empty


def test_from_no_noise_the_clip_comes_back(setting):
    dit, data, text, empty = setting
    own = resample(dit, CAUSAL, data, text, empty, CONFIG, torch.Generator().manual_seed(0))
    torch.testing.assert_close(own, data, rtol=0, atol=1e-4)


def test_from_pure_noise_it_is_what_generation_makes(setting):
    dit, data, text, empty = setting
    config = dataclasses.replace(CONFIG, times=TimeSampling(shift=1e12))
    own = resample(dit, CAUSAL, data, text, empty, config, torch.Generator().manual_seed(0))
    again = torch.Generator().manual_seed(0)
    config.times.sample(2, again)
    noise = [torch.randn(data[:, :, :1].shape, generator=again) for _ in range(5)]
    assert not torch.allclose(own, data, atol=0.5)
    for row in range(2):
        rollout = Rollout(
            dit, CAUSAL, [(0, dit.text_kv(torch.stack([text[row], empty[row]])))],
            schedule=Schedule(sigmas=(1.0, 0.5, 0.0), times=(1.0, 0.5)), solver="euler", guidance=2.5, size=(4, 4),
            max_frames=5,
        )  # fmt: skip
        made = rollout.blocks(5, lambda start, *_, row=row: noise[start][row : row + 1])
        torch.testing.assert_close(own[row : row + 1], torch.cat(list(made), dim=2), rtol=0, atol=1e-4)


def test_a_clip_of_a_late_time_moves_further(setting):
    dit, data, text, empty = setting

    def distance(shift):
        config = dataclasses.replace(CONFIG, times=TimeSampling(shift=shift))
        own = resample(dit, CAUSAL, data, text, empty, config, torch.Generator().manual_seed(0))
        return (own - data).square().mean()

    assert distance(0.05) < distance(0.5) < distance(5.0)


@pytest.mark.parametrize(("changed", "told"), [({"share": 0.0}, "no share"), ({"steps": 0}, "at least 1")])
def test_settings_that_resample_nothing_are_refused(changed, told):
    with pytest.raises(SpecError, match=told):
        dataclasses.replace(CONFIG, **changed)
