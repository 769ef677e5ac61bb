"""The main job, once through, with real bd on real Dolt and a real HTTP server: dispatched, reaped, told by `dolt log`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from dolt_watch.cli.wiring import Targets, build, identity
from dolt_watch.core.decide import Scope
from dolt_watch.engines import Engine
from dolt_watch.engines.address import open_engine
from dolt_watch.migrate import migrate
from dolt_watch.round import Outcome
from dolt_watch.settings import Settings, load
from dolt_watch.times import ShiftedClock, utc
from tests.beads import Workspace
from tests.stubs.agent_service import AgentServiceStub
from tests.stubs.beadboard import BeadBoardStub

CRITERIA = ("--acceptance", "it works", "-a", "agent")


@dataclass
class Watch:
    """A watcher on a real workspace, and the service that it dispatches to."""

    bd: Workspace
    board: BeadBoardStub
    settings: Settings
    engine: Engine
    later: timedelta = timedelta(seconds=10)

    def tick(self, dispatch: bool = False, reap: bool = False) -> tuple[Outcome, list[str]]:
        """By default ten seconds from now, so that nothing has to settle."""
        lines: list[str] = []
        targets = Targets(self.settings)
        loop = build(self.engine, self.settings, targets, ShiftedClock(self.later), lines.append)
        try:
            return loop.tick(Scope(dispatch=dispatch, reap=reap)), lines
        finally:
            targets.close()

    def dispatch(self) -> tuple[Outcome, list[str]]:
        return self.tick(dispatch=True)

    def reap(self) -> tuple[Outcome, list[str]]:
        return self.tick(reap=True)

    def shown(self, bead: str) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.bd.run("show", bead, "--json"))[0]
        return found

    def head(self) -> str:
        return str(self.engine.query("SELECT HASHOF('HEAD')")[0][0])

    def kinds(self, bead: str) -> list[str]:
        rows = self.engine.query("SELECT kind FROM watch_decision WHERE bead_id = ? ORDER BY version", (bead,))
        return [row[0] for row in rows]


@pytest.fixture
def watch(beads_workspace: Workspace) -> Iterator[Watch]:
    with AgentServiceStub() as service, BeadBoardStub(service) as board:
        settings = load({"database": beads_workspace.url}, {"BEADBOARD_URL": board.url}, beads_workspace.path)
        engine = open_engine(settings.address)
        list(migrate(engine, identity(settings).author))
        yield Watch(beads_workspace, board, settings, engine)
        engine.close()


def test_assigned_dispatched_and_told(watch: Watch) -> None:
    bead = watch.bd.create("do it", "--acceptance", "it works", "-p", "1")
    watch.bd.run("assign", bead, "agent")
    dirty = watch.engine.dirty()
    outcome, lines = watch.dispatch()
    assert (outcome.exit_code, outcome.dispatched) == (0, 1)
    assert f"picked bead: {bead}" in lines
    shown = watch.shown(bead)
    job = watch.board.accepted[0][1] if isinstance(watch.board.accepted[0], tuple) else watch.board.accepted[0].job
    claimed, dispatched = shown["notes"].splitlines()
    assert shown["status"] == "in_progress"
    assert claimed.startswith("auto-dispatcher claimed at 20")
    assert claimed.endswith("Z")
    assert dispatched == f"dispatched: job={job}"
    assert len(watch.board.dispatches) == 1
    assert watch.kinds(bead) == ["claim", "dispatched"]
    assert watch.engine.dirty() == dirty
    watch.bd.run("note", bead, "bd works on")
    watch.bd.run("close", bead)


def test_a_commit_a_decision_with_trailers_that_git_reads(watch: Watch) -> None:
    bead = watch.bd.create("do it", *CRITERIA)
    before = watch.head()
    watch.dispatch()
    commits = list(watch.engine.commits(before, watch.head()))
    assert [commit.author for commit in commits] == ["dolt-watch", "dolt-watch"]
    parsed = subprocess.run(
        ["git", "interpret-trailers", "--parse"], input=commits[1].message, capture_output=True, text=True, check=True
    ).stdout
    assert f"Bead: {bead}\nDecision: claim\nVersion: 1\nAttempt: 1\nRule: agent\n" in parsed


@pytest.mark.parametrize(
    "how",
    [
        ("-a", "agent"),
        ("--acceptance", "x", "-a", "bob"),
        ("--acceptance", "x"),
    ],
)
def test_what_does_not_match_is_left_alone(watch: Watch, how: tuple[str, ...]) -> None:
    watch.bd.create("not ours", *how)
    before = watch.head()
    outcome, lines = watch.dispatch()
    assert (outcome.exit_code, watch.head(), watch.board.dispatches) == (0, before, [])
    assert lines == ["no eligible beads (assignee=agent, status=open, has acceptance_criteria)"]


@pytest.mark.parametrize(
    ("status", "body", "code", "kind"),
    [
        (400, '{"error":"Bead x not found."}', 1, "failed"),
        (500, '{"error":"boom"}', 1, "failed"),
        (502, '{"error":"Invalid token"}', 1, "stopped"),
        (409, '{"error":"Agent is busy"}', 0, "busy"),
        (502, '{"error":"Queue full"}', 0, "busy"),
        (502, '{"error":"fetch failed"}', 1, "unknown"),
        ("break", "", 1, "unknown"),
    ],
)
def test_answers(watch: Watch, status: int | str, body: str, code: int, kind: str) -> None:
    bead = watch.bd.create("do it", *CRITERIA)
    watch.board.answer_next(status, body)
    outcome, _ = watch.dispatch()
    assert (outcome.exit_code, watch.kinds(bead)) == (code, ["claim", kind])
    shown = watch.shown(bead)
    assert shown["status"] == ("in_progress" if kind == "unknown" else "open")
    if kind in ("failed", "stopped"):
        assert shown["notes"].splitlines()[1] == f"dispatch failed HTTP {status}: {body}"
    if kind == "busy":
        assert len(shown["notes"].splitlines()) == 1
    if kind == "unknown":
        watch.dispatch()
        assert len(watch.board.dispatches) == 1


def test_silent_is_reaped_after_whole_minutes(watch: Watch) -> None:
    bead = watch.bd.create("do it", *CRITERIA)
    watch.dispatch()
    watch.later = timedelta(minutes=30, seconds=30)
    assert watch.reap()[0].reaped == 0
    watch.later = timedelta(minutes=31, seconds=30)
    outcome, lines = watch.reap()
    assert (outcome.exit_code, outcome.reaped) == (0, 1)
    assert f"REAPED {bead} (stale 31m)" in lines
    shown = watch.shown(bead)
    assert shown["status"] == "blocked"
    assert shown["notes"].splitlines()[-1] == "reaper: no progress for 31m (threshold 30m) — blocking"


@pytest.mark.parametrize("adopt", [True, False])
def test_an_uncommitted_comment_is_a_sign_of_life(watch: Watch, adopt: bool) -> None:
    """Two agents fell silent 40 minutes ago; one of them comments, which bd leaves uncommitted."""
    watch.settings = replace(watch.settings, adopt=adopt)
    for bead in ("bd-dead", "bd-alive"):
        watch.engine.query(
            "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes, assignee, status, updated_at) "
            "VALUES (?, 't', '', '', '', '', 'agent', 'in_progress', UTC_TIMESTAMP() - INTERVAL 40 MINUTE)",
            (bead,),
        )
    watch.engine.query("CALL DOLT_ADD('issues')")
    watch.engine.query("CALL DOLT_COMMIT('-m', 'by hand', '--date', ?)", (f"{_ago(watch, 40):%Y-%m-%dT%H:%M:%SZ}",))
    watch.bd.run("comment", "bd-alive", "still at it")
    assert "comments" in watch.engine.dirty()
    assert watch.reap()[0].reaped == 1
    assert [watch.shown(bead)["status"] for bead in ("bd-dead", "bd-alive")] == ["blocked", "in_progress"]
    assert ("comments" in watch.engine.dirty()) is not adopt


def _ago(watch: Watch, minutes: int) -> datetime:
    now = utc(watch.engine.query("SELECT UTC_TIMESTAMP(6)")[0][0])
    assert now is not None
    return now - timedelta(minutes=minutes)


def test_a_person_s_own_run_is_reaped_too(watch: Watch) -> None:
    bead = watch.bd.create("by hand", "-a", "agent")
    watch.bd.run("update", bead, "-s", "in_progress")
    watch.later = timedelta(minutes=40)
    assert watch.reap()[0].reaped == 1
    assert watch.shown(bead)["status"] == "blocked"


def test_flatten_between_two_ticks(watch: Watch) -> None:
    first = watch.bd.create("first", *CRITERIA, "-p", "0")
    watch.dispatch()
    second = watch.bd.create("second", *CRITERIA)
    watch.bd.run("flatten", "--force")
    outcome, _ = watch.dispatch()
    assert outcome.dispatched == 0  # the first holds the only slot
    watch.bd.run("close", first)
    assert watch.dispatch()[0].dispatched == 1
    assert watch.kinds(first) == watch.kinds(second) == ["claim", "dispatched"]
    assert watch.kinds("") == ["resync"]
    assert len(watch.board.dispatches) == 2


def test_an_idle_tick_is_one_query_and_writes_nothing(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.bd.create("do it", *CRITERIA)
    watch.dispatch()
    watch.dispatch()
    asked: list[str] = []
    query = watch.engine.query
    monkeypatch.setattr(watch.engine, "query", lambda sql, params=(): (asked.append(sql), query(sql, params))[1])
    before = watch.head(), watch.engine.query("SELECT dolt_hashof_db('WORKING')")
    asked.clear()
    watch.dispatch()
    assert len(asked) == 1
    assert (watch.head(), watch.engine.query("SELECT dolt_hashof_db('WORKING')")) == before


def test_five_hundred_at_once_go_one_by_one(watch: Watch) -> None:
    with watch.engine.transaction() as tx:
        for start in range(0, 500, 100):
            rows = ", ".join(
                f"('bd-x{n:03}', 't', '', '', 'must', '', 'agent')" for n in range(start, start + 100)
            )  # fmt: skip
            tx.execute(
                "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes, assignee) "
                f"VALUES {rows}"
            )
        tx.dolt_commit(["issues"], "bulk", "p <p@p>")
    outcome, _ = watch.dispatch()
    assert (outcome.dispatched, len(watch.board.dispatches)) == (1, 1)
    assert watch.kinds("bd-x000") == ["claim", "dispatched"]


def test_an_assignee_changed_under_our_claim_is_seen_as_theirs(watch: Watch) -> None:
    """SQL-committed, not Dolt-committed: our claim's commit sweeps it in."""
    watch.settings = replace(watch.settings, adopt=False)
    bead = watch.bd.create("do it", *CRITERIA)
    with watch.engine.transaction() as tx:
        tx.execute("UPDATE issues SET priority = 0 WHERE id = ?", (bead,))
        tx.commit()
    assert watch.dispatch()[0].dispatched == 1
    record = watch.engine.query("SELECT record FROM watch_bead WHERE bead_id = ?", (bead,))[0][0]
    assert json.loads(record)["sign"]["what"] == "priority"
