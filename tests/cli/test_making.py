import io
from pathlib import Path

import pytest
from rich.console import Console

from kinema.cli.making import _bars, _next, one_line
from kinema.spec import VideoSpec


@pytest.mark.parametrize("width", [20, 32, 47, 48, 80])
def test_steps_stay_readable_in_a_narrow_terminal(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    bars = _bars(console)
    bars.add_task("[12/200] denoise", total=30, completed=17)
    with console.capture() as capture:
        console.print(bars.get_renderable())
    (shown,) = capture.get().splitlines()
    assert "17/30" in shown
    assert "-:--" in shown
    assert "denoise" in shown or width < 40


def test_what_would_end_the_line_or_steer_the_terminal_is_written_out() -> None:
    assert one_line("a ball\n\x1b[31mrolls – 球") == "a ball\\n\\x1b[31mrolls – 球"  # noqa: RUF001 - a prompt may


@pytest.mark.parametrize(("seed", "following"), [(3, 4), (2**63 - 1, 0)])
def test_what_to_type_next_is_a_seed_that_there_is(seed: int, following: int) -> None:
    spec = VideoSpec(prompt="a ball", seed=seed)
    line = _next(Path("my ball.mp4"), spec, is_marked=True)
    assert line.startswith(f"next: --seed {following} for another take")
    assert line.endswith("kinema generate --from 'my ball.mp4'")
    assert _next(Path("a.gif"), spec, is_marked=False).endswith("--from a.gif --no-marks")
