"""The live page: it requests only changes, and keeps focus, input and scroll position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from dolt_watch.inspection.report.html import render
from dolt_watch.inspection.report.live_page import Versions
from dolt_watch.inspection.report.payload import payload
from dolt_watch.inspection.report.web import Request, Response, plain
from dolt_watch.telemetry.health import Server
from tests.browser import made
from tests.browser.conftest import Open, Opened

EXPECTED = ("data.json", "why.json")


@dataclass
class Served:
    """A tracker with data that a test changes."""

    url: str = ""
    data: dict[str, Any] = field(default_factory=lambda: payload(made.report(40)))
    versions: Versions = field(default_factory=Versions)
    away: bool = False
    asked: list[Request] = field(default_factory=list)
    view: dict[str, Any] = field(default_factory=lambda: {"rules": [], "notes": [], "life": []})

    def page(self, request: Request) -> Response:
        self.versions.update(self.data)
        text = render("report", made.report(40), refresh=10, data=self.versions.after(""))
        return Response(200, "text/html; charset=utf-8", text.encode(), self.versions.tag)

    def changes(self, request: Request) -> Response:
        self.asked.append(request)
        if self.away:
            return plain(503, "the database is away")
        self.versions.update(self.data)
        return Response(200, "application/json", self.versions.after(request.query["after"]))

    def why(self, request: Request) -> Response:
        import orjson

        self.asked.append(request)
        return Response(200, "application/json", orjson.dumps(self.view))

    def row(self, group: str) -> list[Any]:
        found: list[Any] = next(row for row in self.data["rows"] if row[5] == group)
        return found


@pytest.fixture
def served() -> Iterator[Served]:
    made_up = Served()
    routes = {
        "/": made_up.page,
        "/bead/": made_up.page,
        "/data.json": made_up.changes,
        "/why.json": made_up.why,
    }
    server = Server("127.0.0.1", 0, routes)
    made_up.url = f"http://127.0.0.1:{server.port}/"
    yield made_up
    server.close()


def settle(one: Opened, served: Served) -> None:
    """Check that the page sent only expected requests to its own server, and clear them."""
    assert all(address.startswith(served.url) for address in one.asked)
    assert all(any(name in address for name in EXPECTED) for address in one.asked)
    one.asked.clear()


def later(one: Opened, served: Served) -> None:
    """Advance the page's time until the page sends its next request."""
    before = len(served.asked)
    one.page.clock.fast_forward(11_000)
    for _ in range(400):
        if len(served.asked) > before or served.away:
            break
        one.page.wait_for_timeout(25)
    one.page.wait_for_timeout(100)


def test_a_refresh_keeps_focus_words_and_scroll(opened: Open, served: Served) -> None:
    one = opened(url=served.url, clock=True)
    bead = served.row("queue")[0]
    one.page.locator("#q").fill("shop-")
    one.page.locator(f'#table [data-bead="{bead}"]').focus()
    one.page.evaluate(
        f"""() => {{
          scrollTo(0, 700);
          window.kept = document.querySelector('#table [data-row="{bead}"]');
          window.changes = [];
          new MutationObserver((found) => window.changes.push(...found.map((one) => one.target)))
            .observe(document.querySelector('#g-attention'), {{ childList: true, subtree: true }});
        }}"""
    )
    scrolled = one.page.evaluate("scrollY")
    other = served.row("queue")
    other[1] = "A new title"
    later(one, served)
    one.page.get_by_text("A new title").first.wait_for()
    assert one.page.evaluate("document.activeElement.dataset.bead") == bead
    assert one.page.evaluate("window.kept.isConnected"), "the row was not replaced"
    assert one.page.evaluate("scrollY") == scrolled
    assert one.page.locator("#q").input_value() == "shop-"
    rows = one.page.evaluate("window.changes.filter((one) => one.localName === 'tbody').length")
    assert rows == 0, "rows that did not change stay where they are"
    settle(one, served)


def test_only_changes_are_asked_for(opened: Open, served: Served) -> None:
    one = opened(url=served.url, clock=True)
    tag = served.versions.tag
    gone = served.row("finished")[0]
    later(one, served)
    assert served.asked[-1].query == {"after": tag}
    assert one.page.locator(f'[data-row="{gone}"]').count() == 1
    served.data["rows"] = [row for row in served.data["rows"] if row[0] != gone]
    later(one, served)
    one.page.locator(f'[data-row="{gone}"]').wait_for(state="detached")
    later(one, served)
    assert served.asked[-1].query == {"after": served.versions.tag} != {"after": tag}
    assert one.texts("#fresh")[0].startswith("Updated ")
    settle(one, served)


def test_a_server_that_started_again_is_asked_for_everything(opened: Open, served: Served) -> None:
    one = opened(url=served.url, clock=True)
    served.versions = Versions()
    served.data = payload(made.report(20))
    later(one, served)
    beads = {row[0] for row in served.data["rows"]}
    one.page.wait_for_function(f"store.beads.size === {len(beads)}")
    assert set(one.page.evaluate("[...store.beads.keys()]")) == beads
    settle(one, served)


def test_says_since_when_it_is_not_updated(opened: Open, served: Served) -> None:
    one = opened(url=served.url, clock=True, zone="UTC")
    beads = one.page.locator("#table tr.bead").count()
    served.away = True
    later(one, served)
    one.page.get_by_text("the database is away").wait_for()
    assert one.texts("#fresh")[0].startswith("Not updated since 2026-04-18 22:35:46")
    assert one.texts("#condition") == ["Not updated"]
    assert one.page.locator("#table tr.bead").count() == beads > 0
    served.away = False
    later(one, served)
    one.page.wait_for_function("document.querySelector('#fresh').textContent.startsWith('Updated')")
    assert all("503" in said for said in one.complaints)  # Chromium logs failed requests
    one.complaints.clear()
    settle(one, served)


def test_a_bead_has_an_address(opened: Open, served: Served) -> None:
    bead = served.row("queue")[0]
    condition = ["status = 'open'", True, "status is 'open'"]
    rule = {"rule": "agent", "matches": True, "held": "", "to_go": [], "conditions": [condition]}
    life = [[1776540000, "c" * 32, "ann", "created: title Retry"]]
    served.view = {"rules": [rule], "notes": ["one note"], "life": life}
    one = opened(url=f"{served.url}bead/{bead}")
    assert one.texts("#bead .which") == [bead]
    one.page.locator("#bead .conditions li").wait_for()
    text = one.page.locator("#bead").inner_text()
    assert "status is 'open'" in text and "one note" in text and "created: title Retry" in text
    assert Request("/why.json", {"bead": bead}) in served.asked
    one.page.locator("#bead .close").click()
    assert one.page.url == served.url
    settle(one, served)


def test_a_reload_is_not_sent_again(opened: Open, served: Served) -> None:
    one = opened(url=served.url)
    tag = f'"{served.versions.tag}"'
    code = one.page.evaluate(
        """async (tag) => {
          const headers = { 'If-None-Match': tag };
          return (await fetch('/', { cache: 'no-store', headers })).status;
        }""",
        tag,
    )
    assert code == 304
    settle(one, served)
