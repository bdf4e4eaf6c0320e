import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import c2pa as library
import numpy as np
import pytest

from kinema.cli.main import main
from kinema.errors import MediaError, SpecError, how_to_install
from kinema.generate.record import METADATA_KEY
from kinema.media import Frame, check_output, iter_frames, read_metadata, write_video
from kinema.provenance import c2pa
from kinema.provenance.authority import open_authority
from kinema.provenance.c2pa import Ingredient
from kinema.provenance.mark import AIGC_KEY, RECORD_KEY, UNMARKED, Marks, record_digest, watermark_id, write_marked
from kinema.provenance.verify import Verification, verify

RECORD = json.dumps(
    {"spec": {"model": "mini", "seed": 3, "prompt": "a secret ball"}, "version": "0.1.0", "weights": "ab"}
)
METADATA = {RECORD_KEY: RECORD, "title": "a secret ball"}


@pytest.fixture(scope="module")
def clip(clips: dict[int, list[Frame]]) -> Frame:
    return clips[64][3]


@pytest.fixture
def marked(clip: Frame, tmp_path: Path) -> Callable[..., Path]:
    def make(name: str = "marked.mp4", **options: Any) -> Path:
        frames = clip[:1] if name.endswith("png") else clip
        write_marked(tmp_path / name, [frames], 8, METADATA, **options)
        return tmp_path / name

    return make


def outcomes(found: Verification) -> dict[str, str]:
    return {mark.kind: mark.outcome for mark in found.marks}


def details(found: Verification, kind: str) -> dict[str, Any]:
    return next(mark.details for mark in found.marks if mark.kind == kind)


def test_the_record_is_the_one_that_generate_writes() -> None:
    assert RECORD_KEY == METADATA_KEY


@pytest.mark.parametrize("ending", ["mp4", "gif", "webp", "webm"])
def test_every_mark_is_put_on_and_found_again(marked: Callable[..., Path], ending: str) -> None:
    found = verify(marked(f"marked.{ending}"))
    signature = "not found" if ending == "webm" else "found"
    assert outcomes(found) == {
        "signature": signature, "watermark": "found", "AIGC key": "found", "record": "found",
    }  # fmt: skip
    assert details(found, "watermark")["id"] == f"{watermark_id(record_digest(RECORD)):08x}"
    assert details(found, "watermark")["belongs_to_record"] is True
    assert found.is_marked
    assert not found.is_broken
    if ending != "webm":
        signed = details(found, "signature")
        assert (signed["state"], signed["issuer"]) == ("trusted", "Kinema")
        assert signed["source_type"] == c2pa.MADE_BY_MODEL


def test_a_png_carries_all_marks_and_its_signature_holds(marked: Callable[..., Path]) -> None:
    found = verify(marked("one.png"))
    assert outcomes(found)["signature"] == "found"
    assert found.marks[1].says.endswith("in one frame)")


def test_nothing_is_found_in_a_file_without_marks(marked: Callable[..., Path], clip: Frame, tmp_path: Path) -> None:
    found = verify(marked(marks=UNMARKED))
    assert outcomes(found) == {
        "signature": "not found", "watermark": "not found", "AIGC key": "not found", "record": "found",
    }  # fmt: skip
    write_video(tmp_path / "bare.mp4", [clip], 8)
    assert not verify(tmp_path / "bare.mp4").is_marked


def test_a_change_of_one_byte_breaks_the_signature(marked: Callable[..., Path]) -> None:
    path = marked()
    content = bytearray(path.read_bytes())
    content[content.rindex(b"mdat") + 400] ^= 1
    path.write_bytes(content)
    found = verify(path)
    assert outcomes(found)["signature"] == "broken"
    assert "assertion.bmffHash.mismatch" in details(found, "signature")["problems"]
    assert found.is_broken


