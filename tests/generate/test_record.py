import dataclasses
from pathlib import Path

import pytest

import kinema
from kinema.errors import MediaError
from kinema.generate.record import METADATA_KEY, Record, fingerprint
from kinema.spec import KeyFrame, KeyFrames, VideoSpec

MIB = 1 << 20


def _folder(tmp_path: Path, weights: bytes) -> Path:
    folder = tmp_path / "model"
    (folder / "transformer").mkdir(parents=True, exist_ok=True)
    (folder / "transformer" / "model.safetensors").write_bytes(weights)
    return folder


def test_a_record_survives_the_metadata(tmp_path: Path) -> None:
    (tmp_path / "first.png").write_bytes(b"picture")
    spec = VideoSpec(prompt='a "red" ball, für mich', image=str(tmp_path / "first.png"))
    record = Record.of(spec, folder=_folder(tmp_path, b"1"), device="cpu", dtype="float32")
    assert Record.from_metadata(record.to_metadata(), "x.mp4") == record
    assert record.version == kinema.__version__
    assert record.image_sha256 is not None


def test_a_record_by_content_names_no_place(tmp_path: Path) -> None:
    def recorded(folder: Path) -> Record:
        folder.mkdir()
        names = [str(folder / name) for name in ("first.png", "last.png", "key.png")]
        for name in names:
            Path(name).write_text(Path(name).name)
        keys = KeyFrames(frames=(KeyFrame(image=names[2], second=1.0),))
        spec = VideoSpec(prompt="a", image=names[0], last_image=names[1], edit=keys)
        return Record.of(spec, folder=None, device="cpu", dtype="float32")

    one, other = recorded(tmp_path / "one"), recorded(tmp_path / "other")
    assert one != other
    assert one.by_content() == other.by_content()
    assert len({*one.by_content().spec.files()}) == 3
    assert str(tmp_path) not in one.by_content().to_metadata()[METADATA_KEY]


def test_a_file_without_a_record_is_named() -> None:
    with pytest.raises(MediaError, match=r"x\.mp4 does not say how it was made"):
        Record.from_metadata({"title": "holiday"}, "x.mp4")


def test_a_record_that_cannot_be_read_is_named() -> None:
    with pytest.raises(MediaError, match=r"x\.mp4 .* cannot read"):
        Record.from_metadata({METADATA_KEY: '{"spec": 1}'}, "x.mp4")


def test_every_difference_is_told(tmp_path: Path) -> None:
    record = Record.of(VideoSpec(prompt="a"), folder=_folder(tmp_path, b"1"), device="cpu", dtype="float32")
    assert record.differences(record) == []
    other = dataclasses.replace(record, version="9", weights="0", device="cuda", dtype="bfloat16", image_sha256="1")
    assert len(record.differences(other)) == 5


@pytest.mark.parametrize("place", [0, MIB, 5 * MIB + 17, 8 * MIB - 1])
def test_a_single_byte_of_a_small_model_changes_the_fingerprint(tmp_path: Path, place: int) -> None:
    weights = bytearray(8 * MIB)
    before = fingerprint(_folder(tmp_path, bytes(weights)))
    weights[place] = 1
    assert fingerprint(_folder(tmp_path, bytes(weights))) != before


def test_the_fingerprint_does_not_depend_on_where_the_folder_is(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert fingerprint(_folder(one, b"12")) == fingerprint(_folder(two, b"12"))
    assert fingerprint(_folder(one, b"12")) != fingerprint(_folder(two, b"123"))
