"""The report in a browser, with a mouse, a touch screen and a keyboard."""

from __future__ import annotations

import csv
import json
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.inspection.report import html as pages
from tests.browser import made
from tests.browser.conftest import WAYS, Open, Opened, accessible, blocks_scripts, fits

HOURS = timedelta(hours=6)
TITLES = "#table .title"


def html(beads: int = 40, title: str = "", **how: Any) -> str:
    return pages.render("report", made.report(beads, title, **how))


def short(beads: int = 30, **how: Any) -> str:
    """Return a page of a tracker in its first six hours."""
    return html(beads, span=HOURS, **how)


def shown(one: Opened) -> list[str]:
    """Return the beads in the table."""
    beads: list[str] = one.page.eval_on_selector_all(
        "#table tr.bead", "rows => rows.map((row) => row.dataset.row)"
    )
    return beads


def address(one: Opened) -> str:
    return str(one.page.evaluate("location.hash"))


def press(one: Opened, group: str, text: str) -> None:
    one.page.locator(f"#{group} button", has_text=text).click()


@pytest.mark.covering
@pytest.mark.parametrize(
    ("beads", "width", "scheme"), [*((40, *way) for way in WAYS), (0, *WAYS[-1])]
)
def test_axe_finds_nothing_and_it_fits(opened: Open, beads: int, width: int, scheme: str) -> None:
    one = opened(short(beads), width=width, scheme=scheme)
    accessible(one)
    fits(one, width, scheme)
    if beads:
        one.page.locator(TITLES).first.click()
        accessible(one)
        assert one.page.evaluate("document.querySelector('#bead').scrollWidth") <= width


def test_a_long_word_does_not_push_the_page_wider(opened: Open) -> None:
    one = opened(html(9, "w" * 119), width=390)
    assert one.page.evaluate("document.documentElement.scrollWidth") <= 390


# -- content --------------------


def test_problems_come_first_with_reason_and_command(opened: Open) -> None:
    report = made.report(30, span=HOURS)
    one = opened(short())
    first = one.page.locator("main section:visible").first
    assert first.get_attribute("id") == "problems"
    items = one.page.locator("#problems li")
    needs = report.now.needs
    assert items.count() == len(needs) > 2
    for need, text in zip(needs, items.all_inner_texts(), strict=True):
        assert need.kind in text and need.fix.partition("   (")[0] in text
        assert worded(need.why).lower() in text.lower()
    needed = sum(max(1, len(need.beads)) for need in needs)
    assert one.texts("#condition") == [f"{needed} need you"]
    assert one.page.title() == f"({needed}) storefront: {needed} need you"
    icon = "document.querySelector('link[rel=icon]').href"
    assert "c5362b" in one.page.evaluate(icon)


def test_no_worker_is_the_first_problem(opened: Open) -> None:
    one = opened(short(worker=False))
    first = one.page.locator("#problems li").first.inner_text()
    assert "no worker" in first and "dolt_watch run" in first and "11m" in first
    assert one.texts("#condition")[0].startswith("No worker, ")


def test_all_well(opened: Open) -> None:
    one = opened(short(well=True))
    assert one.page.locator("#problems").is_hidden()
    assert one.texts("#condition") == ["All well"]
    assert one.page.title() == "storefront: all well"
    assert "1f7a45" in one.page.evaluate("document.querySelector('link[rel=icon]').href")


def test_the_header_names_the_tracker(opened: Open) -> None:
    one = opened(short())
    assert one.texts("#tracker") == ["storefront"]
    assert one.texts("#database") == ["dolt.internal:3306/storefront"]
    assert one.texts("#fresh")[0].startswith("Written at ")


