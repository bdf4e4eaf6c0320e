from collections.abc import Callable
from pathlib import Path

import av

from kinema.data.cut import Cutter
from kinema.data.transcode import Span
from kinema.media import Frame


def test_a_transcode_has_the_same_bytes_each_time(make_shot: Callable[..., Frame], tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=10, options={"x264-params": "keyint=20:min-keyint=20:scenecut=0"})
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuv420p"
        for picture in make_shot(1, 120, height=36, width=64)[:30]:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode(None))
    found = set()
    for _ in range(25):  # with x264's own choice of routines, one of four came out by chance
        with Cutter(path, tmp_path) as cutter:
            (_, target, method) = next(cutter.cut([Span(3, 17, 0.3, 1.7)]))
        assert method == "transcoded"
        found.add(target.read_bytes())
    assert len(found) == 1
