import pytest
import torch

from kinema.model.attention import Attention, attend
from kinema.model.causal import CausalConfig, Sight, block_causal_mask, sights, teacher_forcing_mask
from kinema.model.rope import rotate, video_rotation

FRAMES, TOKENS = 5, 4


def _own(*frames):
    """These frames, each in its own place."""
    return tuple((frame, frame) for frame in frames)


def test_a_clip_and_its_noisy_copy_see_as_teacher_forcing_says():
    config = CausalConfig(block=1)
    clean = (Sight(1, _own(0)), Sight(1, _own(0, 1)), Sight(1, _own(0, 1, 2)))
    noisy = (Sight(1, _own(3)), Sight(1, _own(0, 4)), Sight(1, _own(0, 1, 5)))
    assert sights(teacher_forcing_mask(3, config), [0, 1, 2] * 2, config) == clean + noisy
    config = CausalConfig(block=2)
    assert sights(block_causal_mask(3, config), range(3), config) == (Sight(2, _own(0, 1)), Sight(1, _own(0, 1, 2)))


def test_behind_a_gap_the_sink_stands_where_the_window_begins():
    config = CausalConfig(block=1, window=3, sink=1, positions="relative")
    *_, last = sights(teacher_forcing_mask(5, config), [*range(5)] * 2, config)
    assert last == Sight(1, ((0, 2), (3, 3), (9, 9)))


def test_the_scores_that_are_left_are_three_in_ten():
    config = CausalConfig(block=1)
    seen = sights(teacher_forcing_mask(5, config), [*range(5)] * 2, config)
    assert sum(sight.looking * len(sight.seen) for sight in seen) == 0.3 * 10**2


@pytest.mark.parametrize(
    "config", [CausalConfig(block=1), CausalConfig(block=2), CausalConfig(block=1, sink=1, window=3)], ids=str
)
@pytest.mark.parametrize("make_mask", [block_causal_mask, teacher_forcing_mask])
@torch.no_grad()
def test_sights_show_what_a_mask_over_all_scores_leaves(make_mask, config):
    torch.manual_seed(0)
    mask = make_mask(FRAMES, config)
    frames = len(mask)
    attention, x = Attention(32, 2, 1e-6), torch.randn(2, frames * TOKENS, 32)
    rotation = video_rotation((frames, 2, 2), 16)
    key, value = attention.key_value(x)
    seen = sights(mask, range(frames), config)
    bias = torch.zeros(mask.shape).masked_fill(~mask, float("-inf"))
    bias = bias.repeat_interleave(TOKENS, 0).repeat_interleave(TOKENS, 1)[None, None]
    mixed = attend(rotate(attention.query(x), rotation), rotate(key, rotation), value, bias=bias)
    expected = attention.to_out(mixed.flatten(2))
    torch.testing.assert_close(attention.over(x, rotation, sights=seen), expected, rtol=0, atol=1e-5)
    assert (attention.over(x, rotation) - expected).abs().max() > 1e-2