def test_rows_are_the_beads_in_groups(opened: Open) -> None:
    report = made.report(30, span=HOURS)
    one = opened(short())
    assert set(shown(one)) == {row.bead for row in report.rows}
    for group in ("attention", "running", "queue", "finished"):
        beads = {row.bead for row in report.rows if row.group == group}
        nodes = one.page.locator(f"#g-{group} tr.bead")
        assert {node.get_attribute("data-row") for node in nodes.all()} == beads != set()
    queue = one.page.locator("#g-queue tr.bead").all_inner_texts()
    turns = [row for row in report.rows if row.place]
    for row in turns:
        (text,) = (text for text in queue if row.bead in text)
        assert worded(row.why) in text and row.facts.title in text
    row = one.page.locator("#table tr.bead").first
    title, id_ = row.locator(".title").bounding_box(), row.locator(".id").bounding_box()
    assert title["y"] < id_["y"] and title["height"] > id_["height"]


def test_figures_are_those_of_the_data(opened: Open) -> None:
    report = made.report()
    one = opened(html())
    press(one, "ranges", "All")
    figures = report.ranges[-1]
    assert one.number("done") == figures.done > 0
    assert one.number("waiting") == sum(row.group == "queue" for row in report.rows)
    assert one.number("running") == sum(row.group == "running" for row in report.rows)
    assert figures.success is not None
    assert one.texts('[data-number="success"] b') == [f"{figures.success * 100:.1f} %"]
    notes = one.texts('[data-number="wait"] small')[0]
    assert notes.startswith("p95 ")
    assert one.texts("#causes li > .line b") == [str(one.number) for one in report.causes[-1]]


def test_a_title_that_is_a_script(opened: Open) -> None:
    one = opened(html(3, made.EVIL))
    one.page.locator(TITLES).first.click()
    assert "owned" not in one.page.title()
    assert made.EVIL in one.texts(TITLES)
    assert one.texts("#bead h2") == [made.EVIL]
    assert one.page.locator("main script, main img, dialog img").count() == 0


def test_no_script_runs_but_ours(opened: Open) -> None:
    blocks_scripts(opened, html(3))


def test_empty(opened: Open) -> None:
    one = opened(html(0))
    for text in ("No bead has matched a rule", "No failure in this range", "No decision in this"):
        assert one.page.get_by_text(text).is_visible()
    assert one.page.locator("#table").is_hidden()


def test_links_go_where_the_settings_say(opened: Open) -> None:
    one = opened(short())
    one.page.locator("#g-running .title").first.click()
    (bead,) = one.texts("#bead .which")
    found = one.page.locator("#bead .links a").all()
    links = {link.inner_text(): link.get_attribute("href") for link in found}
    assert links["Open the bead"] == f"https://tracker.example/b/{bead}"
    assert links["Open the job"].startswith("https://jobs.example/")
    assert "Open the last commit" not in links  # the settings have no template for commits


