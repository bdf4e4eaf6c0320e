import numpy as np
import torch

from kinema.evaluate.memory import peak_memory_bytes


def test_the_peak_grows_with_what_is_held_and_stays_after_it_is_freed():
    before = peak_memory_bytes(torch.device("cpu"))
    held = np.ones(before // 8 + 10_000_000)  # more than the peak so far, every page written
    grown = peak_memory_bytes(torch.device("cpu"))
    del held
    assert grown >= before + 50_000_000
    assert peak_memory_bytes(torch.device("cpu")) > 0.99 * grown
