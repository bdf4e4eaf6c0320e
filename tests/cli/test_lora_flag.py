import pytest

from kinema.cli import flags
from kinema.cli.generate import Generate, _request


@pytest.mark.parametrize(
    ("words", "loras"),
    [
        ([], ()),
        (["--lora", "style.safetensors"], (("style.safetensors", 1.0),)),
        (["--lora", "a.safetensors:0.8", "--lora", "b:-1"], (("a.safetensors", 0.8), ("b", -1.0))),
        (["--lora", "odd:name"], (("odd:name", 1.0),)),
    ],
)
def test_loras_and_their_weights_reach_the_request(words: list[str], loras: tuple[tuple[str, float], ...]) -> None:
    options = flags.parse(Generate, ["a ball", *words], "generate")
    assert _request(options, None).loras == loras


def test_pictures_and_the_second_guidance_reach_the_request() -> None:
    words = ["a ball", "--image", "first.png", "--last-image", "last.png", "--guidance", "4", "--guidance-low", "3"]
    request = _request(flags.parse(Generate, words, "generate"), None)
    assert (request.image, request.last_image, request.guidance_low) == ("first.png", "last.png", 3.0)