def test_without_scripts_problems_and_open_beads_can_be_read(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(short(), encoding="utf-8")
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(file.as_uri())
    text = page.locator("main").inner_text()
    context.close()
    report = made.report(30, span=HOURS)
    assert all(need.fix.partition("   (")[0] in text for need in report.now.needs)
    assert all(bead.bead in text for bead in report.now.beads)


# -- range, search, filters, address --------------------


def test_a_tracker_in_its_first_hours_fills_the_width(opened: Open) -> None:
    one = opened(short())
    assert one.texts("#ranges [aria-pressed=true]") == ["6 h"]
    lane = one.page.locator("#table svg.lane").first.bounding_box()
    places = [shape.bounding_box()["x"] for shape in one.page.locator("#table .lane .thin").all()]
    assert min(places) < lane["x"] + lane["width"] * 0.1


def test_ranges_work_offline_and_are_kept_in_the_address(opened: Open) -> None:
    report = made.report()
    one = opened(html())
    counted = {}
    for text, name in (("1 h", "1h"), ("7 d", "7d"), ("All", "all")):
        press(one, "ranges", text)
        assert f"range={name}" in address(one)
        counted[name] = one.number("done")
    assert counted == {
        figures.name: figures.done for figures in report.ranges if figures.name in counted
    }
    assert counted["1h"] < counted["7d"]
    finished = one.page.locator("#g-finished tr.bead").count()
    press(one, "ranges", "1 h")
    assert one.page.locator("#g-finished tr.bead").count() < finished
    one.page.go_back()
    assert one.texts("#ranges [aria-pressed=true]") == ["All"]


def test_search_and_filters_are_kept_in_the_address(opened: Open) -> None:
    one = opened(short())
    report = made.report(30, span=HOURS)
    row = next(row for row in report.rows if row.group == "queue" and row.place)
    one.page.locator("#q").fill(row.bead)
    assert shown(one) == [row.bead]
    assert f"q={row.bead}" in address(one)
    one.page.locator("#q").fill("no such words")
    assert one.page.get_by_text("No bead fits this search.").is_visible()
    one.page.get_by_role("button", name="Clear filters").click()
    assert len(shown(one)) == 30
    one.page.locator("#states").select_option("quarantined")
    beads = {row.bead for row in report.rows if row.state == "quarantined"}
    assert set(shown(one)) == beads and "state=quarantined" in address(one)
    press(one, "groups", "Queue")
    assert set(shown(one)) == {row.bead for row in report.rows if row.group == "queue"}
    one.page.locator("#rules").select_option("docs")
    kept = {row.bead for row in report.rows if row.group == "queue" and row.rule == "docs"}
    assert set(shown(one)) == kept != set()
    link = one.page.url
    one.page.reload()
    assert one.page.url == link and set(shown(one)) == kept


def test_a_search_finds_jobs_commits_and_reasons(opened: Open) -> None:
    one = opened(short())
    row = next(row for row in made.report(30, span=HOURS).rows if row.job and row.lane)
    for word in (row.job, row.lane[-1].commit, f"{row.bead.upper()} {row.rule}"):
        one.page.locator("#q").fill(word)
        assert row.bead in shown(one), word


def test_a_cause_shows_its_beads(opened: Open) -> None:
    one = opened(short())
    one.page.locator("#causes button", has_text="spawn ENOMEM").click()
    assert "q=HTTP+500" in address(one)
    assert 0 < len(shown(one)) < 30


def test_local_time_and_utc(opened: Open) -> None:
    one = opened(short(), zone="Asia/Tokyo")
    assert one.texts("#fresh") == ["Written at 2026-04-19 07:35:46"]
    press(one, "zones", "UTC")
    assert one.texts("#fresh") == ["Written at 2026-04-18 22:35:46"]
    assert "tz=utc" in address(one)
    assert one.page.get_by_text("Times are UTC.").is_visible()


# -- one bead --------------------


def test_the_view_of_a_bead_by_click_by_link_and_back(opened: Open) -> None:
    one = opened(short())
    report = made.report(30, span=HOURS)
    row = next(row for row in report.rows if row.state == "quarantined")
    one.page.locator(f'#table [data-row="{row.bead}"] .c-why').click()
    assert address(one) == f"#bead={row.bead}"
    text = one.page.locator("#bead").inner_text()
    assert row.facts.title in text and worded(row.why) in text
    assert f"dolt_watch retry {row.bead}" in text
    assert one.page.locator("#bead table tbody tr").count() == len(row.attempts)
    assert one.page.locator("#bead .history li").count() >= len(row.lane)
    link = one.page.url
    one.page.go_back()
    one.page.locator("#bead").wait_for(state="hidden")
    assert address(one) == ""
    one.page.goto(link)
    assert one.texts("#bead .which") == [row.bead]


def worded(why: str) -> str:
    """Return a reason as the page shows it. Of a JSON answer, the page shows only the message."""
    return re.sub(r'(HTTP \d{3}): \{"error": "([^"]*)"\}', r"\1: \2", why)


def test_reasons_have_the_time_of_the_reader_and_the_message_of_a_service(opened: Open) -> None:
    one = opened(pages.render("report", made.report(3, span=HOURS)), zone="Asia/Tokyo")
    stamp, body = "2026-04-18T12:00:00Z", '{"error": "no \\"room\\""}'
    why = f"HTTP 500: {body} at {stamp}; x2026-04-18T12:00:00Z"
    ask = "why => readable(why, Date.parse('2026-04-18T13:00:00Z') / 1000)"
    assert one.page.evaluate(ask, why) == 'HTTP 500: no "room" at 21:00:00; x2026-04-18T12:00:00Z'
    one.page.evaluate("times.zone = 'UTC'")
    assert one.page.evaluate(ask, f"until {stamp}") == "until 12:00:00"
    assert one.page.evaluate(ask, 'HTTP 500: {"error": "x", "code": 7}').endswith('"code": 7}')


def test_the_view_of_a_bead_has_its_conditions(opened: Open) -> None:
    report = made.report(30, span=HOURS)
    row = next(row for row in report.rows if row.place)
    rule = {
        "rule": "agent",
        "matches": True,
        "held": "4 of 4 in flight",
        "to_go": ["one of those in flight must end"],
        "conditions": [["status = 'open'", True, "status is 'open'"], ["place", False, "place 2"]],
    }
    one = opened(
        pages.render("report", report, views={row.bead: {"rules": [rule], "verdict": "not yet"}})
    )
    one.page.evaluate(f"location.hash = 'bead={row.bead}'")
    conditions = one.texts("#bead .conditions li")
    assert len(conditions) == 2
    assert one.texts("#bead .verdict") == ["not yet"]
    assert one.texts("#bead .changes li") == ["one of those in flight must end"]
    assert one.page.get_by_text("Rule agent is held: 4 of 4 in flight.").is_visible()
    assert "status is 'open'" in conditions[0] and "does not hold" in conditions[1]
    one.page.locator("#bead .close").click()
    other = next(row for row in report.rows if row.group == "running")
    one.page.evaluate(f"location.hash = 'bead={other.bead}'")
    assert f"dolt_watch why {other.bead}" in one.page.locator("#bead").inner_text()


def test_a_link_to_a_bead_that_is_not_in_the_report(opened: Open) -> None:
    one = opened(short())
    one.page.evaluate("location.hash = 'bead=nope'")
    assert "dolt_watch why nope" in one.page.locator("#bead").inner_text()


# -- keyboard, pointer --------------------


def test_by_keyboard_alone(opened: Open) -> None:
    one = opened(short())
    keys = one.page.keyboard
    focused = "document.activeElement.dataset.bead"
    keys.press("Tab")
    keys.press("Enter")
    assert one.page.evaluate("document.activeElement.id") == "main"
    keys.press("Control+k")
    assert one.page.evaluate("document.activeElement.id") == "q"
    keys.type("agent")
    keys.press("Escape")
    assert one.page.locator("#q").input_value() == ""
    one.page.locator("#save-json").focus()
    keys.press("Tab")
    order = shown(one)
    assert one.page.evaluate(focused) == order[0]
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    keys.press("ArrowUp")
    assert one.page.evaluate(focused) == order[1]
    keys.press("End")
    assert one.page.evaluate(focused) == order[-1]
    keys.press("Home")
    keys.press("Enter")
    assert one.page.locator("#bead").is_visible()
    assert one.texts("#bead .which") == [order[0]]
    one.page.locator("#bead .later").focus()
    keys.press("Enter")
    assert one.texts("#bead .which") == [order[1]]
    keys.press("Escape")
    one.page.locator("#bead").wait_for(state="hidden")
    assert one.page.evaluate(focused) == order[1], "focus returns to the bead"
    keys.press("Tab")
    assert one.page.evaluate(focused) is None, "the table is one stop of the Tab key"


def test_hover_tells_the_phase(opened: Open) -> None:
    one = opened(short())
    bar = one.page.locator("#g-running .bar.running").first
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    one.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 4)
    assert one.texts("#tip")[0].startswith("running for ")
    one.page.mouse.move(5, 5)
    assert one.page.locator("#tip").is_hidden()


