"""The ledger as attempts: the outcome of each claim, and the output of ``log``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from rich.cells import cell_len

from dolt_watch.core.model.target_answers import Busy, Refused, Unknown
from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress
from dolt_watch.engines.clock import server_time
from dolt_watch.inspection.attempts import FAILURES, Attempt, attempts_of, read_rows
from dolt_watch.inspection.log_view import attempt_lines, entry_lines
from dolt_watch.inspection.recent import read_recent
from dolt_watch.inspection.report.collector import ReportCollector
from dolt_watch.inspection.screen import Screen
from dolt_watch.ledger.reader import read_entries
from tests.support.clocks import ShiftedClock
from tests.support.commands import Commands, commands
from tests.support.embedded_tracker import Light, gone_wrong
from tests.support.lines import build_reader
from tests.support.servers import as_in_a_terminal

pytestmark = pytest.mark.long


def attempts(here: Light) -> list[Attempt]:
    entries = read_entries(here.engine)
    rows = read_rows(here.engine, {entry.bead for entry in entries if entry.bead})
    return attempts_of(entries, rows, server_time(here.engine) + timedelta(hours=9))


def outcomes(here: Light, bead: str) -> list[str]:
    return [one.outcome for one in attempts(here) if one.bead == bead][::-1]


def test_one_line_an_attempt(doltlite: Engine) -> None:
    here = Light(doltlite, max_attempts=2)
    here.assign("bd-a")
    here.target.answers.extend([Busy("HTTP 409: {}", 409), Refused("HTTP 500: boom", 500)])
    here.tick()
    here.tick(timedelta(minutes=9))
    here.tick(timedelta(minutes=30))
    assert outcomes(here, "bd-a") == ["busy", "failed", "running"]
    newest, failed, busy = attempts(here)
    assert (newest.job, newest.attempt, newest.rule, newest.title) == ("job3", 2, "agent", "t")
    assert [entry.kind.value for entry in newest.entries] == ["claim", "dispatched"]
    assert (failed.reason, busy.job) == ("HTTP 500: boom", "")
    assert newest.took is not None and newest.took > timedelta(hours=8), "it still runs"
    assert failed.took is not None and failed.took < timedelta(minutes=1)
    here.tick(timedelta(hours=2))
    assert outcomes(here, "bd-a")[-1] == "reaped"


@pytest.mark.parametrize(
    ("row", "outcome", "timed"),
    [
        ("status = 'closed', closed_at = NOW()", "done", True),
        ("status = 'closed'", "done", False),
        ("status = 'open', assignee = 'ann'", "ended", False),
        ("status = 'blocked'", "ended", False),
        ("priority = 1", "running", True),
    ],
)
def test_the_end_of_a_run_is_in_the_row(
    doltlite: Engine, row: str, outcome: str, timed: bool
) -> None:
    here = Light(doltlite)
    here.assign("bd-a")
    here.tick()
    here.sql(f"UPDATE issues SET {row.replace('NOW()', repr(str(server_time(doltlite))[:19]))}")
    (one,) = attempts(here)
    assert (one.outcome, one.took is not None) == (outcome, timed)


def test_what_the_row_says_is_of_the_last_attempt_only(doltlite: Engine) -> None:
    here = Light(doltlite)
    here.assign("bd-a")
    here.tick()
    here.sql("UPDATE issues SET status = 'open' WHERE id = 'bd-a'")
    here.tick(timedelta(minutes=9))
    assert outcomes(here, "bd-a") == ["ended", "running"]
    here.sql("UPDATE issues SET status = 'closed', closed_at = '2026-04-18 12:00:00'")
    assert outcomes(here, "bd-a") == ["ended", "done"]


@pytest.mark.parametrize(
    ("row", "outcome", "hours"),
    [
        ("status = 'closed', closed_at = datetime('now', '+1 hour')", "done", 1),
        ("status = 'blocked'", "ended", None),
        ("priority = 1", "unknown", 9),
    ],
)
def test_a_run_whose_answer_was_lost_ends_like_any_other(
    doltlite: Engine, row: str, outcome: str, hours: int | None
) -> None:
    here = Light(doltlite)
    here.assign("bd-a")
    here.target.answers.append(Unknown("no answer"))
    here.tick(timedelta())
    here.sql(f"UPDATE issues SET {row}")
    (one,) = attempts(here)
    took = round(one.took / timedelta(hours=1)) if one.took is not None else None
    assert (one.outcome, took) == (outcome, hours)


def test_an_attempt_of_unknown_outcome_before_another_one_lasts_no_longer(
    doltlite: Engine,
) -> None:
    here = Light(doltlite)
    here.assign("bd-a")
    here.target.answers.append(Unknown("no answer"))
    here.tick()
    here.sql("UPDATE issues SET status = 'blocked' WHERE id = 'bd-a'")
    here.sql("UPDATE issues SET status = 'open' WHERE id = 'bd-a'")
    here.tick(timedelta(minutes=9))
    assert outcomes(here, "bd-a") == ["unknown", "running"]
    assert attempts(here)[1].took is None


def _renamed(here: Light) -> None:
    with here.engine.transaction() as tx:
        tx._send("PRAGMA defer_foreign_keys = ON")  # type: ignore[attr-defined]
        tx.execute("UPDATE issues SET id = 'bd-new' WHERE id = 'bd-a'")
        tx.execute("UPDATE events SET issue_id = 'bd-new' WHERE issue_id = 'bd-a'")
        tx.dolt_commit(["issues", "events"], "rename", "ann <ann@test>")


def _lost(here: Light) -> None:
    """History loses the claim, and the next tick writes the attempt again."""
    with here.engine.transaction() as tx:
        tx._send("SELECT dolt_reset('--hard', 'HEAD~2')")  # type: ignore[attr-defined]
        tx.commit()
    here.sql("UPDATE issues SET title = 'u' WHERE id = 'bd-b'")


@pytest.mark.parametrize(
    ("happens", "bead", "first"), [(_renamed, "bd-new", "claim"), (_lost, "bd-a", "restore")]
)
def test_log_status_and_the_page_agree_on_a_continued_attempt(
    doltlite: Engine, happens: Callable[[Light], None], bead: str, first: str
) -> None:
    here = Light(doltlite)
    here.sql(
        "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes)"
        " VALUES ('bd-b', 't', '', '', '', '')"
    )
    here.assign("bd-a")
    here.tick(timedelta())
    happens(here)
    here.tick(timedelta(minutes=2))
    (one,) = [one for one in attempts(here) if one.bead]
    assert (one.bead, one.outcome, one.job) == (bead, "running", "job1")
    assert one.entries[0].kind.value == first
    assert one.took is not None and one.took >= timedelta(hours=8, minutes=59), "since its claim"
    here.sql(
        "UPDATE issues SET status = 'closed', closed_at = datetime('now', '+30 minutes')"
        f" WHERE id = '{bead}'"
    )
    (one,) = [one for one in attempts(here) if one.bead]
    assert one.outcome == "done"
    clock = ShiftedClock(timedelta(hours=3))
    reader = build_reader(
        here.engine, here.settings, lambda name: here.target, clock, here.lines.append
    )
    report = ReportCollector().report(reader, lambda now: now - timedelta(days=7))
    day = next(one for one in report.ranges if one.name == "24h")
    assert read_recent(here.engine, report.now.now).done == day.done == 1


def test_an_unknown_outcome_and_a_deleted_bead(doltlite: Engine) -> None:
    here = Light(doltlite)
    here.assign("bd-a")
    here.target.answers.append(Unknown("no answer"))
    here.tick()
    here.sql("DELETE FROM issues WHERE id = 'bd-a'")
    (one,) = attempts(here)
    assert (one.outcome, one.title, one.reason) == ("unknown", "", "no answer")


@pytest.mark.parametrize("width", [30, 60, 80, 120, 200])
def test_lines_fit_a_terminal(doltlite: Engine, width: int) -> None:
    here = Light(doltlite)
    here.goes_wrong()
    here.sql("UPDATE issues SET title = '" + "漢字 " * 40 + "'")
    now = server_time(doltlite)
    shown = Screen(True, width, 40, color=False, unicode=True)
    lines = attempt_lines(attempts(here), now, shown)
    lines += entry_lines(read_entries(here.engine), now, shown)
    assert max(cell_len(line.plain) for line in lines) <= width
    plain = Screen(False, 0, 0, color=False, unicode=False)
    assert "漢字 " * 39 in attempt_lines(attempts(here), now, plain)[1].plain


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        yield made


def test_what_is_selected(cli: Commands) -> None:
    assert cli.run("log").stdout == "No decisions yet.\n"
    cli.here.goes_wrong()

    def told(*args: str) -> tuple[set[str], set[str]]:
        done = cli.run("log", "--format", "json", *args)
        assert done.returncode == 0, done.stderr
        facts = json.loads(done.stdout)
        return (
            {one["bead"] for one in facts["entries"]},
            {one["outcome"] for one in facts["attempts"]},
        )

    assert told("--bead", "bd-b")[0] == {"bd-b"}
    assert {"running", "blocked"} <= told()[1]
    beads, found = told("--kind", "give-up")
    assert (len(beads), found) == (1, {"blocked"}), "the whole attempt, by one of its entries"
    assert told("--rule", "nope") == (set(), set())
    assert told("--until", "2020-01-01T00:00:00Z") == (set(), set())
    assert told("--since", "2020-01-01T00:00:00Z") == told()
    assert cli.run("log", "--rule", "nope").stdout == "No decisions match.\n"
    entries = cli.run("log", "--entries").stdout.splitlines()
    assert len(entries) == 1 + cli.decisions()
    assert entries[0].split() == ["TIME", "BEAD", "VERSION", "ENTRY", "ATTEMPT", "RULE", "REASON"]
    assert len(cli.run("log", "--limit", "1").stdout.splitlines()) == 2
    facts = json.loads(cli.run("log", "--entries", "--format", "json").stdout)
    assert "attempts" not in facts and len(facts["entries"]) == cli.decisions()
    done = cli.run("log", "--bead", "bd-aa")
    assert done.returncode == 2 and "Did you mean bd-a" in done.stderr
    assert cli.run("log", "--follow", "--limit", "1").returncode == 2


def test_log_and_status_agree_on_what_runs(cli: Commands) -> None:
    cli.here.goes_wrong()
    facts = json.loads(cli.run("log", "--format", "json").stdout)
    status = json.loads(cli.run("status", "--format", "json").stdout)
    runs = {one["bead"] for one in facts["attempts"] if one["outcome"] == "running"}
    assert runs == {one["bead"] for one in status["beads"] if one["phase"] == "running"}


def test_a_reassigned_bead_runs_neither_in_log_nor_in_status(cli: Commands) -> None:
    """Its row is in progress still, but no longer an agent's."""
    cli.here.goes_wrong()
    facts = json.loads(cli.run("log", "--format", "json").stdout)
    bead = next(one["bead"] for one in facts["attempts"] if one["outcome"] == "running")
    cli.here.sql(f"UPDATE issues SET assignee = 'ann' WHERE id = '{bead}'")
    facts = json.loads(cli.run("log", "--format", "json").stdout)
    status = json.loads(cli.run("status", "--format", "json").stdout)
    assert bead not in {one["bead"] for one in status["beads"]}
    latest = next(one for one in facts["attempts"] if one["bead"] == bead)
    assert (latest["outcome"], latest["took_seconds"]) == ("ended", None)


