"""A small world for the stateful test: one DoltLite file, virtual time, users and agents, an agent
service that knows the truth, and workers.

Nothing here is random: the test decides what happens, and when. A ``Mishap`` is set beforehand and
hits the worker that ticks: at its n-th effect it is killed, or another writer acts at that moment.
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
    """The worker's process ends here."""


@dataclass(frozen=True)
class Mishap:
    """At the worker's ``after``-th effect ``act`` happens; None: it is killed."""

    after: int
    act: Callable[[], None] | None = None


class DatedEngine(DoltLiteEngine):
    """Commits are dated by the world's clock."""

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
    """Before each transaction, before each commit and after it something may happen."""

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
    """Everything at once.

    ``violations`` of what must never happen raise AssertionError in the moment in which they
    happen.
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
        """The connection of all people and agents."""
        self.base = self.head()
        self.compiled = compiled_for(tuple(self.hand.columns("issues").items()))
        self.mishap: Mishap | None = None
        self.effects = self.mishaps = self.rewrites = self.ticks = 0
        self.bent = False
        """History is no line any more by which the state could be folded from the beginning."""
        self.resyncs: int | None = None
        """History was rewritten behind the cursor, when the ledger had this many resyncs. One more
        must follow.
        """
        self.cursors: list[str] = []
        """The position of the cursor after each step."""
        self.every: set[str] = set()
        self.overwritten: set[str] = set()
        """Watched beads whose notes another writer overwrote. The notes of dolt_watch must come
        back.
        """
        self.torn: set[str] = set()
        """Beads whose notes may lack lines: overwritten while not watched, rebuilt, or after a
        rewrite of history.
        """
        self.said: list[str] = []
        self.workers = [Worker(self) for _ in range(3)]
        self.workers[0].tick(BOTH)  # the first start: from here on the state is folded

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

    # -- what befalls workers --------------------

    def effect(self, name: str, locked: bool = False) -> None:
        """A worker is about to change something, or just did.

        ``locked``: it holds the file, so no other writer can act.
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
        """A dispatch call arrives at the service: was it allowed?"""
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

    # -- people and agents --------------------

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
        """`bd update`: the row, the event, a commit."""
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
        """`bd note`: reads, then writes the whole."""
        for (notes,) in self.rows("SELECT notes FROM issues WHERE id = ?", bead):
            self.change(bead, who, notes=f"{notes}\n{text}" if notes else text)

    def overwrite(self, bead: str, lines: int) -> None:
        """A `bd note` that had read before the last ``lines`` lines existed."""
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
        """The agent closes its bead, or blocks it, or (None) just dies."""
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
        """`dolt_watch pause` and `resume`."""
        self.clock.sleep(1)
        end = (self.clock.moment + until).isoformat() if until else None
        decision = Decision(
            kind, GLOBAL, "", 0, "", reason="by hand", detail={"until": end, "reaping": reaping}
        )
        ledger(self.hand, self.settings, self.clock).record(decision)


@cache
def compiled_for(columns: tuple[tuple[str, str], ...]) -> tuple[list[CompiledRule], list[str]]:
    """Of the one rule that all worlds have; compiling costs more than a tick."""
    return [compile_for(Rule("agent"), dict(columns), "sqlite")], [name for name, _ in columns]


class Worker:
    """One process: a connection and a loop of its own."""

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
        """None: it was killed, and another was started in its place."""
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
    """The tables of bd and dolt_watch, made once. Each world is a copy."""
    file = folder / "template.db"
    engine = DoltLiteEngine(str(file), create=True)
    beads.create_tracker(engine, identity(Settings(FileAddress(str(file)))).author)
    engine.close()
    return file
