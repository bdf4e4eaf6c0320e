import torch

from kinema.model.rope import axis_widths, rotate, video_rotation


def test_scores_depend_on_distances_only():
    torch.manual_seed(0)
    query, key = torch.randn(1, 1, 1, 20), torch.randn(1, 1, 1, 20)

    def score(a, b):
        rotation = video_rotation((4, 5, 6), 20)
        one, other = (type(rotation)(*(part[i : i + 1] for part in rotation)) for i in (a, b))
        return (rotate(query, one) * rotate(key, other)).sum()

    def index(t, y, x):
        return (t * 5 + y) * 6 + x

    near = score(index(0, 1, 2), index(1, 3, 1))
    torch.testing.assert_close(score(index(2, 2, 4), index(3, 4, 3)), near, rtol=0, atol=1e-5)
    assert (score(index(0, 1, 2), index(2, 3, 1)) - near).abs() > 1e-3


def test_a_later_first_frame_is_the_tail_of_a_longer_clip():
    whole, tail = video_rotation((5, 2, 3), 16), video_rotation((2, 2, 3), 16, frames=[3, 4])
    for long, short in zip(whole, tail, strict=True):
        assert torch.equal(long[3 * 6 :], short)


def test_head_widths_are_those_of_wan():
    assert axis_widths(128) == (44, 42, 42)
    assert axis_widths(64) == (24, 20, 20)
