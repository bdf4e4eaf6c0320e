import pytest
import torch
from torch import Tensor

from kinema.diffusion.guidance import classifier_free
from kinema.errors import SpecError

LATENT = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TIME = torch.tensor(0.5, dtype=torch.float64)


class Network:
    """Stands for a network with two prompts and their two negative prompts; remembers what it was asked."""

    def __init__(self) -> None:
        self.text = torch.tensor([1.0, 2.0, -3.0, 0.5], dtype=torch.float64)[:, None, None]
        self.answers: list[int] = []
        self.asked: list[tuple[Tensor, Tensor]] = []

    def __call__(self, latent: Tensor, time: Tensor) -> Tensor:
        return self._answer(latent, time, self.text[:2])

    def paired(self, latent: Tensor, time: Tensor) -> Tensor:
        return self._answer(latent, time, self.text)

    def negative(self, latent: Tensor) -> Tensor:
        return torch.sin(latent) + self.text[2:] * latent

    def _answer(self, latent: Tensor, time: Tensor, text: Tensor) -> Tensor:
        self.answers.append(len(text))
        self.asked.append((latent, time))
        copies = latent.repeat(len(text) // 2, 1, 1)
        return torch.sin(copies) + text * copies


def test_guidance_moves_from_the_negative_prompt_past_the_prompt_in_one_call() -> None:
    network = Network()
    guided = classifier_free(network, network.paired, 4.0)(LATENT, TIME)
    assert network.answers == [4]
    prompt, negative = Network()(LATENT, TIME), network.negative(LATENT)
    assert torch.allclose(guided, negative + 4 * (prompt - negative))


def test_scale_1_is_the_prompt_alone_at_half_the_cost() -> None:
    network = Network()
    plain = classifier_free(network, network.paired, 1.0)(LATENT, TIME)
    assert network.answers == [2]
    assert torch.equal(plain, Network()(LATENT, TIME))


def test_scale_0_is_the_negative_prompt() -> None:
    network = Network()
    assert torch.allclose(classifier_free(network, network.paired, 0.0)(LATENT, TIME), network.negative(LATENT))


def test_guidance_acts_inside_its_interval_only() -> None:
    network = Network()
    guided = classifier_free(network, network.paired, 4.0, interval=(0.3, 0.8))
    for time in (1.0, 0.81, 0.8, 0.31, 0.3, 0.0):
        guided(LATENT, torch.tensor(time, dtype=torch.float64))
    assert network.answers == [2, 2, 4, 4, 2, 2]


def test_latents_and_times_are_handed_over_once_and_judged_by_the_noisiest_time() -> None:
    network = Network()
    guided = classifier_free(network, network.paired, 4.0, interval=(0.3, 0.8))
    times = torch.tensor([[0.0, 0.5, 0.5], [0.5, 0.5, 0.5]], dtype=torch.float64)
    guided(LATENT, times)
    assert network.answers == [4]
    assert network.asked == [(LATENT, times)]


def test_full_rescaling_gives_each_clip_the_contrast_of_its_unguided_velocity() -> None:
    network = Network()
    prompt = Network()(LATENT, TIME)
    plain, half, full = (
        classifier_free(network, network.paired, 7.0, rescale=share)(LATENT, TIME) for share in (0.0, 0.5, 1.0)
    )
    for clip in range(2):
        assert full[clip].std().item() == pytest.approx(prompt[clip].std().item())
        assert full[clip].std() < half[clip].std() < plain[clip].std()
        assert torch.allclose(full[clip] / full[clip].std(), plain[clip] / plain[clip].std())


@pytest.mark.parametrize("interval", [(0.5, 0.5), (0.8, 0.3), (-0.1, 1.0), (0.0, 1.5)])
def test_an_interval_that_is_no_span_of_times_is_refused(interval: tuple[float, float]) -> None:
    with pytest.raises(SpecError, match="interval="):
        classifier_free(Network(), Network().paired, 4.0, interval=interval)


@pytest.mark.parametrize("rescale", [-0.1, 1.1])
def test_a_rescale_that_is_no_share_is_refused(rescale: float) -> None:
    with pytest.raises(SpecError, match="rescale="):
        classifier_free(Network(), Network().paired, 4.0, rescale=rescale)
