import torch

from kinema.generate.noise import frame_noise, video_noise
from kinema.shapes import LatentShape


def test_noise_of_a_frame_does_not_depend_on_how_the_video_is_cut():
    whole = video_noise(7, 4, LatentShape(6, 3, 5))
    parts = [video_noise(7, 4, LatentShape(n, 3, 5), start=start) for start, n in ((0, 1), (1, 3), (4, 2))]
    assert torch.equal(whole, torch.cat(parts, dim=2))


def test_a_longer_video_begins_with_the_noise_of_a_shorter_one():
    assert torch.equal(video_noise(0, 2, LatentShape(2, 4, 4)), video_noise(0, 2, LatentShape(5, 4, 4))[:, :, :2])


def test_seeds_and_frames_share_no_noise():
    drawn = [frame_noise(seed, frame, 2, 4, 4) for seed in range(3) for frame in range(3)]
    for i, one in enumerate(drawn):
        assert not any(torch.equal(one, other) for other in drawn[i + 1 :])


def test_noise_is_standard_normal():
    noise = video_noise(3, 16, LatentShape(8, 32, 32))
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01


def test_noise_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    video_noise(0, 2, LatentShape(2, 2, 2))
    assert torch.equal(torch.rand(2), expected)
