"""Users, agents, workers, crashes, time and rewrites at random.

See ``stateful_world`` and ``stateful_promises``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dolt_watch.core.model import EntryKind, Rule
from dolt_watch.errors import Conflict, OutcomeNotRecorded
from tests.faults.stateful_history import History
from tests.faults.stateful_promises import become_quiet, check, check_resynced
from tests.faults.stateful_service import Says
from tests.faults.stateful_world import BOTH, DISPATCH, REAP, Mishap, World, template
from tests.stubs.beadboard import BeadBoardStub
from tests.support.matrix import few_or_many

BEADS = st.sampled_from(["b0", "b1", "b2"])
OFFERED = BEADS | st.just("")
SAYS = st.sampled_from([Says.ACCEPTED, *Says])
SCOPES = st.sampled_from([BOTH, DISPATCH, REAP])
STATUSES = st.sampled_from(["open", "closed", "blocked", "in_progress"])
SPANS = st.sampled_from([3, 30, 90, 200, 11 * 60, 35 * 60, 65 * 60, 3 * 3600])
ACTS = st.sampled_from(
    [
        "reopen",
        "unassign",
        "close",
        "delete",
        "comment",
        "overwrite",
        "edit",
        "edit unsaved",
        "reopen unsaved",
        "start",
        "pause",
        "tick",
        "reset",
        "flatten",
    ]
)
counted: Counter[str] = Counter()


class Everybody(RuleBasedStateMachine):
    """A state machine whose rules are the acts of users, agents, workers and the service."""

    folder: Path
    board: BeadBoardStub | None = None
    made = 0

    @initialize(
        on_stale=st.sampled_from(["block", "requeue"]),
        flying=st.integers(1, 2),
        attempts=st.integers(1, 3),
    )
    def begin(self, on_stale: str, flying: int, attempts: int) -> None:
        Everybody.made += 1
        made = Rule("agent", on_stale=on_stale, max_in_flight=flying, max_attempts=attempts)
        self.world = World(
            self.folder / "template.db", self.folder / f"world{Everybody.made}.db", made, self.board
        )
        self.history = History(self.world)

    def after(self, what: str) -> None:
        counted["steps"] += 1
        counted[what] += 1
        if what in ("ticks", "rewrites"):
            # A tick has to apply other acts to the state first.
            check(self.world)
        self.world.clock.sleep(1)

    # -- users --------------------

    @rule(bead=BEADS, priority=st.integers(0, 4), assigned=st.booleans(), saved=st.booleans())
    def create(self, bead: str, priority: int, assigned: bool, saved: bool) -> None:
        self.world.create(bead, "agent" if assigned else None, priority, commit=saved)
        self.after("people")

    @rule(
        bead=BEADS,
        cells=st.sampled_from(
            [
                {"assignee": "agent"},
                {"assignee": "bo"},
                {"assignee": "agent", "status": "open"},
                {"acceptance_criteria": ""},
                {"acceptance_criteria": "more"},
                {"title": "t"},
                {"priority": 0},
            ]
        ),
        saved=st.booleans(),
    )
    def edit(self, bead: str, cells: dict[str, Any], saved: bool) -> None:
        self.world.change(bead, **cells, commit=saved)
        self.after("people")

    @rule(bead=BEADS, status=STATUSES, saved=st.booleans())
    def set_status(self, bead: str, status: str, saved: bool) -> None:
        self.world.change(bead, status=status, commit=saved)
        self.after("people")

    @rule(bead=BEADS, other=BEADS, what=st.sampled_from(["delete", "block", "label", "commit"]))
    def arrange(self, bead: str, other: str, what: str) -> None:
        match what:
            case "delete":
                self.world.delete(bead)
            case "block":
                self.world.block_by(bead, other)
            case "label":
                self.world.label(bead)
            case _:
                self.world.commit("anna", "rest")
        self.after("people")

    @rule(
        how=st.sampled_from(
            ["resume", "resume", "resume", "resume", "pause", "for an hour", "pause all"]
        )
    )
    def switch(self, how: str) -> None:
        try:
            match how:
                case "resume":
                    self.world.switch(EntryKind.RESUME)
                case "for an hour":
                    self.world.switch(EntryKind.PAUSE, until=timedelta(hours=1))
                case _:
                    self.world.switch(EntryKind.PAUSE, reaping=how == "pause all")
        except (Conflict, OutcomeNotRecorded):
            assert self.history.merging
        self.after("people")

    # -- agents --------------------

    @rule(
        bead=BEADS,
        what=st.sampled_from(
            ["note", "comment", "closed", "blocked", "die", "overwrite", "overwrite 2"]
        ),
    )
    def agent(self, bead: str, what: str) -> None:
        match what:
            case "note":
                self.world.note(bead, "progress")
            case "comment":
                self.world.comment(bead)
            case "closed" | "blocked":
                self.world.agent_ends(bead, what)
            case "die":
                self.world.agent_ends(bead, None)
            case _:
                self.world.overwrite(bead, 2 if what.endswith("2") else 1)
        self.after("agents")

    # -- workers --------------------

    @rule(worker=st.integers(0, 2), scope=SCOPES)
    def tick(self, worker: int, scope: Any) -> None:
        self.ticked(worker, scope)

    @rule(worker=st.integers(0, 2), bead=OFFERED, says=st.lists(SAYS, min_size=1, max_size=2))
    def tick_answered(self, worker: int, bead: str, says: list[Says]) -> None:
        self.offer(bead, says)
        self.ticked(worker, BOTH)

    @rule(worker=st.integers(0, 2), scope=SCOPES, after=st.integers(0, 12), bead=OFFERED, says=SAYS)
    def tick_killed(self, worker: int, scope: Any, after: int, bead: str, says: Says) -> None:
        self.offer(bead, [says])
        self.ticked(worker, scope, Mishap(after))

    @rule(
        worker=st.integers(0, 2),
        after=st.integers(0, 12),
        act=ACTS,
        bead=BEADS,
        offered=st.booleans(),
        says=SAYS,
    )
    def tick_disturbed(
        self, worker: int, after: int, act: str, bead: str, offered: bool, says: Says
    ) -> None:
        self.offer(bead if offered else "", [says])
        self.ticked(worker, BOTH, Mishap(after, lambda: self.disturb(worker, act, bead)))

    def offer(self, bead: str, says: list[Says]) -> None:
        """Assign a bead to the agent in any state, and set the answers of the service."""
        self.world.service.answers = list(says)
        if bead:
            self.world.create(bead, "agent", 1)
            self.world.change(bead, assignee="agent", status="open", acceptance_criteria="must")
            self.world.clock.sleep(3)

    def ticked(self, worker: int, scope: Any, mishap: Mishap | None = None) -> None:
        mishaps = self.world.mishaps
        try:
            ended = self.world.workers[worker].tick(scope, mishap)
        except Conflict:
            assert mishap is not None
            ended = None
        counted["mishaps"] += self.world.mishaps - mishaps
        if ended is not None and not (mishap and self.world.mishaps > mishaps):
            check_resynced(self.world)
        self.after("ticks")

    def disturb(self, worker: int, act: str, bead: str) -> None:
        """Let another writer act during an effect of a worker."""
        world = self.world
        acts: dict[str, Callable[[], Any]] = {
            "reopen": lambda: world.change(bead, status="open"),
            "reopen unsaved": lambda: world.change(bead, status="open", commit=False),
            "unassign": lambda: world.change(bead, assignee=None),
            "start": lambda: world.change(bead, status="in_progress"),
            "close": lambda: world.change(bead, status="closed"),
            "delete": lambda: world.delete(bead),
            "comment": lambda: world.comment(bead),
            "overwrite": lambda: world.overwrite(bead, 1),
            "edit": lambda: world.change(bead, title="new"),
            "edit unsaved": lambda: world.change(bead, title="new", commit=False),
            "pause": lambda: (
                None
                if self.history.merging
                else world.switch(EntryKind.PAUSE, until=timedelta(minutes=20))
            ),
            "tick": lambda: world.workers[(worker + 1) % 3].tick(BOTH),
            "reset": lambda: self.history.reset(1),
            "flatten": self.history.flatten,
        }
        acts[act]()

    # -- the service, time, history --------------------

    @rule(
        slots=st.sampled_from([9, 1, None, 0]),
        down=st.sampled_from([False, False, False, True]),
        tells=st.booleans(),
    )
    def service_is(self, slots: int | None, down: bool, tells: bool) -> None:
        service = self.world.service
        service.slots, service.down, service.tells = slots, down, tells
        self.after("service")

    @rule(seconds=SPANS)
    def time_passes(self, seconds: int) -> None:
        self.world.clock.sleep(seconds)
        self.after("time")

    @rule(bead=BEADS, column=st.sampled_from(["title", "assignee", "priority", "status"]))
    def branch(self, bead: str, column: str) -> None:
        if not self.history.merging:
            self.history.branch(bead, column)
        self.after("history")

    @precondition(lambda self: self.history.side is not None)
    @rule(how=st.sampled_from(["first", "second", "begin", "end"]))
    def merge(self, how: str) -> None:
        merges = {
            "first": self.history.merge_first,
            "second": self.history.merge_second,
            "begin": self.history.begin_merge,
            "end": self.history.end_merge,
        }
        merges[how]()
        self.after("history")

    @rule(how=st.sampled_from(["reset", "flatten"]), back=st.integers(1, 5))
    def rewrite(self, how: str, back: int) -> None:
        self.history.flatten() if how == "flatten" else self.history.reset(back)
        self.after("rewrites")

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            become_quiet(self.world, self.history)
        finally:
            counted["dispatch calls"] += len(self.world.service.runs)
            self.history.drop()
            self.world.close()
            for file in self.folder.glob(f"*world{Everybody.made}.db*"):
                file.unlink()


def run(examples: int, steps: int, folder: Path, for_long: bool = False) -> None:
    counted.clear()
    template(folder)
    Everybody.folder = folder
    # There is no shrinking, which takes minutes. A story of 25 steps is readable without it.
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Everybody,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=not for_long,
            database=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            phases=[Phase.generate],
        ),
    )


@pytest.mark.long
@pytest.mark.parametrize("examples", few_or_many(4, 20))
def test_everybody(tmp_path: Path, examples: int) -> None:
    run(examples, 25, tmp_path)
    assert counted["ticks"] > 3 * examples and counted["dispatch calls"] > examples
    assert counted["mishaps"] > examples // 2


@pytest.mark.parametrize("examples", few_or_many(1, 5))
def test_everybody_over_http(tmp_path: Path, examples: int) -> None:
    with BeadBoardStub() as Everybody.board:
        try:
            run(examples, 20, tmp_path)
        finally:
            Everybody.board = None


@pytest.mark.slow
def test_everybody_for_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """DOLT_WATCH_EXAMPLES sets the number of histories, each of 50 steps."""
    run(int(os.environ.get("DOLT_WATCH_EXAMPLES", "2000")), 50, tmp_path, for_long=True)
    with capsys.disabled():
        print("\n" + ", ".join(f"{what}: {number}" for what, number in sorted(counted.items())))  # noqa: T201
