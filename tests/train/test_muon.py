import pytest
import torch
from torch import nn

from kinema.train.muon import RMS_OF_ADAMW, Muon, orthogonalise


@pytest.mark.parametrize("shape", [(8, 8), (8, 40), (40, 8)])
def test_orthogonalising_brings_all_singular_values_near_one_and_keeps_the_directions(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3e-4
    result, other = orthogonalise(torch.stack([matrix, matrix.flip(0)]))
    assert torch.equal(other, result.flip(0)) or torch.allclose(other, result.flip(0), atol=0.03)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    values = torch.diagonal(left.T @ result @ right.T)
    assert values.min() > 0.5
    assert values.max() < 1.3
    off = left.T @ result @ right.T - torch.diag(values)
    assert off.abs().max() < 0.05


def test_a_step_is_as_large_as_one_of_adamw():
    for shape in [(16, 64), (16, 4, 3, 3, 3)]:
        parameter = nn.Parameter(torch.zeros(shape))
        parameter.grad = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        Muon([parameter], lr=0.1).step()
        assert parameter.detach().square().mean().sqrt().item() == pytest.approx(0.1 * RMS_OF_ADAMW, rel=0.2)


def test_the_first_steps_descend_a_quadratic():
    target = torch.randn(6, 10, generator=torch.Generator().manual_seed(2))
    parameter = nn.Parameter(torch.zeros(6, 10))
    optimizer = Muon([parameter], lr=0.3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (parameter - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
