import numpy as np
import pytest
from tests.world.stage import one_object, standing

from kinema.world.daylight import Daylight, white_of
from kinema.world.egomotion import Move, view_path
from kinema.world.material import AZIMUTHS_DEG, choose_materials, material_costs
from kinema.world.parse import parse
from kinema.world.recognise import Stand
from kinema.world.render import render_clip
from kinema.world.scene import MATERIALS


@pytest.mark.parametrize("light", ["noon", "sunset", "night"])
@pytest.mark.parametrize("material", MATERIALS)
def test_materials_are_told_by_what_they_would_look_like(material: str, light: str) -> None:
    for shape in ("ball", "cone"):
        scene = one_object(shape, "red", material=material, light=light)
        seen = parse(render_clip(scene, standing(scene, 1), 1, 64, 64).numpy(), 8.0)
        assert [thing.material for thing in seen.objects] == [material]


def test_a_few_pixels_show_no_material() -> None:
    mask = np.zeros((1, 64, 64), dtype=bool)
    mask[0, 40:43, 30:33] = True
    day = Daylight("noon", "sand", white_of("noon"))
    path = view_path(Move("fixed", None, 18.0), 1)
    stand = Stand(0, np.array([0.0, 0.0, 0.2]), np.eye(3), np.zeros(2))
    frames = np.full((1, 64, 64, 3), 127, dtype=np.uint8)
    assert material_costs(frames, mask, ("ball", "large", "red"), [stand], path, 1.6, day) is None
    assert material_costs(frames, mask, ("ball", "large", "red"), [], path, 1.6, day) is None
    assert choose_materials([None], ["red"]) == [None]


def test_one_sun_shines_on_all_objects_and_like_ones_are_alike() -> None:
    size = (len(AZIMUTHS_DEG), len(MATERIALS))
    sure, unsure = np.full(size, 5.0), np.full(size, 1.0)
    sure[3, 1] = 0.0
    unsure[3, 2], unsure[8, 0] = 0.5, 0.4
    # Where it would rather have the sun elsewhere, an object gives way to one that is surer.
    assert choose_materials([sure, unsure], ["red", "blue"]) == [MATERIALS[1], MATERIALS[2]]
    assert choose_materials([sure, unsure, None], ["red", "red", "red"]) == [MATERIALS[1]] * 3
