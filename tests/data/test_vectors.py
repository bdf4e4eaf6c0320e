from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from kinema.data import DataRecipe, Store, run_recipe
from kinema.data.filter import KeepConfig, drop_reason
from kinema.data.frames import iter_pictures
from kinema.data.ingest import Source
from kinema.data.pool import Limits
from kinema.data.split import SplitConfig, survey_again
from kinema.data.vectors import Vectors
from kinema.media import Frame

FPS = 12


def encode(path: Path, frames: Frame, codec: str = "libx264", options: dict[str, str] | None = None) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=FPS, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        file.mux(stream.encode(None))
    return path


def motion(path: Path, first: int = 0, last: int | None = None) -> float | None:
    vectors, count = Vectors(), 0
    for picture in iter_pictures(path, vectors=True):
        vectors.add(picture)
        count += 1
    return vectors.take(first, count if last is None else last)


@pytest.mark.parametrize("speed", [1, 4, 12])
@pytest.mark.parametrize(("codec", "ending"), [("libx264", "mp4"), ("mpeg4", "avi")])
def test_a_pan_is_as_fast_as_it_was_made(
    make_shot: Callable[..., Frame], tmp_path: Path, codec: str, ending: str, speed: int
) -> None:
    path = encode(tmp_path / f"pan.{ending}", make_shot(1, 36, height=144, width=256, speed=speed), codec)
    assert motion(path) == pytest.approx(speed * FPS / 256, rel=0.05)


def test_pictures_between_are_left_out_and_a_still_scene_does_not_move(
    make_shot: Callable[..., Frame], tmp_path: Path
) -> None:
    still = np.repeat(make_shot(1, 1, height=144, width=256), 24, axis=0)
    assert motion(encode(tmp_path / "still.mp4", still)) == pytest.approx(0, abs=1e-4)
    path = encode(tmp_path / "pan.mp4", make_shot(1, 36, height=144, width=256, speed=4), options={"bf": "3"})
    kinds = [picture.frame.pict_type for picture in iter_pictures(path)]
    assert av.video.frame.PictureType.B in kinds
    assert motion(path) == pytest.approx(4 * FPS / 256, rel=0.05)


@pytest.mark.parametrize(
    ("codec", "options"), [("libvpx-vp9", {"cpu-used": "8", "deadline": "realtime"}), ("libx264", {"g": "1"})]
)
def test_without_vectors_there_is_no_number(
    make_shot: Callable[..., Frame], tmp_path: Path, codec: str, options: dict[str, str]
) -> None:
    path = encode(tmp_path / "pan.mkv", make_shot(1, 12, height=144, width=256, speed=4), codec, options)
    assert motion(path) is None


def test_vectors_that_reach_out_of_a_clip_are_not_its_motion(make_shot: Callable[..., Frame], tmp_path: Path) -> None:
    fast, slow = (make_shot(seed, 24, height=144, width=256, speed=speed) for seed, speed in ((1, 12), (2, 2)))
    options = {"bf": "0", "sc_threshold": "0", "g": "250"}
    path = encode(tmp_path / "two.mp4", np.concatenate([fast, slow]), options=options)
    assert motion(path, 0, 24) == pytest.approx(12 * FPS / 256, rel=0.05)
    assert motion(path, 24, 48) == pytest.approx(2 * FPS / 256, rel=0.1)
    assert motion(path, 24, 25) is None


def test_pictures_are_the_same_with_vectors(make_shot: Callable[..., Frame], tmp_path: Path) -> None:
    path = encode(tmp_path / "pan.mp4", make_shot(1, 24, speed=3))
    plain, beside = (list(iter_pictures(path, vectors=vectors)) for vectors in (False, True))
    assert not plain[1].frame.side_data.get("MOTION_VECTORS")
    for one, other in zip(plain, beside, strict=True):
        np.testing.assert_array_equal(one.rgb(), other.rgb())


def test_a_threshold_over_it_decides_again_and_scores_nothing(
    make_shot: Callable[..., Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    encode(videos / "pan.mp4", make_shot(1, 24, height=144, width=256, speed=8))
    encode(videos / "slow.mp4", make_shot(2, 24, height=144, width=256, speed=1))
    encode(videos / "other codec.mkv", make_shot(3, 24, height=144, width=256, speed=1), "libvpx-vp9")

    def run(keep: KeepConfig) -> dict[str, str | None]:
        recipe = DataRecipe(
            sources=(Source(path=str(videos)),), out=tmp_path / "set", split=SplitConfig(min_s=0.5), keep=keep,
            limits=Limits(workers=0),
        )  # fmt: skip
        run_recipe(recipe, ("ingest", "split", "filter"))
        rows = Store(recipe.out).read("clips", ["uri", "drop_reason", "codec_motion"])
        return {Path(row["uri"]).name: row["drop_reason"] for row in rows}

    assert set(run(KeepConfig()).values()) == {None}
    monkeypatch.setattr("kinema.data.split.survey_file", None)
    fast = run(KeepConfig(min_codec_motion=0.2))
    assert str(fast.pop("slow.mp4")).startswith("codec motion 0.04")
    assert set(fast.values()) == {None}, "what has no vectors passes"
    assert str(run(KeepConfig(max_codec_motion=0.2))["pan.mp4"]).endswith("is above 0.2")


def test_clips_scored_before_there_were_vectors_are_scored_again(
    make_shot: Callable[..., Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "pan.mp4", make_shot(1, 24, height=144, width=256, speed=8))
    recipe = DataRecipe(
        sources=(Source(path=str(path)),), out=tmp_path / "set", split=SplitConfig(min_s=0.5), limits=Limits(workers=0)
    )
    stages = ("ingest", "split", "filter")
    with monkeypatch.context() as before:
        before.setattr("kinema.data.filter.VERSION", 4)
        before.setattr(Vectors, "take", lambda self, first, last: None)
        run_recipe(recipe, stages)
        assert Store(recipe.out).read("clips")[0]["codec_motion"] is None
    results = {result.stage: result.done for result in run_recipe(recipe, stages)}
    assert results == {"ingest": 0, "split": 0, "filter": 1}
    clip = Store(recipe.out).read("clips")[0]
    assert clip["codec_motion"] == pytest.approx(8 * FPS / 256, rel=0.05)
    again = survey_again(str(path), [(0, 24)], per_second=4.0, hashed=False)
    assert again[(0, 24)][0]["codec_motion"] == pytest.approx(clip["codec_motion"])
    assert drop_reason({**clip, "hdr": False}, KeepConfig()) is None
