import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kinema.data.frames import iter_pictures
from kinema.data.shots import ShotFinder, Transition
from kinema.data.split import SplitConfig, split_file, survey_again
from kinema.data.survey import Samples, ShotPlanner, Times
from kinema.media import Frame, write_video


def runs(planner: ShotPlanner, frames: Frame, fps: float, key_every: int | None = None) -> list[tuple[int, int]]:
    times, found = Times(), []
    for index, frame in enumerate(frames):
        times.add(index / fps, is_key=key_every is not None and index % key_every == 0)
        found += planner.add(frame, times)
    times.close(fps)
    return [*found, *planner.finish(times)]


def test_transitions_named_on_the_way_are_those_named_at_the_end(make_shot: Callable[..., Frame]) -> None:
    shots = [make_shot(seed, 60 + 40 * seed, height=36, width=64) for seed in (1, 2, 3, 4)]
    film = np.concatenate(shots)
    late, soon = ShotFinder(), ShotFinder()
    named: list[Transition] = []
    for frame in film:
        late.add(frame)
        soon.add(frame)
        named += soon.settled()
    assert named, "the first cut is far enough back to be certain before the end"
    assert named + soon.finish() == late.finish() == [Transition("cut", k, k) for k in (100, 240, 420)]


def test_a_long_shot_loses_parts_on_the_way_and_ends_in_equal_ones() -> None:
    plain = np.zeros((130, 8, 8, 3), np.uint8)
    assert runs(ShotPlanner(None, 2.0), plain, 10) == [
        (0, 20), (20, 40), (40, 60), (60, 80), (80, 100), (100, 115), (115, 130)
    ]  # fmt: skip
    assert runs(ShotPlanner(None, 7.0), plain, 10) == [(0, 65), (65, 130)]


def test_a_long_shot_is_cut_at_key_frames_where_they_are_near_enough() -> None:
    plain = np.zeros((130, 8, 8, 3), np.uint8)
    edges = [0, 17, 34, 51, 68, 85, 102, 119, 130]
    assert runs(ShotPlanner(None, 2.0), plain, 10, key_every=17) == list(itertools.pairwise(edges))
    edges[-2] = 116  # 119 would leave 1.1 s
    assert runs(ShotPlanner(None, 2.0, 1.2), plain, 10, key_every=17) == list(itertools.pairwise(edges))
    edges = [0, 20, 40, 60, 80, 98, 114, 130]  # one key frame, in the middle
    assert runs(ShotPlanner(None, 2.0), plain, 10, key_every=98) == list(itertools.pairwise(edges))


def test_every_clip_has_the_pictures_shown_at_each_quarter_second() -> None:
    samples = Samples(4.0, 99)
    times = [0.0, 0.1, 0.2, 0.3, 0.9, 1.0, 1.3]
    for index, time_s in enumerate(times):
        samples.add(index, time_s, np.full((1, 1, 3), index, np.uint8))
    samples.close(1.5)
    assert samples.take(0, 4)[1] == [0.0, 0.2, 0.3]
    assert samples.take(4, 7)[1] == [1.0]


def test_what_is_forgotten_changes_no_answer_about_the_rest() -> None:
    times, whole, samples = Times(), Times(), Samples(4.0, 99)
    for index in range(5000):
        for each in (times, whole):
            each.add(7 + index / 10)
        samples.add(index, 7 + index / 10, np.zeros((1, 1, 3), np.uint8))
        times.forget(index - 10)
    times.close(10)
    assert (len(times), times.origin_s, times[4999], times[5000]) == (5000, 7, whole[4999], pytest.approx(507))
    assert times.nearest(505.12, 4990, 5000) == whole.nearest(505.12, 4990, 5000) == 4981 + 9
    samples.forget(4990)
    assert samples.take(0, 5000)[1] == [506.0, 506.2, 506.5, 506.7]


def test_scores_do_not_depend_on_whether_a_clip_is_looked_at_alone(
    make_shot: Callable[..., Frame], tmp_path: Path
) -> None:
    path = tmp_path / "film.mp4"
    write_video(path, np.concatenate([make_shot(1, 40), make_shot(2, 30), make_shot(3, 50)]), 12)
    clips = list(split_file(str(path), "hash", SplitConfig(max_s=3.0), tmp_path / "work"))
    spans = [(clip.row["first_frame"], clip.row["first_frame"] + clip.row["num_frames"]) for clip in clips]
    assert spans == [(0, 20), (20, 40), (40, 70), (70, 95), (95, 120)]
    again = survey_again(str(path), spans[1::2], per_second=4.0, hashed=True)
    assert list(again) == spans[1::2]
    for (scored, hashed), clip in zip(again.values(), clips[1::2], strict=True):
        assert scored == clip.scores
        np.testing.assert_equal(hashed, clip.hashes)
    assert len(again) == 2


@pytest.mark.parametrize("key_every", [10, 16, 250])
def test_clips_cut_at_key_frames_are_copies_and_others_hold_the_same_pictures(
    make_shot: Callable[..., Frame], tmp_path: Path, key_every: int
) -> None:
    import av

    path = tmp_path / "film.mp4"
    film = make_shot(1, 40)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=10, options={"g": str(key_every), "sc_threshold": "0", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 128, 72, "yuv420p"
        for picture in film:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode(None))
    clips = list(split_file(str(path), "hash", SplitConfig(max_s=2.5, detector="none"), tmp_path / "work"))
    edges = [0, 16 if key_every == 16 else 20, 40]
    assert [clip.row["cut"] for clip in clips] == ["copied" if key_every < 250 else "transcoded"] * 2
    whole = [picture.rgb() for picture in iter_pictures(path)]
    for clip, (first, last) in zip(clips, itertools.pairwise(edges), strict=True):
        assert clip.path is not None
        there = [picture.rgb() for picture in iter_pictures(clip.path)]
        assert (clip.row["first_frame"], len(there)) == (first, last - first)
        apart = np.abs(np.stack(there).astype(int) - np.stack(whole[first:last])).mean()
        assert apart == 0 if key_every < 250 else apart < 3
