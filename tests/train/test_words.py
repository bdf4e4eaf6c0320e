import shutil

from kinema.generate.vocabulary import Vocabulary
from kinema.model import load_model
from kinema.train.words import words_of, words_of_the_world


def test_the_world_has_its_words_and_its_topics():
    words = words_of_the_world()
    assert {"ball", "rolls", "wooden"} <= set(words.words)
    assert "ball" in words.topics["shapes"]


def test_a_model_keeps_its_words_and_learns_those_of_new_captions(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    assert words_of(load_model(folder, "meta"), ["put the cup down"]) is None  # it knows every word
    Vocabulary(words=("ball", "red"), topics={"shapes": ("ball",)}).save(folder)
    words = words_of(load_model(folder, "meta"), ["Put the cup down"])
    assert words is not None
    assert words.words == ("ball", "cup", "down", "put", "red", "the")
    assert words.topics == {"shapes": ("ball",)}
