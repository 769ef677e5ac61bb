"""One Chromium for each test process. Playwright allows only one at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.servers import without

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Yield a browser. Without one, the test is skipped with the reason. With CI=true it fails."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        without(f"no browser on PATH: {', '.join(PROGRAMS)}")
    with playwright.sync_playwright() as started:
        yield (launched := started.chromium.launch(executable_path=program, args=["--no-sandbox"]))
        launched.close()