def test_a_tap_opens_a_bead(opened: Open) -> None:
    one = opened(short(), width=390, touch=True)
    one.page.locator("#g-running .c-why").first.tap()
    assert one.page.locator("#bead").is_visible()


def test_charts_have_axes_hover_and_zoom(opened: Open) -> None:
    one = opened(short())
    chart = one.page.locator("#chart-waiting")
    assert "now " in (chart.get_attribute("aria-label") or "")
    legend = one.page.locator("#chart-waiting .u-value").first
    over = one.page.locator("#chart-waiting .u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    middle = box["y"] + box["height"] / 2
    one.page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    before = legend.inner_text()
    assert before.startswith(("2026-04-18 ", "2026-04-19 "))
    one.page.mouse.move(box["x"] + box["width"] * 0.8, middle)
    one.page.mouse.down()
    one.page.mouse.move(box["x"] + box["width"] * 0.9, middle)
    one.page.mouse.up()
    one.page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    assert legend.inner_text() != before
    one.page.mouse.dblclick(box["x"] + box["width"] * 0.5, middle)
    one.page.mouse.move(box["x"] + box["width"] * 0.5 + 1, middle)
    one.page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    assert legend.inner_text() == before


# -- downloads --------------------


def test_downloads_hold_what_is_shown(opened: Open, tmp_path: Path) -> None:
    one = opened(short())
    press(one, "groups", "Queue")
    beads = shown(one)
    with one.page.expect_download() as started:
        one.page.locator("#save-json").click()
    told = json.loads(Path(started.value.path()).read_text("utf-8"))
    assert [each["id"] for each in told] == beads
    assert started.value.suggested_filename.startswith("storefront-2026-04-18T2235")
    with one.page.expect_download() as started:
        one.page.locator("#save-csv").click()
    with Path(started.value.path()).open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["id"] for line in lines] == beads
    assert [line["reason"] for line in lines] == [each["reason"] for each in told]