def test_a_copy_without_metadata_keeps_the_watermark_alone(marked: Callable[..., Path], tmp_path: Path) -> None:
    with av.open(str(marked())) as source, av.open(str(tmp_path / "copy.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    found = verify(tmp_path / "copy.mp4")
    assert outcomes(found) == {
        "signature": "not found", "watermark": "found", "AIGC key": "not found", "record": "not found",
    }  # fmt: skip
    assert details(found, "watermark")["belongs_to_record"] is None


def test_a_record_that_was_replaced_contradicts_the_watermark(marked: Callable[..., Path], tmp_path: Path) -> None:
    path = marked()
    other = {**read_metadata(path), RECORD_KEY: RECORD.replace("secret", "blue")}
    write_video(tmp_path / "forged.mp4", iter_frames(path), 8, other)
    found = verify(tmp_path / "forged.mp4")
    assert found.is_broken
    assert "belongs to another record" in found.contradictions[0]


def test_a_stranger_can_check_the_file_but_not_trust_it(
    marked: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, root = marked(), open_authority().roots
    monkeypatch.setenv("KINEMA_PROVENANCE", str(tmp_path / "elsewhere"))
    assert details(verify(path), "signature")["state"] == "valid"
    assert details(verify(path, anchors=root), "signature")["state"] == "trusted"
    assert not (tmp_path / "elsewhere").exists()


def test_the_signature_tells_no_prompt_but_its_hash(marked: Callable[..., Path]) -> None:
    told = details(verify(marked()), "signature")["generation"]
    assert "secret" not in json.dumps(told)
    assert (told["model"], told["seed"], len(told["prompt_sha256"])) == ("mini", 3, 64)


def test_an_edit_keeps_its_parent_and_the_parents_marks(marked: Callable[..., Path], clip: Frame) -> None:
    parent, shown = marked(), marked("shown.png")
    both = [Ingredient(path=parent, relation="parentOf"), Ingredient(path=shown, relation="inputTo")]
    path = marked("edit.mp4", ingredients=both)
    signed = details(verify(path), "signature")
    assert (signed["state"], signed["ingredients"]) == ("trusted", ("marked.mp4", "shown.png"))
    import c2pa as library

    with library.Reader(str(path), context=library.Context()) as reader:
        store = json.loads(reader.json())
    assert len(store["manifests"]) == 3
    actions = store["manifests"][store["active_manifest"]]["assertions"]
    names = [
        each["action"] for part in actions if part["label"] == "c2pa.actions.v2" for each in part["data"]["actions"]
    ]
    assert names[0] == "c2pa.opened"


def test_the_aigc_key_is_what_the_standard_wants(marked: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEMA_PRODUCER", "001191310101MA1FL8XXXX00000")
    path = marked()
    with av.open(str(path)) as container:
        text = container.metadata[AIGC_KEY]
    fields = json.loads(text)
    assert list(fields) == [
        "Label", "ContentProducer", "ProduceID", "ReservedCode1", "ContentPropagator", "PropagateID", "ReservedCode2",
    ]  # fmt: skip
    assert (fields["Label"], fields["ContentProducer"]) == ("1", "001191310101MA1FL8XXXX00000")
    assert text.isascii()
    assert " " not in text
    monkeypatch.setenv("KINEMA_PRODUCER", "Ein Name")
    with pytest.raises(SpecError, match="KINEMA_PRODUCER='Ein Name' does not fit"):
        marked("second.mp4")


@pytest.mark.parametrize("text", ["no json", "[1]", "[" * 5000])
def test_an_aigc_key_of_nonsense_is_broken(clip: Frame, tmp_path: Path, text: str) -> None:
    write_video(tmp_path / "odd.mp4", [clip[:2]], 8, {AIGC_KEY: text, RECORD_KEY: text})
    found = outcomes(verify(tmp_path / "odd.mp4"))
    assert (found["AIGC key"], found["record"]) == ("broken", "broken")


def test_a_picture_under_a_wrong_name_is_still_checked(marked: Callable[..., Path], tmp_path: Path) -> None:
    path = marked("clip.webp").rename(tmp_path / "clip.png")
    assert outcomes(verify(path))["signature"] == "found"


def test_a_key_that_does_not_belong_to_its_certificate_is_refused_before_any_work(
    marked: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        monkeypatch.setenv("KINEMA_PROVENANCE", str(tmp_path / name))
        open_authority()
    (tmp_path / "one" / "key.pem").replace(tmp_path / "two" / "key.pem")

    def frames() -> Any:
        raise AssertionError("work was begun")
        yield

    with pytest.raises(SpecError, match=r"cannot sign.*that belong together"):
        write_marked(tmp_path / "x.mp4", frames(), 8, METADATA)
    assert not (tmp_path / "x.mp4").exists()


def test_a_file_that_cannot_be_signed_does_not_appear(
    marked: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MediaError("no")

    monkeypatch.setattr(c2pa, "sign", fail)
    monkeypatch.setattr(c2pa, "try_out", lambda _: None)
    with pytest.raises(MediaError):
        marked()
    assert list(tmp_path.iterdir()) == []


def test_marks_that_do_not_exist_are_refused() -> None:
    with pytest.raises(SpecError, match="unknown label 'us'"):
        Marks(label="us")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["verify", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_says_what_was_found_and_what_it_rests_on(
    marked: Callable[..., Path], clip: Frame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = marked()
    code, out, err = run(capsys, str(path))
    assert (code, err) == (0, "")
    assert "trusted: Kinema; made by a trained model" in out
    assert "which belongs to the record in the file" in out
    assert "a mark is missing proves nothing" in out
    code, out, _ = run(capsys, str(path), "--json")
    answer = json.loads(out)
    assert (code, answer["is_marked"], answer["is_broken"]) == (0, True, False)
    write_video(tmp_path / "bare.mp4", [clip[:3]], 8)
    assert run(capsys, str(tmp_path / "bare.mp4"))[0] == 10
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert run(capsys, str(path))[0] == 11


def test_without_the_package_the_signature_is_not_checked(
    marked: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = marked()
    monkeypatch.setattr(c2pa, "is_available", lambda: False)
    code, out, _ = run(capsys, str(path))
    assert code == 0
    assert f"not checked: c2pa is not installed; {how_to_install('provenance')}" in out


def test_a_file_that_breaks_off_is_judged_by_what_can_be_read(
    marked: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = marked()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 4 // 5])
    code, out, err = run(capsys, str(path))
    assert err == ""
    assert code == 11
    assert "broken" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("missing.mp4",), 4, "missing.mp4 does not exist"),
        (("notes.txt",), 4, "notes.txt cannot be read as a video"),
        (("empty.mp4",), 4, "empty.mp4 cannot be read"),
        ((".",), 4, r"\. is a folder; give the name of a file"),
        (("picture.png", "--anchors", "missing.pem"), 2, "--anchors missing.pem does not exist"),
        (("picture.png", "--anchors", "notes.txt"), 2, "no certificate in PEM"),
        (("picture.png", "--anchors", "broken.pem"), 2, "broken.pem holds no certificate in PEM"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...], code: int, message: str,
) -> None:  # fmt: skip
    import re

    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("nothing")
    Path("empty.mp4").touch()
    Path("broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    write_video("picture.png", [np.zeros((32, 32, 3), np.uint8)], 1)
    found, out, err = run(capsys, *words)
    assert (found, out) == (code, "")
    assert len(err.strip().splitlines()) == 1
    assert re.search(message, err)


def test_importing_the_room_costs_no_signing_library() -> None:
    import sys

    rooms = "kinema.provenance.mark, kinema.provenance.verify"
    code = f"import sys, {rooms}; print({{'c2pa', 'cryptography', 'torch'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_ctrl_c_waits_until_the_signing_library_is_done(
    marked: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sign, done = marked("marked.png", marks=UNMARKED), library.Builder.sign, []

    def disturbed(*args: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        done.append(sign(*args))
        return done[-1]

    monkeypatch.setattr(library.Builder, "sign", disturbed)
    before = path.read_bytes()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is born deaf to it
    try:
        with pytest.raises(KeyboardInterrupt):
            c2pa.sign(path, "x.png", {}, open_authority())
    finally:
        signal.signal(signal.SIGINT, handler)
    assert len(done) == 1
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["marked.png"]


def test_the_longest_name_that_is_accepted_can_be_signed(marked: Callable[..., Path], tmp_path: Path) -> None:
    room = os.pathconf(tmp_path, "PC_NAME_MAX") - len(f".png.partial-{os.getpid()}")
    check_output(tmp_path / f"{'x' * room}.png")
    with pytest.raises(MediaError, match="too long"):
        check_output(tmp_path / f"{'x' * (room + 1)}.png")
    assert outcomes(verify(marked(f"{'x' * room}.png")))["signature"] == "found"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_is_full_while_signing_is_named(
    marked: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = marked("marked.png", marks=UNMARKED)
    monkeypatch.setattr("secrets.token_hex", lambda _: "chance")
    path.with_name("chance.partial-signed").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        c2pa.sign(path, "x.png", {}, open_authority())
    assert [each.name for each in path.parent.iterdir()] == ["marked.png"]
