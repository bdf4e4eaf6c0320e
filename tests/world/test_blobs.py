import numpy as np

from kinema.world.blobs import find_blobs
from kinema.world.scene import COLOURS

FRAMES = 6
PINK, RED, GREEN = COLOURS.index("pink"), COLOURS.index("red"), COLOURS.index("green")


def _empty() -> np.ndarray:
    return np.full((FRAMES, 40, 40), -1, dtype=np.int8)


def test_a_pale_patch_is_no_object() -> None:
    label = _empty()
    label[:, 5:15, 5:15] = RED
    label[:, 25:35, 25:35] = GREEN
    vivid = label == RED
    found = find_blobs(label, np.ones(label.shape, dtype=bool), vivid)
    assert [blob.colour for blob in found] == ["red"]


def test_an_object_whose_hue_drifts_stays_one_object() -> None:
    label = _empty()
    label[:3, 5:15, 5:15] = PINK
    label[3, 5:15, 5:15] = PINK
    label[3, 5:15, 12:15] = RED
    label[4:, 5:15, 5:15] = RED
    everywhere = np.ones(label.shape, dtype=bool)
    assert len(find_blobs(label, everywhere, everywhere)) == 1


def test_two_objects_of_like_hues_side_by_side_are_two() -> None:
    label = _empty()
    label[:, 5:15, 5:15] = PINK
    label[:, 5:15, 20:30] = RED
    everywhere = np.ones(label.shape, dtype=bool)
    assert sorted(blob.colour for blob in find_blobs(label, everywhere, everywhere)) == ["pink", "red"]
