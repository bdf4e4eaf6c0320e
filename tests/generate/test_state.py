import pytest
import torch
from torch import Tensor

from kinema.diffusion import SCHEDULES, SOLVERS
from kinema.generate.state import LatentState


def _noise(batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))


def test_text_to_video_is_the_edit_whose_mask_is_all_ones():
    noise = _noise()
    state = LatentState.to_generate(noise)
    edit = LatentState.given_frames(noise, {})
    assert torch.equal(state.mask, torch.ones(1, 1, 4, 1, 1))
    for name in ("latent", "clean", "mask", "times"):
        assert torch.equal(getattr(state, name), getattr(edit, name))


def test_given_frames_stand_at_time_zero_and_the_others_at_one():
    first, last = torch.full((1, 3, 2, 2), 5.0), torch.full((1, 3, 2, 2), -5.0)
    state = LatentState.given_frames(_noise(), {0: first, -1: last})
    assert state.times.tolist() == [[0, 1, 1, 0]]
    assert torch.equal(state.latent[:, :, 0], first)
    assert torch.equal(state.latent[:, :, 3], last)
    assert torch.equal(state.latent[:, :, 1:3], _noise()[:, :, 1:3])


def test_a_frame_beyond_the_video_is_refused():
    with pytest.raises(IndexError):
        LatentState.given_frames(_noise(), {4: torch.zeros(1, 3, 2, 2)})


def test_one_time_spreads_over_the_frames_to_be_made():
    state = LatentState.given_frames(_noise(2), {0: torch.zeros(2, 3, 2, 2)})
    assert state.frame_times(torch.tensor(0.5)).tolist() == [[0, 0.5, 0.5, 0.5]] * 2
    assert state.frame_times(torch.tensor([0.25, 0.5])).tolist() == [[0, 0.25, 0.25, 0.25], [0, 0.5, 0.5, 0.5]]


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_solver_moves_a_given_frame(solver):
    first = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    state = LatentState.given_frames(_noise(), {0: first})
    seen = []

    def network(latent: Tensor, times: Tensor) -> Tensor:
        seen.append((latent[:, :, 0].clone(), times[:, 0].item()))
        return latent * 3 + times[:, None, :, None, None]

    latent = SOLVERS[solver](state.velocity(network), state.latent, SCHEDULES[solver](5, 3.0), None)
    assert torch.equal(state.restore(latent)[:, :, 0], first)
    assert all(torch.equal(frame, first) and time == 0 for frame, time in seen)
    assert not torch.equal(latent[:, :, 1], state.latent[:, :, 1])


def test_a_state_that_moves_leaves_the_one_before_as_it_was():
    state = LatentState.given_frames(_noise(), {0: torch.zeros(1, 3, 2, 2)})
    before = state.latent.clone()
    after = state.moved(torch.full_like(state.latent, 9.0), 0.5)
    assert torch.equal(state.latent, before)
    assert after.times.tolist() == [[0, 0.5, 0.5, 0.5]]
    assert torch.equal(after.latent[:, :, 0], torch.zeros(1, 3, 2, 2))
    assert torch.equal(after.latent[:, :, 1:], torch.full((1, 3, 3, 2, 2), 9.0))
