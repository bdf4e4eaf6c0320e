"""What a file said of its origin outlives its being encoded anew."""

from pathlib import Path

import numpy as np
import pytest

from kinema.media import Frame, read_video, write_video
from kinema.provenance import c2pa
from kinema.provenance.mark import UNMARKED, write_marked
from kinema.provenance.statement import append_statement, carried_statement, read_statement
from kinema.provenance.verify import verify


@pytest.fixture(scope="module")
def pictures() -> Frame:
    return np.random.default_rng(0).integers(90, 160, (5, 64, 64, 3)).astype(np.uint8)


def test_a_statement_goes_along_with_a_copy_and_into_what_is_made_of_it(pictures: Frame, tmp_path: Path) -> None:
    original, copy = tmp_path / "original.mp4", tmp_path / "copy.mp4"
    write_marked(original, pictures, 8, {"title": "x"})
    statement = read_statement(original)
    assert statement is not None
    write_video(copy, pictures, 8)
    frames = read_video(copy).frames
    append_statement(copy, statement)
    assert carried_statement(copy) == statement
    assert np.array_equal(read_video(copy).frames, frames)
    for relation in ("parentOf", "inputTo"):
        ingredient = c2pa.Ingredient(path=copy, relation=relation, statement=statement)  # type: ignore[arg-type]
        write_marked(tmp_path / "made.mp4", pictures, 8, {"title": "y"}, ingredients=[ingredient])
        found = c2pa.read(tmp_path / "made.mp4")
        assert found is not None
        assert (found.state, found.ingredients, found.problems) == ("trusted", ("copy.mp4",), ())
        assert found.origins == ("signed by Kinema",)


def test_a_file_that_says_nothing_gives_nothing(pictures: Frame, tmp_path: Path) -> None:
    write_marked(tmp_path / "a.mp4", pictures, 8, {}, UNMARKED)
    write_video(tmp_path / "a.webm", pictures, 8)
    assert read_statement(tmp_path / "a.mp4") is None
    assert read_statement(tmp_path / "a.webm") is None
    assert carried_statement(tmp_path / "a.mp4") is None
    with (tmp_path / "a.mp4").open("ab") as file:
        file.write(b"\0\0\0\x10freejumbjumb")  # the name of the box, and no such box
    assert read_statement(tmp_path / "a.mp4") is None
    (tmp_path / "b.mp4").write_bytes(b"\0\0\0\x04ftyp" + bytes(40))
    assert carried_statement(tmp_path / "b.mp4") is None


def test_a_statement_that_no_longer_holds_says_so_in_what_is_made_of_it(pictures: Frame, tmp_path: Path) -> None:
    original = tmp_path / "original.mp4"
    write_marked(original, pictures, 8, {"title": "x"})
    content = bytearray(original.read_bytes())
    content[content.index(b"mdat") + 600] ^= 255
    original.write_bytes(content)
    statement = read_statement(original)
    assert statement is not None
    ingredient = c2pa.Ingredient(path=original, relation="parentOf", statement=statement)
    write_marked(tmp_path / "made.mp4", pictures, 8, {"title": "y"}, ingredients=[ingredient])
    found = c2pa.read(tmp_path / "made.mp4")
    assert found is not None
    assert found.state == "trusted"  # what is said here holds
    assert found.origins == ("its signature by Kinema was broken",)
    assert "its signature by Kinema was broken" in verify(tmp_path / "made.mp4").marks[0].says


def test_an_empty_file_carries_no_statement(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert read_statement(tmp_path / "empty.mp4") is None
