import os
from pathlib import Path

import fsspec
import pytest

from kinema.data.ingest import Found, Source, ingest_file, list_inputs, local_copy
from kinema.errors import DataError


def test_names_that_are_no_utf8_or_hold_newlines_are_read_like_others(footage: Path, tmp_path: Path) -> None:
    content = (footage / "it's one.mp4").read_bytes()
    names = [b"new\nline.mp4", b"\xff\xfe.mp4", b"x" * 250 + b".mp4", b'quote"s.mp4']
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(content)
    found = list(list_inputs([Source(path=str(tmp_path))]))
    assert len(found) == 4
    for each in found:
        each.uri.encode("utf-8")
        with local_copy(each.uri) as path:
            assert path.read_bytes() == content
    assert len({ingest_file(each)["file_hash"] for each in found}) == 1


def test_a_bucket_is_read_through_fsspec(footage: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/a.mp4", (footage / "it's one.mp4").read_bytes())
    memory.pipe("/bucket/a.txt", b"a caption")
    (found,) = list_inputs([Source(path="memory://bucket", name="ours", license="MIT")])
    row = ingest_file(found)
    assert (row["num_frames"], row["license"], row["source"]) == (24, "MIT", "ours")


def test_a_file_that_vanished_is_a_plain_error() -> None:
    with pytest.raises(FileNotFoundError):
        ingest_file(Found("/nowhere/x.mp4", "", None, "x"))
    with pytest.raises(DataError, match="does not exist"):
        list(list_inputs([Source(path="/nowhere")]))


def test_an_address_that_two_sources_name_is_listed_once(footage: Path) -> None:
    found = list(list_inputs([Source(path=str(footage)), Source(path=str(footage / "text.mp4"))]))
    assert len(found) == len({each.uri for each in found}) == 6
