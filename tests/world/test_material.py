import numpy as np
import pytest
from tests.world.stage import one_object, standing

from kinema.world.daylight import Daylight, white_of
from kinema.world.material import material_of
from kinema.world.render import render_clip
from kinema.world.scene import MATERIALS
from kinema.world.segment import segment


@pytest.mark.parametrize("light", ["noon", "sunset", "night"])
@pytest.mark.parametrize("material", MATERIALS)
def test_materials_are_told_by_veil_glint_and_brightness(material: str, light: str) -> None:
    scene = one_object("ball", "red", material=material, light=light)
    seen = segment(render_clip(scene, standing(scene, 1), 1, 64, 64).numpy())
    assert material_of(seen.surface, seen.label == 0, "red", seen.daylight) == material


def test_a_few_pixels_show_no_material() -> None:
    mask = np.zeros((1, 64, 64), dtype=bool)
    mask[0, :3, :3] = True
    day = Daylight("noon", "sand", white_of("noon"))
    assert material_of(np.ones((1, 64, 64, 3), dtype=np.float32), mask, "red", day) is None
