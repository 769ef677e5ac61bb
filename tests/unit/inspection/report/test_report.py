"""What the report says: lanes as the beads went, numbers as the ledger has them, and folded on
as folded at once.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import pairwise

import pytest

from dolt_watch.controller.state_reader import StateReader
from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.inspection.report import charts, live_page, view_model
from dolt_watch.inspection.report.collector import ReportCollector
from dolt_watch.inspection.report.html import render
from dolt_watch.inspection.report.view_model import Report
from dolt_watch.inspection.status import collect_status
from dolt_watch.ledger.reader import read_entries
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.lines import build_reader

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def loop(here: Light, engine: Engine, at: timedelta = 3 * HOUR) -> StateReader:
    return build_reader(
        engine, here.settings, lambda name: here.target, ShiftedClock(at), here.lines.append
    )


def report(
    here: Light, *only: str, gatherer: ReportCollector | None = None, span: timedelta = 4 * HOUR
) -> Report:
    gatherer = gatherer or ReportCollector()
    return gatherer.report(loop(here, here.engine), here.engine, lambda now: now - span, only)


def phases(found: Report, bead: str) -> list[str]:
    return next(
        ([one.phase for one in lane.stretches] for lane in found.lanes if lane.bead == bead), []
    )


def ways(found: Report) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Lanes without what moves with the clock."""
    return [
        (lane.bead, [(one.phase, one.why, one.commit, one.job) for one in lane.stretches])
        for lane in found.lanes
    ]


@pytest.fixture
def day(doltlite: Engine) -> Light:
    """One is done, one fails, is busy and then reaped, one is never heard of."""
    here = Light(doltlite, max_in_flight=2)
    here.tick()
    here.goes_wrong()
    return here


def test_lanes_as_the_beads_went(day: Light) -> None:
    found = report(day)
    assert phases(found, "bd-c") == ["waiting", "claimed", "running", "done"]
    assert phases(found, "bd-a") == ["waiting", "claimed", "unknown", "blocked"]
    assert phases(found, "bd-b") == [
        "waiting",
        "claimed",
        "backoff",
        "claimed",
        "waiting",
        "claimed",
        "running",
        "silent",
        "reaped",
    ]
    for lane in found.lanes:
        assert all(before.end == after.begin for before, after in pairwise(lane.stretches)), lane
    running, silent, reaped = next(lane for lane in found.lanes if lane.bead == "bd-b").stretches[
        -3:
    ]
    assert silent.begin - running.begin == timedelta(minutes=30)
    assert running.job.startswith("job") and running.why == f"accepted as job {running.job}"
    assert (
        reaped.why
        == day.engine.query("SELECT reason FROM watch_decision WHERE kind = 'reap'")[0][0]
    )
    assert day.engine.commit_of(reaped.commit) is not None


def test_who_is_silent_now(day: Light) -> None:
    day.assign("bd-d")
    day.tick(2 * HOUR)
    found = report(day)
    assert phases(found, "bd-d") == ["waiting", "claimed", "running", "silent"]
    assert found.lanes[0].bead == "bd-d"  # whoever is with us comes first


def test_blocked_until_somebody_moves_it(day: Light) -> None:
    day.sql("UPDATE issues SET status = 'closed' WHERE id = 'bd-a'")
    day.sql("UPDATE issues SET status = 'open' WHERE id = 'bd-b'")
    found = report(day)
    assert phases(found, "bd-a")[-2:] == ["blocked", "done"]
    assert phases(found, "bd-b")[-2:] == ["reaped", "waiting"]


