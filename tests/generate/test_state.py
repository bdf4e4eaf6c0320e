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


def _edited(**more) -> LatentState:
    clean = torch.randn(1, 3, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(1, 1, 4, 2, 2)
    mask[:, :, 0] = 0
    mask[:, :, 2, 0] = 0
    return LatentState.edited(_noise(), clean, mask, **more)


def test_an_edit_of_nothing_given_is_text_to_video():
    noise = _noise()
    state = LatentState.edited(noise, torch.zeros_like(noise), torch.ones(1, 1, 4, 2, 2), shows_clean=True)
    assert torch.equal(state.latent, noise)
    assert torch.equal(state.times, LatentState.to_generate(noise).times)
    assert state.path is None


def test_whole_frames_stand_at_time_zero_and_cells_move_with_their_frame():
    state = _edited(shows_clean=True)
    assert state.times.tolist() == [[0, 1, 1, 1]]
    assert torch.equal(state.latent[:, :, 0], state.clean[:, :, 0])
    assert torch.equal(state.latent[:, :, 1:], _noise()[:, :, 1:])


def test_a_model_that_was_never_shown_clean_frames_sees_one_time():
    assert _edited(shows_clean=False).times.tolist() == [[1, 1, 1, 1]]


@pytest.mark.parametrize("shows_clean", [True, False])
@pytest.mark.parametrize("solver", SOLVERS)
def test_given_cells_are_on_the_straight_path_at_every_step(solver, shows_clean):
    state = _edited(shows_clean=shows_clean)
    moves = (state.mask == 0) & (state.path != 0)
    errors = []

    def network(latent: Tensor, times: Tensor) -> Tensor:
        time = times[0, 1]
        expected = (1 - time) * state.clean + time * _noise()
        errors.append((latent - expected)[moves].abs().max().item())
        return latent * 3

    schedule = SCHEDULES[solver](5, 3.0)
    latent = SOLVERS[solver](state.velocity(network), state.latent, schedule, None)
    assert max(errors) < 5e-3  # schedules tell the network thousandths
    is_given = (state.mask == 0).expand_as(latent)
    torch.testing.assert_close(latent[is_given], state.clean[is_given], rtol=0, atol=1e-4)
    assert torch.equal(state.restore(latent)[is_given], state.clean[is_given])


def test_a_weak_edit_starts_between_the_video_and_noise():
    state = _edited(shows_clean=True, strength=0.25)
    assert state.times.tolist() == [[0, 0.25, 0.25, 0.25]]
    clean = torch.randn(1, 3, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(state.latent[:, :, 1], 0.75 * clean[:, :, 1] + 0.25 * _noise()[:, :, 1])
