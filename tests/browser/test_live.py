"""The live page: refreshes itself, and never under the hands of who reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dolt_watch.inspection.report.html import render
from dolt_watch.telemetry.health import Server
from tests.browser import made
from tests.browser.conftest import Open


@dataclass
class Served:
    url: str = ""
    beads: int = 40
    away: bool = False

    def page(self) -> tuple[int, str, bytes]:
        if self.away:
            return 503, "text/plain; charset=utf-8", b"the database is away\n"
        return (
            200,
            "text/html; charset=utf-8",
            render("report", made.report(self.beads), refresh=10).encode(),
        )


@pytest.fixture
def served() -> Iterator[Served]:
    made_up = Served()
    server = Server("127.0.0.1", 0, {"/": made_up.page})
    made_up.url = f"http://127.0.0.1:{server.port}/"
    yield made_up
    server.close()


def test_refreshes_and_keeps_focus_words_and_page(opened: Open, served: Served) -> None:
    one = opened(url=served.url, clock=True)
    one.page.locator("#audit .on").click()
    one.page.locator("#queue input").fill("bd-")
    one.page.locator(".track").nth(2).focus()
    one.page.keyboard.press("ArrowLeft")
    bead = one.page.evaluate("document.activeElement.ariaLabel")
    served.beads = 41
    one.page.clock.fast_forward(11_000)
    counted = re.compile(rf"of {len(made.report(41).entries)}\b")
    one.page.locator("#audit [role=status]", has_text=counted).wait_for()
    assert one.page.evaluate("document.activeElement.ariaLabel") == bead
    assert one.page.locator("#queue input").input_value() == "bd-"
    assert one.texts("#audit [role=status]")[0].startswith("26 to 50 of")
    assert one.page.locator(".card").is_visible()
    assert one.number("waiting") == sum(
        bead.phase == "waiting" for bead in made.report(41).now.beads
    )


def test_says_when_it_could_not(opened: Open, served: Served) -> None:
    one = opened(url=served.url, clock=True)
    served.away = True
    one.page.clock.fast_forward(11_000)
    one.page.get_by_text("the database is away").wait_for()
    assert one.texts("#fresh")[0].startswith("Not refreshed since 2026-04-18 22:35:46")
    assert one.page.locator(".lane").count() == 30
    served.away = False
    one.page.clock.fast_forward(11_000)
    one.page.get_by_text("Refreshes itself every 10 s.").wait_for()
    assert all("503" in said for said in one.complaints)  # Chromium's own line on a failed answer
    one.complaints.clear()
