import pytest
import torch

from kinema.generate.estimate import Estimate, count_work, matrix_rate

META = torch.device("meta")


def test_a_matrix_product_is_counted_exactly():
    left, right = torch.empty(30, 50, device=META), torch.empty(50, 70, device=META)
    work = count_work(lambda: left @ right)
    assert work.flops == 2 * 30 * 50 * 70
    assert work.peak_bytes == 30 * 70 * 4


def test_memory_that_was_let_go_is_not_counted_twice():
    start = torch.empty(1000, device=META)

    def one_after_the_other() -> torch.Tensor:
        x = start
        for _ in range(10):
            x = x + 1
        return x

    assert count_work(one_after_the_other).peak_bytes == 2 * 4000


def test_weights_that_stand_already_are_not_counted():
    layer = torch.nn.Linear(100, 100, device=META)
    x = torch.empty(7, 100, device=META)
    assert count_work(lambda: layer(x).t()).peak_bytes == 7 * 100 * 4


def test_attention_is_counted_without_its_matrix_of_scores():
    q = torch.empty(1, 2, 4096, 16, device=META, dtype=torch.bfloat16)
    work = count_work(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q))
    assert work.flops == 4 * 2 * 4096 * 4096 * 16
    assert work.peak_bytes < 4096 * 4096


def test_the_rate_of_this_machine_is_plausible():
    assert 1e8 < matrix_rate(torch.device("cpu"), torch.float32) < 1e15


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.123, "about 0.12 s and"),
        (5.0, "about 5 s"),
        (75.0, "about 75 s"),
        (170.0, "about 2.8 minutes"),
        (9000.0, "about 2.5 hours"),
        (1e9, "about 12,000 days"),
    ],
)
def test_an_estimate_reads_as_one_line(seconds, text):
    line = Estimate(flops=2 * 10**12, seconds=seconds, memory_bytes=10**9, weight_bytes=10**8).describe()
    assert text in line
    assert "2 TFLOP" in line
    assert "\n" not in line
