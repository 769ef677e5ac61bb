"""The page of a what-if in a browser.

The page keeps the promises of the report's page, and shows the figures of ``replay``.
"""

from __future__ import annotations

import time

import pytest

from dolt_watch.inspection.report import html as pages
from dolt_watch.replay.simulation import formatter
from tests.browser import made, made_whatif
from tests.browser.conftest import WAYS, Open, Opened, accessible, blocks_scripts, fits


def html(beads: int = 40, title: str = "", bead: str = "bd-{}") -> str:
    return pages.render("whatif", made_whatif.whatif(beads, title, bead))


def figures(one: Opened) -> list[tuple[str, ...]]:
    rows = one.page.locator("[data-figure]").all()
    return [
        (row.locator("th").inner_text(), *row.locator("td b").all_inner_texts()) for row in rows
    ]


@pytest.mark.covering
@pytest.mark.parametrize(
    ("beads", "width", "scheme"), [*((40, *way) for way in WAYS), (0, *WAYS[-1])]
)
def test_axe_finds_nothing_and_it_fits(opened: Open, beads: int, width: int, scheme: str) -> None:
    one = opened(html(beads), width=width, scheme=scheme)
    accessible(one)
    fits(one, width, scheme)


def test_a_long_word_does_not_push_the_page_wider(opened: Open) -> None:
    one = opened(html(title="w" * 120, bead="b" * 200 + "{}"), width=390)
    assert one.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_figures_are_those_that_replay_prints(opened: Open) -> None:
    study = made_whatif.whatif().study
    lines = list(formatter.figure_lines(study))
    one = opened(html())
    assert figures(one) == [
        (line.name, line.recorded, line.unchanged, line.what_if) for line in lines
    ]
    changes = [line.change for line in lines]
    assert one.texts("#h-figures ~ table .change") == [change or "–" for change in changes]
    assert any(changes)
    assert one.texts("[data-summary]") == [f"Difference: {formatter.summary(study)}."]


def test_what_differs_and_only_that(opened: Open) -> None:
    one = opened(html())
    study = made_whatif.whatif().study
    differs = [pair for pair in study.pairs if pair.difference is not None]
    assert one.texts("#differs tbody .id") == [pair.bead for pair in differs][:25]
    first = one.page.locator("#differs tbody tr").first.inner_text()
    assert formatter.describe(differs[0]) in first
    one.page.locator("#differs .difference select").select_option("never dispatched")
    never = [pair.bead for pair in differs if pair.difference == "never-dispatched"]
    assert one.texts("#differs tbody .id") == never != []
    assert "never: it does not match" in one.page.locator("#differs tbody").inner_text()
    assert one.texts("#waits tbody .id") == sorted(study.waiting)


def test_settings_that_are_asked_about(opened: Open) -> None:
    one = opened(html())
    assert one.texts(".asked code") == [
        "rules.agent.max_in_flight",
        "rules.agent.stale_after",
        "rules.agent.when",
    ]
    assert one.page.locator(".asked tbody tr").nth(1).inner_text().split() == [
        "rules.agent.stale_after",
        "30m",
        "15m",
    ]


def test_a_title_and_a_bead_that_are_a_script(opened: Open) -> None:
    one = opened(html(9, made.EVIL, f"{made.EVIL}{{}}"))
    assert "owned" not in one.page.title()
    assert made.EVIL in one.texts("#differs td.wide b")
    assert one.page.locator("main script, main img").count() == 0


def test_no_script_runs_but_ours(opened: Open) -> None:
    blocks_scripts(opened, html(3))


def test_by_keyboard_alone(opened: Open) -> None:
    one = opened(html())
    keys = one.page.keyboard
    keys.press("Tab")
    keys.press("Enter")
    assert one.page.evaluate("location.hash") == "#main"
    seen = []
    for _ in range(20):
        keys.press("Tab")
        seen.append(
            one.page.evaluate(
                "document.activeElement.ariaLabel || document.activeElement.innerText"
            )
        )
        if seen[-1] == "Next":
            break
    assert "Settings, table" in seen and "Differences by bead, table" in seen
    keys.press("Enter")
    assert one.texts("#differs [role=status]")[0].startswith("26 to ")


def test_labels_stand_in_for_heads_on_a_phone(opened: Open) -> None:
    phone, wide = opened(html(), width=390), opened(html())
    rows = [one.page.locator("#differs tbody tr").first.inner_text() for one in (phone, wide)]
    assert "what if" in rows[0] and "what if" not in rows[1]


def test_empty(opened: Open) -> None:
    one = opened(html(0))
    assert one.page.get_by_text("Neither contains a dispatch or a reap.").is_visible()
    assert ("dispatched", "0", "0", "0") in figures(one)
    assert one.texts("[data-summary]") == ["Difference: none."]


def test_five_thousand_beads_stay_quick(opened: Open) -> None:
    text = html(5000)
    began = time.monotonic()
    one = opened(text)
    one.page.locator("#differs tbody tr").first.wait_for()
    # The bound only detects growth with the number of beads. The measured time is about 0.5 s.
    assert time.monotonic() - began < 8
    assert one.page.evaluate("document.querySelectorAll('*').length") < 3000
    assert len(text) < 2_000_000
