import pytest
import torch

from kinema.diffusion import consistency, shifted_schedule


def test_a_perfect_model_gives_the_data_whatever_noise_is_put_back():
    data = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def velocity(latent, time):
        return (latent - data) / time.to(latent)

    start = torch.randn(2, 3, dtype=torch.float64)
    result = consistency(velocity, start, shifted_schedule(4, 5.0), lambda step: torch.randn(2, 3) * step)
    torch.testing.assert_close(result, data)


def test_each_step_sees_its_own_noise_at_its_level():
    seen = []

    def velocity(latent, time):
        seen.append((float(time), latent.clone()))
        return latent  # so the predicted data are (1 - sigma) latent

    noises = {step: torch.full((1,), float(step)) for step in (1, 2, 3)}
    steps = []
    start = torch.ones(1)
    result = consistency(
        velocity, start, shifted_schedule(4, 5.0), noises.__getitem__, lambda step, _: steps.append(step)
    )
    times = [time for time, _ in seen]
    assert times == pytest.approx([1.0, 0.9375, 5 / 6, 0.625])  # Self-Forcing's four
    assert steps == [0, 1, 2, 3]
    latent = start
    for step, (time, found) in enumerate(seen):
        assert found == pytest.approx(latent)
        following = times[step + 1] if step < 3 else 0.0
        latent = (1 - following) * (1 - time) * latent + following * (noises[step + 1] if step < 3 else 0)
    assert result == pytest.approx(latent)
