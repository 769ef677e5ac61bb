"""The content of the report: lanes, figures, and the same result in one or several steps."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from html import unescape
from itertools import pairwise
from typing import Any

import orjson
import pytest

from dolt_watch.clock import FixedClock
from dolt_watch.config import Settings
from dolt_watch.controller.state_reader import StateReader
from dolt_watch.core.model import Capacity, Verdict
from dolt_watch.core.model.target_answers import Refused, Unknown
from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress, ServerAddress
from dolt_watch.engines.clock import server_time
from dolt_watch.engines.connect import open_engine
from dolt_watch.inspection.attempts import attempts_of as log_attempts
from dolt_watch.inspection.attempts import read_rows, tokens_of
from dolt_watch.inspection.recent import read_recent
from dolt_watch.inspection.report import live_page
from dolt_watch.inspection.report.collector import ReportCollector
from dolt_watch.inspection.report.html import render
from dolt_watch.inspection.report.place import place_of
from dolt_watch.inspection.report.view_model import Report
from dolt_watch.inspection.report.web import Request, Response
from dolt_watch.inspection.status import collect_status
from dolt_watch.inspection.why.decision_snapshot import snapshot_now
from dolt_watch.inspection.why.explanation import explain
from dolt_watch.ledger.reader import read_entries
from dolt_watch.targets.protocol import BeadTask
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.lines import build_reader

pytestmark = pytest.mark.long

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
    return gatherer.report(loop(here, here.engine), lambda now: now - span, only)


def phases(found: Report, bead: str) -> list[str]:
    row = found.row(bead)
    return [one.phase for one in row.lane] if row is not None else []


def ways(found: Report) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Return the lanes without values that depend on the clock."""
    return [
        (row.bead, [(one.phase, one.why, one.commit, one.job) for one in row.lane])
        for row in found.rows
    ]