def test_a_spreadsheet_computes_nothing(opened: Open) -> None:
    one = opened(html(3, '=1+1,"x"'))
    with one.page.expect_download() as started:
        one.page.locator("#save-csv").click()
    text = Path(started.value.path()).read_text("utf-8")
    assert '"\'=1+1,""x"""' in text


def test_a_command_is_copied(opened: Open) -> None:
    one = opened(short())
    one.page.locator("#problems .copy").first.click()
    command = one.texts("#problems .command code")[0]
    one.page.get_by_text(f"Copied {command}").wait_for(state="attached")


# -- size --------------------


def test_five_thousand_beads_stay_quick(opened: Open) -> None:
    text = html(5000)
    began = time.monotonic()
    one = opened(text)
    one.page.locator(TITLES).first.wait_for()
    took = {"load": time.monotonic() - began}
    actions = {
        "all": "page.go({ range: 'all' })",
        "search": "page.go({ q: 'parser' })",
        "one group": "page.go({ q: '', group: 'finished' })",
        "show more": "document.querySelector('#g-finished .rest button').click()",
        "one bead": "page.go({ bead: document.querySelector('#table [data-bead]').dataset.bead })",
    }
    for name, action in actions.items():
        took[name] = (
            one.page.evaluate(
                f"(() => {{ const t = performance.now(); {action}; document.body.offsetHeight;"
                " return performance.now() - t; })()"
            )
            / 1000
        )
    assert one.page.locator("#g-finished tr.bead").count() == 150
    assert one.page.evaluate("document.querySelectorAll('*').length") < 10_000
    # The bounds only detect growth with the number of beads. On an idle machine, each action takes
    # less than 0.2 s.
    assert took.pop("load") < 10, took
    assert max(took.values()) < 2, took


def test_usual_data_is_small() -> None:
    assert len(html(40)) < 200_000
    assert len(html(1000)) < 1_000_000
