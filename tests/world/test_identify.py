from kinema.world.identify import _possible


def test_an_object_does_only_what_its_shape_can_do() -> None:
    assert _possible("slide", "ball") == _possible("tumble", "ball") == "roll"
    assert _possible("roll", "box") == "slide"
    assert _possible("tumble", "cone") == "tumble"
    assert _possible(None, "ball") is None
