"""A small world for the stateful test: a DoltLite file, virtual time, users, agents and workers.

The agent service knows its runs. Nothing here is random, because the test decides each act and its
time. A ``Mishap`` is set beforehand and hits the worker that ticks. At its n-th effect the worker
is killed, or another writer acts.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from dolt_watch.cli.composition import identity, ledger
from dolt_watch.clock import FixedClock
from dolt_watch.config import Settings
from dolt_watch.controller.tick_result import TickResult
from dolt_watch.core.decisions.policy import Scope
from dolt_watch.core.model import GLOBAL, Decision, EntryKind, Rule
from dolt_watch.core.rules.compiled_rule import CompiledRule, compile_for
from dolt_watch.engines import Param, Row
from dolt_watch.engines.address import FileAddress
from dolt_watch.engines.doltlite.engine import DoltLiteEngine
from dolt_watch.errors import NothingToCommit
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.protocol import Target
from dolt_watch.targets.settings import BeadBoardSettings
from tests.faults.stateful_service import HttpService, Run, Service
from tests.stubs.beadboard import BeadBoardStub
from tests.support import beads
from tests.support.lines import build

BEGINNING = datetime(2031, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
BOTH, DISPATCH, REAP = Scope(dispatch=True, reap=True), Scope(dispatch=True), Scope(reap=True)


class Killed(BaseException):
    """The end of the worker's process."""


@dataclass(frozen=True)
class Mishap:
    """The act at the ``after``-th effect of the worker. Without ``act``, the worker is killed."""

    after: int
    act: Callable[[], None] | None = None


class DatedEngine(DoltLiteEngine):
    """An engine that dates commits by the world's clock."""

    def __init__(self, path: str, clock: FixedClock) -> None:
        self.clock = clock
        super().__init__(path)

    def execute_sqlite(self, sql: str, params: Sequence[Param] = ()) -> tuple[list[Row], int]:
        if sql.startswith("SELECT dolt_commit("):
            sql, params = (
                sql[:-1] + ", '--date', ?)",
                (*params, f"{self.clock.moment:%Y-%m-%dT%H:%M:%SZ}"),
            )
        return super().execute_sqlite(sql, params)


class WorkersEngine(DatedEngine):
    """A worker's engine. A mishap can happen before a transaction, or before or after a commit."""

    def __init__(self, path: str, world: World) -> None:
        self.world = world
        super().__init__(path, world.clock)

    def execute_sqlite(self, sql: str, params: Sequence[Param] = ()) -> tuple[list[Row], int]:
        if sql == "BEGIN IMMEDIATE":
            self.world.effect("begin")
        elif sql == "COMMIT" or sql.startswith("SELECT dolt_commit("):
            self.world.effect("commit", locked=True)
        done = super().execute_sqlite(sql, params)
        if sql == "COMMIT":
            self.world.effect("committed")
        return done


