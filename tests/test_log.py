import logging
from collections.abc import Iterator

import pytest

from kinema.log import configure


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    logger = logging.getLogger("kinema")
    before = (logger.level, list(logger.handlers), logger.propagate)
    yield
    logger.setLevel(before[0])
    logger.handlers[:] = before[1]
    logger.propagate = before[2]


def test_warnings_go_to_standard_error_in_plain_words(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    logging.getLogger("kinema.model").warning("%s is slow", "this")
    logging.getLogger("kinema.model").info("not shown")
    assert capsys.readouterr() == ("", "kinema: warning: this is slow\n")


def test_configuring_again_does_not_repeat_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    configure(1)
    logging.getLogger("kinema.model").info("loaded")
    assert capsys.readouterr().err == "kinema.model: info: loaded\n"


def test_quiet_leaves_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    configure(-1)
    logging.getLogger("kinema").warning("hidden")
    logging.getLogger("kinema").error("shown")
    assert capsys.readouterr().err == "kinema: error: shown\n"


def test_an_exception_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure(9)
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("kinema.x").exception("outside")
    text = capsys.readouterr().err
    assert text.startswith("kinema.x: error: outside\nTraceback")
    assert text.endswith("ValueError: inside\n")