def test_log_does_not_depend_on_the_rules_of_its_settings(cli: Commands) -> None:
    cli.here.goes_wrong()
    other = ("--set", "rules.agent.when=assignee = 'ann'")
    told = [json.loads(cli.run("log", "--format", "json", *more).stdout) for more in ((), other)]
    outcomes = [[one["outcome"] for one in facts["attempts"]] for facts in told]
    assert outcomes[0] == outcomes[1] and "running" in outcomes[0]


def test_follow_prints_what_is_committed(cli: Commands) -> None:
    command = [sys.executable, "-m", "dolt_watch", "log", "--follow", "--since", "1h", "--format"]
    cli.run("pause", "--reason", "lunch")
    with subprocess.Popen(
        [*command, "json"],
        env=cli.env,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=as_in_a_terminal,
    ) as follower:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["kind"] == "pause"
        cli.run("resume")
        assert json.loads(follower.stdout.readline())["kind"] == "resume"
        follower.send_signal(signal.SIGINT)
        assert follower.wait(60) == 0


def test_the_last_day_of_status_is_that_of_the_page(doltlite: Engine) -> None:
    here = gone_wrong(doltlite, max_in_flight=9)
    here.assign("bd-done")
    here.tick(timedelta(hours=2))
    here.sql("UPDATE issues SET status = 'closed', closed_at = NOW() WHERE id = 'bd-done'")
    clock = ShiftedClock(timedelta(hours=3))
    reader = build_reader(
        here.engine, here.settings, lambda name: here.target, clock, here.lines.append
    )
    report = ReportCollector().report(reader, lambda now: now - timedelta(days=7))
    day = next(one for one in report.ranges if one.name == "24h")
    recent = read_recent(here.engine, report.now.now)
    assert recent.done == day.done >= 1
    assert recent.failed == sum(day.outcomes.get(one, 0) for one in FAILURES) >= 1
