import torch

from kinema.model.norm import _RMSNorm, rms_norm


def test_rms_norm_is_pytorchs():
    torch.manual_seed(0)
    x, weight = torch.randn(3, 4, 10), torch.rand(10)
    expected = torch.nn.functional.rms_norm(x, (10,), weight, 1e-6)
    for is_training in (True, False):
        with torch.set_grad_enabled(is_training):
            torch.testing.assert_close(rms_norm(x, weight, 1e-6), expected)


def test_rms_norm_has_the_gradient_of_its_definition():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, weight: _RMSNorm.apply(x, weight, 1e-3)[0], (x, weight))


def test_a_vector_of_zeros_stays_zero():
    assert not rms_norm(torch.zeros(2, 4), torch.ones(4), 1e-6).any()
