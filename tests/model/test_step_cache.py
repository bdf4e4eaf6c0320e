import pytest
import torch

from kinema.errors import SpecError
from kinema.model import PRESETS, DiT
from kinema.model.step_cache import StepCache

from .conftest import scramble


def _inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 4, 2, 4, 4, generator=generator), torch.randn(1, 3, 32, generator=generator)


@pytest.fixture
def dit():
    torch.manual_seed(0)
    return scramble(DiT(PRESETS["tiny"].dit))


def _count_blocks(dit):
    ran = []
    for i, block in enumerate(dit.blocks):
        block.register_forward_hook(lambda *_, i=i: ran.append(i))
    return ran


@torch.no_grad()
def test_a_threshold_of_zero_changes_no_bit(dit):
    steps, (latent, text) = StepCache(0.0), _inputs()
    for time in (0.9, 0.9, 0.8):
        times = torch.full((1, 2), time)
        assert torch.equal(dit(latent, times, text, steps=steps), dit(latent, times, text))
    assert steps.num_skipped == 0


@torch.no_grad()
def test_a_step_that_begins_as_the_last_one_did_runs_one_block(dit):
    steps, (latent, text) = StepCache(0.5), _inputs()
    ran = _count_blocks(dit)
    full = dit(latent, torch.full((1, 2), 0.9), text, steps=steps)
    again = dit(latent, torch.full((1, 2), 0.9), text, steps=steps)
    assert ran == [0, 1, 0]
    assert steps.num_skipped == 1
    torch.testing.assert_close(again, full, rtol=0, atol=1e-5)
    other, _ = _inputs(seed=1)
    dit(10 * other, torch.full((1, 2), 0.1), text, steps=steps)
    assert ran == [0, 1, 0, 0, 1]


@torch.no_grad()
def test_a_step_of_another_batch_is_run_in_full(dit):
    steps, (latent, text) = StepCache(10.0), _inputs()
    dit(latent, torch.full((1, 2), 0.9), text, steps=steps)
    twice = dit(latent.repeat(2, 1, 1, 1, 1), torch.full((2, 2), 0.9), text.repeat(2, 1, 1), steps=steps)
    assert steps.num_skipped == 0
    assert twice.shape[0] == 2


@pytest.mark.parametrize("threshold", [-0.1, float("nan")])
def test_a_threshold_that_is_no_share_is_refused(threshold):
    with pytest.raises(SpecError, match="step_cache"):
        StepCache(threshold)
