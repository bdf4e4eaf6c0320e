import io

import pytest
from rich.console import Console

from kinema.cli.making import _bars, one_line


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
