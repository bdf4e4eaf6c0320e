import pytest
import torch

from kinema.errors import SpecError
from kinema.train.caption import caption_of
from kinema.train.config import ConditioningShares, FlowStage, OptimConfig, Phase
from kinema.train.flow import draw_clean
from kinema.world.scene import sample_scene


def test_given_frames_come_in_the_shares_asked_for_and_never_fill_the_clip():
    shares = ConditioningShares(first=0.2, prefix=0.2, ends=0.2)
    clean = draw_clean(4000, 5, shares, torch.Generator().manual_seed(0))
    assert not clean.all(dim=1).any()
    first_only = (clean == torch.tensor([True, False, False, False, False])).all(dim=1)
    ends = (clean == torch.tensor([True, False, False, False, True])).all(dim=1)
    prefix = clean[:, :2].all(dim=1)
    none = ~clean.any(dim=1)
    for kind, share in ((first_only, 0.2), (ends, 0.2), (prefix, 0.2), (none, 0.4)):
        assert abs(kind.float().mean().item() - share) < 0.03


def test_a_single_frame_is_never_given():
    shares = ConditioningShares(first=0.5, prefix=0.3, ends=0.2)
    assert not draw_clean(100, 1, shares, torch.Generator().manual_seed(0)).any()


def test_two_frames_can_start_with_a_given_one_only():
    shares = ConditioningShares(first=0.0, prefix=0.5, ends=0.5)
    clean = draw_clean(200, 2, shares, torch.Generator().manual_seed(0))
    assert not clean[:, 1].any()


def test_captions_are_worded_anew_and_dropped_in_the_share_asked_for():
    scene = sample_scene(7)
    captions = [caption_of(scene, seed, 0.25).text for seed in range(400)]
    assert len(set(captions)) > 100
    assert abs(captions.count("") / 400 - 0.25) < 0.07
    assert captions == [caption_of(scene, seed, 0.25).text for seed in range(400)]


def test_a_phase_of_latents_cannot_be_cut():
    with pytest.raises(SpecError, match="crop=32"):
        FlowStage(
            clips=8,
            batch_size=1,
            optim=OptimConfig(learning_rate=1e-3),
            phases=(Phase(until=0.5, frames=1, batch_size=1, crop=32),),
        )


def test_a_text_encoder_that_stays_has_no_task_of_its_own():
    optim = OptimConfig(learning_rate=1e-3)
    FlowStage(clips=8, batch_size=1, optim=optim, train_text=False)
    with pytest.raises(SpecError, match=r"give flow\.binding=0"):
        FlowStage(clips=8, batch_size=1, optim=optim, train_text=False, binding=0.1)
