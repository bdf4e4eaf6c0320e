import pytest

from kinema.errors import CheckpointError
from kinema.generate.vocabulary import FILE_NAME, Vocabulary, split_words

TOPICS = {"shapes": ("ball", "box"), "colours": ("red", "blue")}
KNOWN = Vocabulary.from_captions(["A red ball rolls.", "The blue box doesn't move"], TOPICS)


def test_words_are_collected_once_in_lower_case_and_in_order():
    assert KNOWN.words == ("a", "ball", "blue", "box", "doesn't", "move", "red", "rolls", "the")


def test_a_prompt_of_known_words_needs_no_warning():
    assert KNOWN.warning("The RED box, rolls!") is None


def test_other_endings_of_a_known_word_need_no_warning():
    assert KNOWN.warning("red balls roll, boxes moving") is None
    assert KNOWN.unseen("a bored roller") == ("bored", "roller")


def test_a_pictogram_is_named_and_punctuation_is_not():
    assert KNOWN.unseen("the red ball \N{BALLOON} \u2013 \u201crolls\u201d\u2026") == ("\N{BALLOON}",)


def test_a_word_that_is_like_no_other_gets_no_suggestion():
    warning = Vocabulary(words=("camera", "bumps")).warning("a zebra jumps")
    assert warning == "the model has never seen 'a', 'zebra', 'jumps' (did you mean 'bumps'?)"


def test_a_warning_names_each_unseen_word_once_and_what_the_model_knows():
    warning = KNOWN.warning("a dragon and a dragon on 2 bals")
    assert warning is not None
    assert warning.count("'dragon'") == 1
    assert "'bals' (did you mean 'ball'?)" in warning
    assert "shapes: ball, box; colours: red, blue" in warning


def test_hyphens_and_digits_part_words():
    assert split_words("blue-green 3D ball, don't") == ["blue", "green", "d", "ball", "don't"]


def test_a_vocabulary_survives_its_file(tmp_path):
    KNOWN.save(tmp_path)
    assert Vocabulary.load(tmp_path) == KNOWN


def test_a_folder_without_a_vocabulary_has_none(tmp_path):
    assert Vocabulary.load(tmp_path) is None


def test_a_damaged_vocabulary_is_named(tmp_path):
    (tmp_path / FILE_NAME).write_text('{"words": [1]}')
    with pytest.raises(CheckpointError, match=r"vocabulary\.json"):
        Vocabulary.load(tmp_path)