@pytest.fixture
def day(doltlite: Engine) -> Light:
    """Return a tracker with a finished bead, a reaped bead, and a bead of unknown outcome.

    The reaped bead failed once and met a busy target.
    """
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
    for row in found.rows:
        assert all(before.end == after.begin for before, after in pairwise(row.lane)), row
    reaped_row = found.row("bd-b")
    assert reaped_row is not None
    running, silent, reaped = reaped_row.lane[-3:]
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
    first = found.rows[0]
    assert (first.bead, first.state, first.group) == ("bd-d", "silent", "running")


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
    figures = found.ranges[-1]
    kinds = [entry.kind.value for entry in read_entries(day.engine)]
    assert figures.name == "all"
    assert figures.dispatched == kinds.count("dispatched")
    assert (figures.failed, figures.unknown, figures.reaped) == (2, 1, 1)
    # One bead is done. One fails and is reaped later. The unknown one is blocked.
    outcomes = {"done": 1, "failed": 1, "busy": 1, "reaped": 1, "blocked": 1}
    assert figures.outcomes == outcomes
    assert figures.success == 1 / 4
    causes = {cause.text: dict(cause.kinds) for cause in found.causes[-1]}
    assert causes == {
        "HTTP 500: boom": {"failed": 1},
        "No answer": {"unknown": 1},
        "The outcome is still unknown": {"blocked": 1},
        "No sign of life": {"reaped": 1},
    }
    now = collect_status(loop(day, day.engine))
    assert [bead[:-1] for bead in found.now.beads] == [bead[:-1] for bead in now.beads]
    assert list(found.entries) == read_entries(day.engine)
    # One bead was claimed in backoff.
    assert figures.waiting.number == kinds.count("claim") - 1
    longest = figures.running.longest
    assert longest is not None and (figures.running.number, longest // MINUTE) == (2, 90)


def test_attempts_are_those_of_log(day: Light) -> None:
    found = report(day)
    entries, beads = read_entries(day.engine), {row.bead for row in found.rows}
    told = log_attempts(entries, read_rows(day.engine, beads), found.now.now)
    ours = [(one.bead, one.outcome, one.begin) for row in found.rows for one in row.attempts]
    assert sorted(ours) == sorted((one.bead, one.outcome, one.claimed_at) for one in told)


def test_a_reap_that_somebody_else_wrote_stops_no_page(day: Light) -> None:
    day.assign("bd-d")
    day.tick(2 * HOUR)
    head, (token, version) = (
        day.head(),
        day.engine.query("SELECT token, MAX(version) FROM watch_decision WHERE bead_id = 'bd-d'")[
            0
        ],
    )
    detail = '{"last_sign": "2026-04-18T00:00:00Z", "stale_after_seconds": 9223372036854775807}'
    day.sql(
        "INSERT INTO watch_decision (bead_id, version, kind, attempt, rule, token, cause_commit,"
        " observed_commit, decided_at, job_id, reason, bead_hash, settings_hash, actor, detail)"
        f" VALUES ('bd-d', {version + 1}, 'reap', 1, 'agent', '{token}', '{head}', '{head}',"
        f" UTC_TIMESTAMP(6), '', '', '', '', 'me', '{detail}')"
    )
    assert phases(report(day), "bd-d")[-2:] == ["running", "reaped"]


def test_throughput_counts_from_the_first_event(day: Light) -> None:
    found = report(day)
    hours = (found.now.now - found.first) / HOUR
    # The history is shorter than the whole range.
    assert hours < 4
    assert found.ranges[-1].per_hour == pytest.approx(1 / hours, rel=0.02)
    # There was no dispatch in the last hour.
    assert found.ranges[0].per_hour == 0


def test_what_needs_a_person_has_its_command(doltlite: Engine) -> None:
    here = Light(doltlite, max_attempts=1, max_in_flight=3)
    here.assign("bd-a", "bd-b", "bd-c")
    refused = [Refused(f"HTTP 400: no bead bd-{name}", 400, permanent=True) for name in "ab"]
    here.target.answers.extend([*refused, Unknown("no answer")])
    here.target.free = Capacity(3)
    here.tick()
    found = report(here)
    told = {one.kind: (one.why, one.beads, one.fix) for one in found.now.needs}
    assert told["quarantined"] == (
        "HTTP 400: no bead <id>",
        ("bd-a", "bd-b"),
        "dolt_watch retry bd-a bd-b",
    )
    assert told["unknown"][1] == ("bd-c",)
    assert told["unknown"][2].startswith("dolt_watch retry bd-c --not-running")
    rows = {row.bead: row.group for row in found.rows}
    assert set(rows.values()) == {"attention"}


def test_only_these_beads_and_only_this_span(day: Light) -> None:
    found = report(day, "bd-b")
    assert {row.bead for row in found.rows} == {"bd-b"} == {entry.bead for entry in found.entries}
    late = report(day, span=timedelta(minutes=90))
    assert [(row.bead, [one.phase for one in row.lane]) for row in late.rows] == [
        ("bd-b", ["silent", "reaped"]),
        ("bd-a", ["blocked"]),
    ]
    assert all(
        late.since <= one.end <= late.now.now for row in late.rows for one in row.lane if one.end
    )
    longest = late.ranges[-1].running.longest
    # Only the known part counts.
    assert longest is not None and longest // MINUTE == 60
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


def test_lanes_after_new_rules_are_those_of_the_new_rules(doltlite: Engine) -> None:
    """A page reads history between the rebuild and the first decision under the new rules."""
    here, kept = Light(doltlite, max_in_flight=9), ReportCollector()
    here.target.free = Capacity(9)
    here.assign("bd-a")
    here.tick()
    here.change(when="assignee = 'ann' AND status = 'open'")
    here.tick(2 * MINUTE)
    assert here.kinds("") == ["resync"]
    report(here, gatherer=kept)
    here.assign("bd-b")
    here.sql("UPDATE issues SET assignee = 'ann' WHERE id = 'bd-b'")
    found = report(here, gatherer=kept)
    assert phases(found, "bd-b") == phases(report(here), "bd-b") == ["waiting"]
    here.tick(4 * MINUTE)
    for gatherer in (kept, None):
        found = report(here, gatherer=gatherer)
        assert phases(found, "bd-b")[:3] == ["waiting", "claimed", "running"]


def test_the_page_counts_what_status_counts(doltlite: Engine) -> None:
    """A user's own work is no attempt, and a bead that a user blocks has not failed."""
    here = Light(doltlite, max_in_flight=9)
    here.target.free = Capacity(9)
    here.tick()
    here.assign("bd-a", "bd-b")
    here.sql("UPDATE issues SET status = 'in_progress' WHERE id = 'bd-a'")
    here.tick()
    here.sql("UPDATE issues SET status = 'closed', closed_at = NOW() WHERE id = 'bd-a'")
    here.sql("UPDATE issues SET status = 'blocked' WHERE id = 'bd-b'")
    found = report(here)
    assert phases(found, "bd-a") == ["waiting", "running", "done"]
    assert dict(found.ranges[-1].outcomes) == {"ended": 1}
    assert found.ranges[-1].running.number == 1
    recent = read_recent(doltlite, found.now.now)
    assert (recent.done, recent.failed) == (0, 0)


def test_a_bead_that_a_user_takes_over_ends_its_attempt(doltlite: Engine) -> None:
    here = Light(doltlite)
    here.assign("bd-a")
    here.tick()
    here.sql("UPDATE issues SET assignee = 'ann' WHERE id = 'bd-a'")
    found = report(here)
    entries, rows = read_entries(doltlite), read_rows(doltlite, ["bd-a"])
    (one,) = log_attempts(entries, rows, found.now.now, tokens_of(found.now.state))
    (row,) = found.rows
    assert (one.outcome, one.took, row.attempts[0].outcome) == ("ended", None, "ended")


def test_folded_on_is_folded_at_once(day: Light) -> None:
    """The live page keeps its collector between two requests."""
    kept = ReportCollector()
    report(day, gatherer=kept)
    day.assign("bd-d", "bd-e")
    day.tick(2 * HOUR)
    report(day, gatherer=kept)
    # The settings change, but the state doesn't.
    day.change(max_in_flight=1, retry_after=MINUTE)
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
    assert {row.bead for row in report(day, gatherer=kept).rows} == {"bd-a", "bd-b"}


# -- page --------------------


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
    assert len(text) < 200_000


def test_a_new_title_is_shown_by_the_next_report(day: Light) -> None:
    kept = ReportCollector()
    report(day, gatherer=kept)
    day.sql("UPDATE issues SET title = 'renamed' WHERE id = 'bd-b'")
    day.sql("DELETE FROM issues WHERE id = 'bd-a'")
    row, gone = report(day, gatherer=kept).row("bd-b"), report(day, gatherer=kept).row("bd-a")
    assert row is not None and (row.facts.title, row.facts.priority) == ("renamed", 1)
    assert gone is not None and gone.facts.title == ""


def test_entries_of_new_commits_are_those_of_the_ledger(day: Light) -> None:
    kept = ReportCollector()
    report(day, gatherer=kept)
    day.assign("bd-d")
    day.tick(2 * HOUR)
    assert list(report(day, gatherer=kept).entries) == read_entries(day.engine)


# -- live page --------------------


class Live:
    """The live page of a tracker, with a controlled clock."""

    def __init__(self, day: Light, path: FileAddress) -> None:
        self.opened: list[Engine] = []
        self.seconds = 0.0
        self.path = path

        def connect() -> Engine:
            self.opened.append(open_engine(self.path))
            return self.opened[-1]

        whole = server_time(day.engine).replace(second=0, microsecond=0)
        self.now = FixedClock(whole + 3 * HOUR)
        self.page = live_page.LivePage(connect, self.reader(day), clock=self.clock)
        self.routes = self.page.routes()

    def reader(self, day: Light) -> Callable[[Engine], StateReader]:
        return lambda engine: build_reader(
            engine, day.settings, live_page.unasked_target, self.now, day.lines.append
        )

    def clock(self) -> float:
        return self.seconds

    def get(self, path: str, **query: str) -> Response:
        return self.routes[path](Request(path, query))

    def data(self, after: str = "") -> Any:
        answer = self.get("/data.json", after=after)
        assert answer.status == 200
        return orjson.loads(answer.body)


@pytest.fixture
def live(day: Light, doltlite_path: FileAddress) -> Live:
    return Live(day, doltlite_path)


def test_live_is_computed_once_for_all_viewers(day: Light, live: Live) -> None:
    head = day.head()
    answer = live.get("/")
    assert (answer.status, answer.kind) == (200, "text/html; charset=utf-8")
    assert b'data-refresh="10"' in answer.body and b"bd-b" in answer.body
    assert live.get("/bead/") == answer
    assert live.data()["tag"] == answer.tag == live.get("/data.json").tag
    assert len(live.opened) == 1
    assert day.head() == head and not day.engine.dirty()


def test_live_sends_only_changes(day: Light, live: Live) -> None:
    before = live.data()
    assert before["whole"] and {row[0] for row in before["rows"]} == {"bd-a", "bd-b", "bd-c"}
    live.seconds += 60
    live.now.sleep(30)
    same = live.data(before["tag"])
    assert (same["tag"], same["rows"], same["gone"]) == (before["tag"], [], [])
    assert same["now"] == before["now"] + 30 == before["since"] + 30 + 7 * 86400
    assert same["since"] == before["since"] + 30
    assert live.get("/data.json", after=before["tag"]).tag == "", "an answer with the time"
    assert same.keys() == {"tag", "whole", "now", "since", "first", "rows", "gone"}
    day.sql("UPDATE issues SET title = 'renamed' WHERE id = 'bd-a'")
    live.seconds += 60
    after = live.data(before["tag"])
    assert [row[:2] for row in after["rows"]] == [["bd-a", "renamed"]]
    assert after["head"] == day.head() and "ranges" not in after
    assert live.data("other.7")["whole"], "the tag of another process"
    assert live.data(before["tag"].partition(".")[0] + ".999")["whole"], "a tag of the future"


def test_an_idle_refresh_computes_nothing(day: Light, live: Live) -> None:
    live.data()
    first = live.page.report
    live.seconds += 60
    live.now.sleep(59)
    live.data()
    assert live.page.report is first
    live.seconds += 60
    live.now.sleep(1)
    live.data()
    later = live.page.report
    assert later is not first, "another minute"
    with day.engine.transaction() as tx:
        tx.execute("UPDATE issues SET title = 'not committed' WHERE id = 'bd-a'")
        tx.commit()
    live.seconds += 60
    live.data()
    assert live.page.report is not later


def test_a_bead_that_leaves_the_data_is_named(live: Live) -> None:
    versions = live_page.Versions()
    versions.update({"now": 1, "rows": [["bd-a", 1], ["bd-b", 1]], "head": "x"})
    first = versions.tag
    versions.update({"now": 2, "rows": [["bd-a", 1]], "head": "x"})
    told = orjson.loads(versions.after(first))
    assert (told["rows"], told["gone"], told["now"]) == ([], ["bd-b"], 2)
    versions.update({"now": 3, "rows": [["bd-a", 1], ["bd-b", 2]], "head": "x"})
    assert orjson.loads(versions.after(first))["gone"] == []
    assert orjson.loads(versions.after(first))["rows"] == [["bd-b", 2]]


@pytest.mark.parametrize("number", ["", "-1", "x", "2", "²", "9" * 5000])
def test_a_tag_that_was_never_given_gets_everything(number: str) -> None:
    versions = live_page.Versions()
    versions.update({"now": 1, "rows": [["bd-a", 1]], "head": "x"})
    told = orjson.loads(versions.after(f"{versions.epoch}.{number}"))
    assert (told["whole"], told["rows"], told["head"]) == (True, [["bd-a", 1]], "x")


def test_the_view_of_a_bead_is_what_why_reports(day: Light, live: Live) -> None:
    day.assign("bd-d", "bd-e", "bd-f", "bd-g")
    day.tick(2 * HOUR)
    answer = live.get("/why.json", bead="bd-f")
    found = orjson.loads(answer.body)
    told = explain(
        day.engine, "bd-f", day.head(), partial(snapshot_now, live.reader(day)(day.engine), "bd-f")
    )
    (rule,) = found["rules"]
    names = [(one.name, one.satisfied) for one in told.views[0].conditions]
    assert [(name, good) for name, good, _ in rule["conditions"]] == names
    assert found["verdict"] == told.verdict
    assert rule["to_go"] == list(told.views[0].to_go)
    assert [life[1] for life in found["life"]] == [step.commit.hash for step in told.timeline]
    assert live.get("/why.json", bead="nope").status == 404
    asked = len(live.opened)
    assert live.get("/why.json", bead="bd-f") == answer
    assert len(live.opened) == asked, "an answer is kept for some seconds"
    live.seconds += 600
    live.get("/why.json", bead="bd-f")
    assert len(live.opened) == asked + 1


def test_live_reports_that_the_database_is_away(live: Live) -> None:
    live.path = FileAddress("/nowhere/x.db")
    for path in ("/", "/data.json", "/why.json"):
        answer = live.get(path)
        assert (answer.status, answer.body) == (503, b"There is no DoltLite file.\n")


def test_a_viewer_causes_no_request_to_a_target() -> None:
    target = live_page.unasked_target("beadboard")
    assert target.capacity().slots is None
    assert isinstance(target.dispatch(BeadTask("bd-a", {}), "t"), Refused)
    assert target.verdict("job", None).verdict is Verdict.UNKNOWN


# -- name of the tracker --------------------


@pytest.mark.parametrize(
    ("address", "place"),
    [
        (ServerAddress("db", 3307, "ann", "pa55", "shop"), ("shop", "db:3307/shop")),
        (
            ServerAddress(socket="/run/x.sock", database="shop/dev"),
            ("shop", "local socket/shop/dev"),
        ),
        (FileAddress("/home/ann/shop/.beads/beads.db"), ("shop", "beads.db")),
        (FileAddress("/srv/shop.db"), ("shop", "shop.db")),
        (FileAddress("beads.db"), ("beads", "beads.db")),
    ],
)
def test_place(address: FileAddress | ServerAddress, place: tuple[str, str]) -> None:
    found = place_of(Settings(address))
    assert (found.tracker, found.database) == place
