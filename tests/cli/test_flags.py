from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import tyro

from kinema.cli import flags
from kinema.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class Options:
    frames: Annotated[int | None, flags.whole(), flags.hint("the model's")] = None
    """Number of frames."""
    seconds: Annotated[float | None, flags.number("S"), flags.hint()] = None
    """Length."""
    prompt: Annotated[str | None, flags.text("TEXT"), flags.hint()] = None
    """What to show."""
    from_: Annotated[Path | None, flags.path(), flags.hint(name="from")] = None
    """A file."""
    title: Annotated[str | None, tyro.conf.Positional, flags.text("TITLE"), flags.hint()] = None
    """What to call it."""
    at: Annotated[
        tuple[tuple[Annotated[float, flags.number("S")], Annotated[str, flags.text("TEXT")]], ...],
        tyro.conf.UseAppendAction,
        flags.hint(),
    ] = ()
    """Two words."""
    force: Annotated[bool, flags.hint()] = False
    """A switch."""


def test_values_are_read_as_their_kind():
    options = flags.parse(Options, ["--frames", "5", "--seconds", "2", "--from", "a/b.mp4"], "make")
    assert options == Options(frames=5, seconds=2.0, from_=Path("a/b.mp4"))


def test_text_that_spells_none_is_text():
    assert flags.parse(Options, ["--prompt", "None"], "make").prompt == "None"


@pytest.mark.parametrize(("words", "flag"), [(["--frames", "2.5"], "--frames"), (["--seconds", "long"], "--seconds")])
def test_a_value_of_the_wrong_kind_is_refused_in_one_line(words, flag):
    with pytest.raises(SpecError) as refusal:
        flags.parse(Options, words, "make")
    assert flag in str(refusal.value)
    assert repr(words[1]) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--frame", "3"], "unknown flag --frame; did you mean --frames? see kinema make --help"),
        (["--secnods=3"], "unknown flag --secnods; did you mean --seconds? see kinema make --help"),
        (["--prompt-text", "a"], "unknown flag --prompt-text; did you mean --prompt? see kinema make --help"),
        (["--title", "a"], "--title is no flag; the title stands by itself: kinema make TITLE"),
        (["-x"], "unknown flag -x; see kinema make --help"),
        (["a", "--at", "2"], "--at lacks its value; it takes S TEXT; see kinema make --help"),
        (["--frames"], "--frames lacks its value; it takes a whole number, such as 17; see kinema make --help"),
        (["--frames", "--force"], "--frames lacks its value; it takes a whole number, such as 17; see"),
        (["--prompt", "-a b"], "a value that begins with a dash goes behind an equals sign: --prompt='-a b'"),
        (["--seconds=", "a"], "--seconds is ''; it takes a number, such as 2.5"),
        (["--from", ""], "--from is ''; it takes the name of a file or folder, which is not empty"),
    ],
)
def test_a_line_that_does_not_fit_is_refused_in_one_line_with_the_nearest(words, line, capsys):
    with pytest.raises(SpecError) as refusal:
        flags.parse(Options, words, "make")
    assert str(refusal.value).startswith(line)
    assert "\n" not in str(refusal.value)
    assert capsys.readouterr().err == ""


def test_what_is_missing_is_named():
    @dataclass(frozen=True, kw_only=True)
    class Fetch:
        model: Annotated[str, tyro.conf.Positional, flags.text("NAME")]
        """What to fetch."""

    with pytest.raises(SpecError, match=r"^kinema fetch takes NAME, which is missing; see kinema fetch --help$"):
        flags.parse(Fetch, [], "fetch")


def test_words_without_quotes_are_answered_with_the_quotes(capsys):
    with pytest.raises(SpecError, match=r"'red ball' is too much; .* quotes: kinema make 'a red ball'$"):
        flags.parse(Options, ["a", "red", "ball", "--frames", "5"], "make")
    with pytest.raises(SpecError, match=r"'b' is too much; see kinema make --help$"):
        flags.parse(Options, ["a", "--frames", "5", "b"], "make")
    assert capsys.readouterr().err == ""


def test_help_says_what_leaving_a_flag_out_means(capsys):
    with pytest.raises(SystemExit):
        flags.parse(Options, ["--help"], "make")
    assert "(default: the model's)" in capsys.readouterr().out
