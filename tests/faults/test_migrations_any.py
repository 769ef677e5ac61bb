"""Any schema changes between decisions. Ticks continue, and commands read the history."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolt_watch.engines.address import FileAddress, ServerAddress
from tests.support import migrating
from tests.support.history import History
from tests.support.matrix import few_or_many
from tests.support.servers import Server

TABLES = ("issues", "comments", "events", "labels", "dependencies")
FOREIGN_KEYS = {"labels": "fk_labels_issue"}

Step = tuple[str, str, int]


def steps(kinds: Sequence[str]) -> st.SearchStrategy[list[Step]]:
    """Return steps (what, table, number): an act of a user, a tick, or a change of a schema."""
    one = st.tuples(st.sampled_from(kinds), st.sampled_from(TABLES), st.integers(0, 2))
    return st.lists(one, min_size=4, max_size=14)


COMMON = ["tick", "tick", "new", "edit", "comment", "close", "add", "add default", "drop", "rename"]


class Migrating:
    """A runner of steps. They change only columns that the test created."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.made: dict[str, list[str]] = {table: [] for table in TABLES}
        self.beads: list[str] = []
        self.rekeyed = False
        self.number = 0

    def take(self, step: Step) -> None:
        what, table, number = step
        history = self.history
        history.clock.moment += timedelta(minutes=1)
        self.number += 1
        mine = self.made[table]
        bead = self.beads[number % len(self.beads)] if self.beads else None
        if what == "tick":
            history.tick()
        elif what == "new":
            self.beads.append(f"bd-{self.number}")
            history.new(self.beads[-1])
        elif what == "edit" and bead:
            history.set(bead, title=f"t{self.number}")
        elif what == "comment" and bead:
            history.comment(bead)
        elif what == "close" and bead:
            history.set(bead, status="closed")
        elif what in ("add", "add default"):
            mine.append(f"spare_{self.number}")
            default = " NOT NULL DEFAULT 7" if what == "add default" else ""
            self.alter(table, f"ADD COLUMN {mine[-1]} INT{default}")
        elif what == "drop" and mine:
            self.alter(table, f"DROP COLUMN {mine.pop(number % len(mine))}")
        elif what == "rename" and mine:
            old = mine.pop(number % len(mine))
            mine.append(f"renamed_{self.number}")
            self.alter(table, f"RENAME COLUMN {old} TO {mine[-1]}")
        elif what == "retype":
            kind = "LONGTEXT" if number else "MEDIUMTEXT"
            self.alter("comments", f"MODIFY COLUMN text {kind} NOT NULL")
        elif what == "re-key":
            keys = ("label, issue_id", "issue_id, label")
            first = (
                ()
                if self.rekeyed
                else (f"ALTER TABLE labels DROP FOREIGN KEY {FOREIGN_KEYS['labels']}",)
            )
            self.rekeyed = True
            alter = "ALTER TABLE labels"
            migrating.migrate(
                history,
                *first,
                f"{alter} DROP PRIMARY KEY",
                f"{alter} ADD PRIMARY KEY ({keys[self.number % 2]})",
            )

    def alter(self, table: str, change: str) -> None:
        """Commit a schema change, at once or after a tick that must not commit any part of it."""
        history = self.history
        migrating.ddl(history, f"ALTER TABLE {table} {change}")
        if self.number % 2:
            head, before = history.head(), history.engine.unmigrated()
            history.tick()
            assert history.engine.unmigrated() == before, (head, history.head())
        migrating.commit(history)

    def check(self) -> None:
        history = self.history
        history.clock.moment += timedelta(minutes=1)
        history.tick()
        assert all(count == 1 for count in migrating.sent(history).values()), migrating.sent(
            history
        )
        migrating.held(history, beads=2)


def explore(examples: int, kinds: Sequence[str], live: Callable[[list[Step]], None]) -> None:
    """Run this number of generated histories with these kinds of steps."""
    settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])(
        given(taken=steps(kinds))(live)
    )()


def lived(address: ServerAddress | FileAddress, taken: list[Step]) -> None:
    with migrating.closing(
        migrating.tracker(address, max_in_flight="9", stale_after="10h")
    ) as history:
        tracker = Migrating(history)
        tracker.take(("new", "issues", 0))
        tracker.take(("tick", "issues", 0))
        for step in taken:
            tracker.take(step)
        tracker.check()


@pytest.mark.long
@pytest.mark.parametrize("examples", few_or_many(1, 5))
def test_on_dolt(dolt_server: Server, examples: int) -> None:
    def on_a_fresh_one(taken: list[Step]) -> None:
        address = dolt_server.fresh()
        try:
            lived(address, taken)
        finally:
            dolt_server.drop(address)

    explore(examples, [*COMMON, "retype", "re-key"], on_a_fresh_one)


@pytest.mark.long
@pytest.mark.parametrize("examples", few_or_many(1, 5))
def test_on_doltlite(doltlite_path: FileAddress, examples: int) -> None:
    folder = Path(doltlite_path.path).parent

    def on_a_fresh_one(taken: list[Step]) -> None:
        lived(FileAddress(str(folder / f"{secrets.token_hex(6)}.db")), taken)

    explore(examples, COMMON, on_a_fresh_one)
