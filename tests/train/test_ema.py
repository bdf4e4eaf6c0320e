import torch

from kinema.train.ema import EMA


def test_the_first_update_forgets_most_of_the_start():
    weight = torch.zeros(2)
    ema = EMA({"w": weight}, decay=0.999)
    weight += 1.0
    ema.update({"w": weight})
    assert torch.allclose(ema.tensors["w"], torch.full((2,), 0.9))


def test_the_average_converges_to_constant_weights():
    weight = torch.zeros(2)
    ema = EMA({"w": weight}, decay=0.9)
    weight.fill_(3.0)
    for _ in range(200):
        ema.update({"w": weight})
    assert torch.allclose(ema.tensors["w"], weight, atol=1e-5)


def test_bfloat16_weights_are_averaged_in_float32():
    ema = EMA({"w": torch.zeros(2, dtype=torch.bfloat16)}, decay=0.5)
    assert ema.tensors["w"].dtype == torch.float32
