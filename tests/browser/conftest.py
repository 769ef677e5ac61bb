"""Fixtures for a real Chromium, offline except for pages that a test serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

LOCAL = ("data:", "blob:")
"""Prefixes of addresses that cause no request."""


@dataclass
class Opened:
    """An open page with its console messages and requests."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Fetched addresses, without the page itself."""

    def number(self, label: str) -> int:
        return int(self.page.locator(f'[data-number="{label}"] b').inner_text().replace(",", ""))

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.page.locator(selector).all_inner_texts()
        return found


Open = Callable[..., Opened]


WAYS = [(390, "light"), (390, "dark"), (1440, "light"), (1440, "dark")]
"""Width and color scheme: phone and desktop, each in light and dark."""


def accessible(one: Opened) -> None:
    """Check that axe-core reports no violation."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(one.page).response["violations"]
    assert [(each["id"], each["impact"], each["nodes"][0]["target"]) for each in found] == []


def fits(one: Opened, width: int, scheme: str) -> None:
    """Check that the page has no horizontal overflow and the right color scheme."""
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    red = one.page.evaluate(
        "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    )
    assert red > 200 if scheme == "light" else red < 50


def blocks_scripts(opened: Open, html: str) -> None:
    """Check that the page's content security policy blocks a script even without escaping."""
    one = opened(html.replace("</main>", "<script>document.title = 'owned'</script></main>"))
    assert one.page.title() != "owned"
    assert any("Content Security Policy" in said for said in one.complaints)
    one.complaints.clear()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Yield a function that opens a page of ``html`` or ``url``.

    With ``clock``, the test controls the page's time. After the test, the fixture checks that no
    page fetched anything or logged a message.
    """
    made: list[tuple[Any, Opened]] = []

    def open_page(
        html: str = "",
        *,
        url: str = "",
        width: int = 1440,
        scheme: str = "light",
        touch: bool = False,
        clock: bool = False,
        zone: str = "Europe/Berlin",
    ) -> Opened:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            offline=not url,
            has_touch=touch,
            timezone_id=zone,
        )
        context.set_default_timeout(10_000)
        one = Opened(context.new_page())
        made.append((context, one))
        one.page.on("console", lambda said: one.complaints.append(f"{said.type}: {said.text}"))
        one.page.on("pageerror", lambda error: one.complaints.append(str(error)))
        if not url:
            file = tmp_path / "report.html"
            file.write_text(html, encoding="utf-8")
            url = file.as_uri()
        one.page.on("request", lambda sent: one.asked.append(sent.url) if sent.url != url else None)
        if clock:
            one.page.clock.install()
        one.page.goto(url)
        return one

    yield open_page
    for context, one in made:
        context.close()
        assert one.complaints == []
        assert [address for address in one.asked if not address.startswith(LOCAL)] == []