class World:
    """The tracker, its users, the service and the workers.

    A violation raises AssertionError when it happens.
    """

    def __init__(
        self, template: Path, file: Path, rule: Rule, board: BeadBoardStub | None = None
    ) -> None:
        shutil.copyfile(template, file)
        self.path = str(file)
        self.clock = FixedClock(BEGINNING)
        self.rule = rule
        self.settings = Settings(
            FileAddress(self.path),
            rules=(rule,),
            targets={rule.target: BeadBoardSettings(rule.target)},
            settle=2 * SECOND,
        )
        self.service = HttpService(self, board) if board else Service(self)
        self.target: Target = self.service
        self.hand = DatedEngine(self.path, self.clock)
        """The connection of all users and agents."""
        self.base = self.head()
        self.compiled = compiled_for(tuple(self.hand.columns("issues").items()))
        self.mishap: Mishap | None = None
        self.effects = self.mishaps = self.rewrites = self.ticks = 0
        self.bent = False
        """Whether history is no longer a line from which the state can be computed."""
        self.resyncs: int | None = None
        """Number of resyncs in the ledger when history was rewritten behind the cursor.

        One more must follow.
        """
        self.cursors: list[str] = []
        """Position of the cursor after each step."""
        self.every: set[str] = set()
        self.overwritten: set[str] = set()
        """Watched beads whose notes another writer overwrote.

        dolt_watch must restore its notes there.
        """
        self.torn: set[str] = set()
        """Beads whose notes may lack lines.

        They were overwritten while not watched, rebuilt, or changed by a rewrite of history.
        """
        self.said: list[str] = []
        self.workers = [Worker(self) for _ in range(3)]
        self.workers[0].tick(BOTH)  # The state is applied from this first start on.

    def close(self) -> None:
        self.hand.close()
        for worker in self.workers:
            worker.engine.close()

    def head(self) -> str:
        return str(self.hand.query("SELECT HASHOF('HEAD')")[0][0])

    def rows(self, sql: str, *params: Param) -> list[Row]:
        return self.hand.execute_sqlite(sql, params)[0]

    def recorded_resyncs(self) -> int:
        return int(self.rows("SELECT COUNT(*) FROM watch_decision WHERE kind = 'resync'")[0][0])

    # -- mishaps of workers --------------------

    def effect(self, name: str, locked: bool = False) -> None:
        """Let the mishap happen if it is due. Called before and after each change by a worker.

        Args:
            locked: Whether the worker has locked the file, so that no other writer can act.
        """
        self.effects += 1
        mishap = self.mishap
        if mishap is None:
            return
        if mishap.after > 0 or (locked and mishap.act is not None):
            self.mishap = replace(mishap, after=mishap.after - 1)
            return
        self.mishap = None
        self.mishaps += 1
        if mishap.act is None:
            raise Killed(name)
        mishap.act()

    def sent(self, run: Run) -> None:
        """Check that a dispatch call that arrives at the service is allowed."""
        claims = self.rows(
            "SELECT bead_id, version, decided_at FROM dolt_at_watch_decision(?) WHERE token = ? AND"
            " kind = 'claim'",
            self.head(),
            run.token,
        )
        assert [claim[0] for claim in claims] == [run.bead], "history has no claim with this token"
        assert run.token not in [earlier.token for earlier in self.service.runs], (
            "one token, sent twice"
        )
        for earlier in self.service.runs:
            if (
                earlier.bead == run.bead
                and earlier.maybe
                and not (earlier.stepped_in or earlier.forgotten)
            ):
                ended = self.rows(
                    "SELECT kind FROM watch_decision WHERE token = ? AND kind = 'requeue'",
                    earlier.token,
                )
                assert ended and self.rule.on_stale == "requeue", f"a second run beside {earlier}"
        pauses = self.rows(
            "SELECT kind, detail ->> 'until' FROM watch_decision WHERE bead_id = '' AND kind IN"
            " ('pause', 'resume') AND decided_at <= ? ORDER BY version DESC LIMIT 1",
            claims[0][2],
        )
        if pauses and pauses[0][0] == "pause":
            assert pauses[0][1] and pauses[0][1] <= claims[0][2].replace(" ", "T"), (
                "claimed while paused"
            )

    # -- users and agents --------------------

    def second(self) -> str:
        return f"{self.clock.moment:%Y-%m-%d %H:%M:%S}"

    def commit(self, who: str, what: str) -> None:
        with suppress(NothingToCommit):
            self.hand.execute_sqlite(
                "SELECT dolt_commit('-A', '-m', ?, '--author', ?)",
                (sanitize(what), f"{who} <{who}@example.com>"),
            )

    def create(
        self, bead: str, assignee: str | None, priority: int, *, commit: bool = True
    ) -> None:
        self.every.add(bead)
        self.hand.execute_sqlite(
            "INSERT OR IGNORE INTO issues (id, title, description, design, acceptance_criteria,"
            " notes, assignee, priority, created_at, updated_at) VALUES (?, 't', '', '', 'must',"
            " '', ?, ?, ?, ?)",
            (bead, assignee, priority, self.second(), self.second()),
        )
        if commit:
            self.commit("anna", f"create {bead}")

    def change(self, bead: str, who: str = "anna", *, commit: bool = True, **cells: Param) -> None:
        """Change a row, add the event and commit, as `bd update` does."""
        if not self.rows("SELECT 1 FROM issues WHERE id = ?", bead):
            return
        if {"status", "assignee", "acceptance_criteria"} & cells.keys():
            self.step_in(bead)
        sets = ", ".join(f"{name} = ?" for name in cells)
        self.hand.execute_sqlite(
            f"UPDATE issues SET {sets}, updated_at = ? WHERE id = ?",
            (*cells.values(), self.second(), bead),
        )
        self.hand.execute_sqlite(
            "INSERT INTO events (id, issue_id, event_type, actor, created_at) VALUES (?, ?,"
            " 'updated', ?, ?)",
            (
                f"e{self.effects}-{self.clock.moment.timestamp()}-{bead}-{len(self.said)}",
                bead,
                who,
                self.second(),
            ),
        )
        self.clock.sleep(0.001)
        if commit:
            self.commit(who, f"update {bead}")

    def step_in(self, bead: str) -> None:
        if bead in self.overwritten:
            self.torn.add(bead)
        for run in self.service.runs:
            if run.bead == bead:
                run.stepped_in = True

    def delete(self, bead: str) -> None:
        self.step_in(bead)
        self.torn.add(bead)
        self.hand.execute_sqlite("DELETE FROM issues WHERE id = ?", (bead,))
        self.commit("anna", f"delete {bead}")

    def note(self, bead: str, text: str, who: str = "agent") -> None:
        """Read the notes, and write all of them with a line added, as `bd note` does."""
        for (notes,) in self.rows("SELECT notes FROM issues WHERE id = ?", bead):
            self.change(bead, who, notes=f"{notes}\n{text}" if notes else text)

    def overwrite(self, bead: str, lines: int) -> None:
        """Write notes that were read before the last ``lines`` lines existed, as `bd note` may."""
        for (notes,) in self.rows("SELECT notes FROM issues WHERE id = ?", bead):
            if notes:
                watched = self.rows(
                    "SELECT 1 FROM watch_bead WHERE bead_id = ? AND record <> ''", bead
                )
                (self.overwritten if watched else self.torn).add(bead)
                self.change(bead, "agent", notes="\n".join([*notes.split("\n")[:-lines], "over"]))

    def comment(self, bead: str) -> None:
        if self.rows("SELECT 1 FROM issues WHERE id = ?", bead):
            self.clock.sleep(0.001)
            key = f"c{self.clock.moment.timestamp()}"
            self.hand.execute_sqlite(
                "INSERT OR IGNORE INTO comments (id, issue_id, author, text, created_at) VALUES (?,"
                " ?, 'agent', 'x', ?)",
                (key, bead, self.second()),
            )
            self.commit("agent", f"comment {bead}")

    def label(self, bead: str) -> None:
        if self.rows("SELECT 1 FROM issues WHERE id = ?", bead):
            self.hand.execute_sqlite(
                "INSERT OR IGNORE INTO labels (issue_id, label) VALUES (?, 'red')", (bead,)
            )
            self.commit("anna", f"label {bead}")

    def block_by(self, bead: str, blocker: str) -> None:
        if bead != blocker and self.rows("SELECT 1 FROM issues WHERE id = ?", bead):
            self.hand.execute_sqlite(
                "INSERT OR IGNORE INTO dependencies (issue_id, depends_on_id, created_by) VALUES"
                " (?, ?, 'anna')",
                (bead, blocker),
            )
            self.commit("anna", f"{bead} waits for {blocker}")

    def agent_ends(self, bead: str, status: str | None) -> None:
        """Let the agent close its bead, set another status, or (None) die."""
        run = self.service.alive(bead)
        if run is None:
            return
        run.alive = run.maybe = False
        if status:
            cells: dict[str, Any] = {"status": status} | (
                {"closed_at": self.second()} if status == "closed" else {}
            )
            self.change(bead, "agent", **cells)

    def switch(
        self, kind: EntryKind, until: timedelta | None = None, reaping: bool = False
    ) -> None:
        """Record the entry of `dolt_watch pause` or `dolt_watch resume`."""
        self.clock.sleep(1)
        end = (self.clock.moment + until).isoformat() if until else None
        decision = Decision(
            kind, GLOBAL, "", 0, "", reason="by hand", detail={"until": end, "reaping": reaping}
        )
        ledger(self.hand, self.settings, self.clock).record(decision)


@cache
def compiled_for(columns: tuple[tuple[str, str], ...]) -> tuple[list[CompiledRule], list[str]]:
    """Compile the one rule of all worlds. Compiling costs more than a tick, so it is cached."""
    return [compile_for(Rule("agent"), dict(columns), "sqlite")], [name for name, _ in columns]


class Worker:
    """One process, with its own connection and loop."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.start()

    def start(self) -> None:
        world = self.world
        self.engine = WorkersEngine(world.path, world)
        self.loop = build(
            self.engine, world.settings, lambda name: world.target, world.clock, world.said.append
        )

    def tick(self, scope: Scope, mishap: Mishap | None = None) -> TickResult | None:
        """Run a tick. Return None if the worker was killed and replaced."""
        self.world.mishap = mishap
        self.world.ticks += 1
        try:
            return self.loop.tick(scope)
        except Killed:
            self.engine.close()
            self.start()
            return None
        finally:
            self.world.mishap = None


def template(folder: Path) -> Path:
    """Return a database file with the tables of bd and dolt_watch. Each world is a copy."""
    file = folder / "template.db"
    engine = DoltLiteEngine(str(file), create=True)
    beads.create_tracker(engine, identity(Settings(FileAddress(str(file)))).author)
    engine.close()
    return file
