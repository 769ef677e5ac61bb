"""Upgrades of a bd 1.0.2 tracker while agents work.

The recorded upgrades run between real decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from dolt_watch.beads.schema import NOT_COMMITTED
from dolt_watch.engines import Commit
from dolt_watch.inspection import event_stream
from tests.acceptance.conftest import Watch, watching
from tests.standin import launcher
from tests.support.beads import initialized
from tests.support.servers import Server

RULE = """[rules.agent]
max_in_flight = 3
max_attempts = 2
retry_after = "20m"
unknown_after = "3h"
"""
MATRIX = pytest.mark.matrix


@pytest.fixture
def old(dolt_server: Server, tmp_path: Path) -> Iterator[Watch]:
    """Yield a watched tracker of bd 1.0.2."""
    bd = initialized(dolt_server, tmp_path, str(launcher.write(tmp_path / "bin", "1.0.2")))
    (bd.path / "dolt_watch.toml").write_text(RULE, encoding="utf-8")
    with watching(bd, dolt_server) as made:
        yield made
    dolt_server.drop(bd.address)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def live(watch: Watch) -> dict[str, str]:
    """Create beads in every phase before the upgrade. Return the ID of each by its purpose."""
    bd, named = watch.bd, dict[str, str]()
    named["done"] = watch.assigned("done")
    assert watch.tick(minutes(0.1))[0].dispatched == 1
    bd.run("note", named["done"], "half way", actor="agent")
    bd.run("comment", named["done"], "nearly there", actor="agent")
    bd.close(named["done"])
    named["silent"] = watch.assigned("silent")
    assert watch.tick(minutes(0.2))[0].dispatched == 1
    assert watch.tick(minutes(32))[0].reaped == 1
    named["refused"] = watch.assigned("refused")
    for when in (33, 65):
        watch.board.answer_next(500, "boom")
        assert watch.tick(minutes(when))[0].failed == 1
    named["failed"] = watch.assigned("failed")
    watch.board.answer_next(500, "boom")
    assert watch.tick(minutes(66))[0].failed == 1
    named["running"] = watch.assigned("running")
    assert watch.tick(minutes(66.5))[0].dispatched == 1
    bd.run("comment", named["running"], "at it", actor="agent")
    bd.run("note", named["running"], "half way", actor="agent")
    named["unknown"] = watch.assigned("unknown")
    watch.board.answer_next(200, "no JSON")
    assert watch.tick(minutes(66.6))[0].unknown == 1
    named["blocked"] = watch.assigned("blocked")
    for blocker in ("running", "unknown", "refused"):
        bd.run("dep", "add", named["blocked"], named[blocker])
    assert watch.tick(minutes(66.7))[0].dispatched == 0
    assert phases(watch, named) == PHASES
    return named


PHASES = {
    "refused": "quarantined",
    "failed": "backoff",
    "unknown": "unknown",
    "running": "running",
    "blocked": "waiting",
}


def phases(watch: Watch, named: Mapping[str, str]) -> dict[str, str]:
    return {name: watch.record(named[name])["phase"] for name in PHASES}


def upgrade(watch: Watch, to: str) -> None:
    """Run the first command of the newer bd, which migrates the tracker."""
    launcher.write(Path(watch.bd.program).parent, to)
    watch.bd.run("list")


def signs(watch: Watch, since: str) -> list[tuple[str, str, str]]:
    """Return bead, kind and writer of each sign of life in the commits after ``since``."""
    read = event_stream.read_events(watch.engine, since, watch.head(), watch.settings.rules)
    return [
        (e.bead, e.sign.what, e.sign.who)
        for passed in read
        for e in passed.events
        if e.sign is not None
    ]


def ours(watch: Watch, since: str) -> list[Commit]:
    return [
        commit
        for commit in watch.engine.commits(since, watch.head())
        if commit.author == "dolt-watch"
    ]


def verified(watch: Watch) -> None:
    ran = watch.command("replay", "--verify")
    assert (ran.code, ran.stderr) == (0, ""), ran
    assert "; 0 differences" in ran.stdout and "cannot be verified" not in ran.stdout, ran.stdout


@pytest.mark.long
@pytest.mark.parametrize("to", [pytest.param("1.2.2", marks=MATRIX), "1.3"])
def test_decisions_before_while_and_after(old: Watch, to: str) -> None:
    named = live(old)
    sent, before = old.sent(), old.head()
    told = {name: old.record(named[name]) for name in PHASES}
    upgrade(old, to)
    for when in (66.8, 66.9):
        outcome, lines = old.tick(minutes(when))
        assert (outcome.exit_code, NOT_COMMITTED in lines) == (0, True), lines
    assert NOT_COMMITTED in old.command("status").stdout
    found = old.command("doctor")
    assert (found.code, NOT_COMMITTED in found.stdout) == (1, True), found
    verified(old)
    assert ours(old, before) == []
    old.committed()
    outcome, lines = old.tick(minutes(67))
    assert (outcome.exit_code, NOT_COMMITTED in lines) == (0, False), lines
    assert signs(old, before) == []
    assert ours(old, before) == []
    assert phases(old, named) == PHASES
    for name in PHASES:
        now = old.record(named[name])
        assert {**now, "rank": None} == {**told[name], "rank": None}
    assert old.sent() == sent

    old.bd.run("update", named["unknown"], "-s", "blocked")
    outcome, _ = old.tick(minutes(93))
    assert (outcome.dispatched, old.sent()) == (1, [*sent, named["failed"]])
    old.bd.run("update", named["running"], "--title", "renamed", actor="agent")
    old.bd.close(named["running"])
    old.bd.run("dep", "remove", named["blocked"], named["unknown"])
    old.bd.run("dep", "remove", named["blocked"], named["refused"])
    assert old.tick(minutes(94))[0].dispatched == 1
    assert old.sent()[-1] == named["blocked"]
    old.bd.run("comment", named["blocked"], "at it", actor="agent")
    assert old.tick(minutes(130))[0].reaped == 2
    old.bd.run("update", named["refused"], "--title", "better")
    assert old.tick(minutes(131))[0].dispatched == 1
    accepted = Counter(bead for bead, _ in old.board.accepted)
    assert set(accepted.values()) == {1} and len(accepted) == 6, accepted
    assert old.sent().count(named["unknown"]) == 1
    for commit in ours(old, before):
        assert not old.engine.changed(commit.parents[0], commit.hash).schema, (
            "part of a migration in a commit of dolt_watch"
        )

    verified(old)
    for name in ("silent", "refused", "running", "unknown"):
        assert old.command("why", named[name]).code == 0
    for words in (("events", "--from", before), ("replay",), ("log",), ("status",), ("doctor",)):
        ran = old.command(*words)
        assert (ran.code, "Traceback" in ran.stderr) == (0, False), (words, ran)


def test_decisions_while_bd_1_2_2_has_committed_a_part(old: Watch) -> None:
    """Decisions continue, and their commits don't include the tables that bd left uncommitted.

    The first write of bd 1.2.2 commits only issues and events.
    """
    running = old.assigned("running")
    old.bd.run("comment", running, "at it", actor="agent")
    assert old.tick(minutes(0.1))[0].dispatched == 1
    before, told = old.head(), old.record(running)
    upgrade(old, "1.2.2")
    waits = old.assigned("made by the newer bd")
    left = {table for table, _, _ in old.sql("SELECT * FROM dolt_status")}
    assert {"comments", "dependencies"} <= left and left.isdisjoint(("issues", "events"))
    outcome, lines = old.tick(minutes(0.2))
    assert (outcome.exit_code, outcome.dispatched, NOT_COMMITTED in lines) == (0, 1, True), lines
    assert old.sent() == [running, waits]
    assert [one for one in signs(old, before) if one[0] == running] == []
    assert old.record(running) == told
    assert old.tick(minutes(33))[0].reaped == 2
    mine = ours(old, before)
    assert len(mine) == 4
    for commit in mine:
        assert old.engine.changed(commit.parents[0], commit.hash).data <= {
            "issues",
            "events",
            "watch_decision",
        }
        assert not old.engine.changed(commit.parents[0], commit.hash).schema
    assert left <= {table for table, _, _ in old.sql("SELECT * FROM dolt_status")}
    verified(old)
    old.committed()
    assert old.tick(minutes(34))[0].exit_code == 0
    verified(old)


@pytest.mark.long
@pytest.mark.parametrize("to", ["1.2.2", pytest.param("1.3", marks=MATRIX)])
def test_state_made_anew_after_the_upgrade(old: Watch, to: str) -> None:
    """Each bead keeps its phase, and no event of dolt_watch is a sign of life.

    After the flatten, events have other IDs than the ledger's entries name.
    """
    named = live(old)
    upgrade(old, to)
    old.committed()
    old.bd.run("flatten", "--force")
    outcome, lines = old.tick(minutes(67))
    assert (outcome.exit_code, outcome.dispatched) == (0, 0), lines
    assert old.kinds("") == ["resync"]
    assert phases(old, named) == PHASES
    assert old.record(named["running"])["sign"]["who"] == "agent"
    assert old.record(named["unknown"]).get("sign", {}).get("who") != "beads-dispatcher"
    assert old.sent().count(named["running"]) == old.sent().count(named["unknown"]) == 1
