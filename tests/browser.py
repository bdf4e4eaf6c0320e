"""A real browser over the pages of the project: found, started, and asked what axe thinks of them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str | None:
    """Where the browser is: KINEMA_BROWSER, or one that is installed."""
    return os.environ.get("KINEMA_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)


needs_browser = pytest.mark.skipif(
    find_browser() is None, reason="needs a browser: apt-get install chromium, or KINEMA_BROWSER"
)


@contextmanager
def start_browser() -> Iterator[Any]:
    """A browser that plays videos without being asked; needs playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tools:
        started = tools.chromium.launch(
            executable_path=find_browser(), args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        yield started
        started.close()


def serious_faults(page: Any) -> list[tuple[str, str, str]]:
    """What axe calls serious or critical on a page: the rule, the markup, how to mend it. Skips a test without axe."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    return [
        (each["id"], each["nodes"][0]["html"], each["nodes"][0]["failureSummary"])
        for each in axe.run(page).response["violations"]
        if each["impact"] in ("serious", "critical")
    ]