def test_numbers_are_those_of_the_ledger(day: Light) -> None:
    day.assign("bd-d", "bd-e", "bd-f")
    day.tick(2 * HOUR)
    found = report(day)
    numbers = {one.label: one.value for one in view_model.headline(found)}
    kinds = [entry.kind.value for entry in read_entries(day.engine)]
    assert numbers == {
        "waiting": 1,
        "under way": 2,
        "held back": 0,
        "dispatched": kinds.count("dispatched"),
        "failed": 2,
        "reaped": 1,
    }
    assert {bar.label: bar.number for bar in view_model.failures(found)} == {
        "failed: HTTP 500: boom": 1,
        "unknown: no answer": 1,
        "give-up: outcome still unknown": 1,
        "reap: no sign of life": 1,
    }
    now = collect_status(loop(day, day.engine), day.engine)
    assert [bead[:-1] for bead in found.now.beads] == [bead[:-1] for bead in now.beads]
    assert list(found.entries) == read_entries(day.engine)
    waited = view_model.wait_durations(found)
    assert (
        waited is not None and waited.stats.number == kinds.count("claim") - 1
    )  # one was claimed out of backoff
    assert sum(bar.number for bar in waited.bars) == waited.stats.number
    ran = view_model.run_durations(found)
    assert ran is not None and (ran.stats.number, ran.stats.longest // MINUTE) == (2, 90)


def test_only_these_beads_and_only_this_span(day: Light) -> None:
    found = report(day, "bd-b")
    assert (
        {lane.bead for lane in found.lanes} == {"bd-b"} == {entry.bead for entry in found.entries}
    )
    late = report(day, span=timedelta(minutes=90))
    assert [(lane.bead, [one.phase for one in lane.stretches]) for lane in late.lanes] == [
        ("bd-b", ["silent", "reaped"]),
        ("bd-a", ["blocked"]),
    ]
    assert all(
        late.since <= one.end <= late.now.now
        for lane in late.lanes
        for one in lane.stretches
        if one.end
    )
    ran = view_model.run_durations(late)
    assert ran is not None and ran.stats.longest // MINUTE == 60  # what is known of it
    assert [entry.kind.value for entry in late.entries] == ["reap"]


def test_before_the_first_decision(doltlite: Engine) -> None:
    here = Light(doltlite)
    here.assign("bd-a")
    assert phases(report(here), "bd-a") == ["waiting"]
    here.assign("bd-b")
    found = report(here)
    assert (phases(found, "bd-a"), phases(found, "bd-b"), found.entries) == (
        ["waiting"],
        ["waiting"],
        (),
    )
    assert "bd-a" in render("report", found)


def test_folded_on_is_folded_at_once(day: Light) -> None:
    """What the live page keeps between two looks."""
    kept = ReportCollector()
    report(day, gatherer=kept)
    day.assign("bd-d", "bd-e")
    day.tick(2 * HOUR)
    report(day, gatherer=kept)
    day.change(max_in_flight=1, retry_after=MINUTE)  # other settings, the same state
    day.sql("UPDATE issues SET status = 'closed' WHERE id = 'bd-d'")
    day.tick(2 * HOUR + MINUTE)
    went_on, at_once = report(day, gatherer=kept), report(day)
    assert ways(went_on) == ways(at_once)
    assert went_on.depths == at_once.depths
    assert set(went_on.commits.items()) == set(at_once.commits.items())


def test_history_rewritten_between_two_looks(day: Light) -> None:
    kept = ReportCollector()
    report(day, gatherer=kept)
    day.change(when="assignee = 'agent' AND status = 'open'")
    day.assign("bd-d")
    day.tick(2 * HOUR)
    assert ways(report(day, gatherer=kept)) == ways(report(day))


def test_what_has_ended_is_forgotten(day: Light) -> None:
    kept = ReportCollector()
    found = report(day, gatherer=kept, span=timedelta(minutes=90))
    kept.prune(found)
    assert ways(report(day, gatherer=kept, span=timedelta(minutes=90))) == ways(found)
    assert {lane.bead for lane in report(day, gatherer=kept).lanes} == {"bd-a", "bd-b"}


# -- the page --------------------


def test_a_title_that_is_a_script_is_text(day: Light) -> None:
    evil = "</script><script>alert(1)</script>\u2028"
    with day.engine.transaction() as tx:
        tx.execute("UPDATE issues SET title = ? WHERE id = 'bd-b'", (evil,))
        tx.dolt_commit(["issues"], "evil", "eve <eve@test>")
    found = report(day)
    text = render("report", found._replace(only=("<b>bd-b</b>",)))
    assert "alert(1)</script>" not in text
    assert "<b>bd-b" not in text
    assert "\\u003cscript\\u003ealert(1)" in text


def test_a_file_fetches_nothing(day: Light) -> None:
    text = render("report", report(day))
    assert re.findall(r"(?:src|href|action)\s*=\s*\"(?!#|data:)[^\"]*", text) == []
    assert re.findall(r"url\((?!#)", text) == []
    assert "connect-src 'none'" in unescape(text)
    assert len(text) < 100_000


@pytest.mark.parametrize("hours", [0.01, 1, 24, 24 * 7, 24 * 365])
def test_axis(hours: float) -> None:
    until = datetime(2026, 4, 18, 22, 35, 46, tzinfo=UTC)
    found = charts.ticks(until - timedelta(hours=hours), until)
    assert 2 <= len(found) <= 13
    assert all(charts.EDGES[0] <= tick.left <= charts.EDGES[1] for tick in found)


def test_a_long_line_keeps_its_peak() -> None:
    until = datetime(2026, 4, 18, tzinfo=UTC)
    points = [
        (until - HOUR + timedelta(seconds=second), 90 if second == 1234 else 1)
        for second in range(3600)
    ]
    scale = charts.scale(until - HOUR, until, (value for _, value in points))
    path = charts.line(points, scale)
    assert f"V{scale.y(90)}H" in path
    assert path.count("H") <= charts.POINTS + 1


# -- live --------------------


def test_live_is_computed_once_for_all_who_look(day: Light, doltlite_path: FileAddress) -> None:
    opened: list[Engine] = []

    def connect() -> Engine:
        opened.append(open_engine(doltlite_path))
        return opened[-1]

    page = live_page.pages(connect, lambda engine: loop(day, engine))["/"]
    status, kind, body = page()
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert b'data-refresh="10"' in body and b"bd-b" in body
    assert page() == (status, kind, body)
    assert len(opened) == 1
    head = day.head()
    assert day.head() == head and not day.engine.dirty()


def test_live_says_that_the_database_is_away(day: Light, doltlite_path: FileAddress) -> None:
    page = live_page.pages(
        lambda: open_engine(FileAddress("/nowhere/x.db")), lambda engine: loop(day, engine)
    )["/"]
    assert page()[0] == 503
    assert page()[2] == b"there is no DoltLite file\n"
