"""The situations in which workers are killed: the origin of each bead, the target's answer, and the
effects that a sweep must meet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dolt_watch.core.decisions.policy import Scope
from dolt_watch.core.model import EntryKind
from tests.faults.board import LOST
from tests.support.servers import call

if TYPE_CHECKING:
    from tests.faults.world import World

DISPATCH, TICK = Scope(dispatch=True), Scope(dispatch=True, reap=True)
LONG = timedelta(hours=1)


@dataclass(frozen=True)
class Scenario:
    """One bead a round. ``untouched``: the kinds of its entries if no worker is killed."""

    name: str
    untouched: tuple[EntryKind, ...]
    prepare: Callable[[World, str], None]
    answers: tuple[int | str, ...] = ()
    settings: tuple[str, ...] = ()
    scope: Scope = DISPATCH
    service: bool = False
    """Is the service behind BeadBoard asked too? Then it can say that nothing runs."""
    on_unknown: str = "block"
    """'retry' where a job that runs would say so: here no agent does."""
    rewrites: bool = False
    """History is rewritten in each round."""
    must: tuple[str, ...] = ()
    """Effects that the sweep must have met, beyond those that each scenario has."""

    def __str__(self) -> str:
        return self.name

    def plan(self) -> deque[int | str]:
        """The board's answers to one bead."""
        return deque(self.answers)


def due(world: World, bead: str) -> None:
    """A bead that should be dispatched."""
    world.commit(f"bd: create {bead}", insert(bead))


def silent(world: World, bead: str) -> None:
    """A person's own run that has said nothing for an hour by the workers' clock, which is
    ahead.
    """
    world.commit(f"bd: create {bead}", insert(bead, "in_progress"))
    world.shift += LONG


def overwritten(world: World, bead: str) -> None:
    """The bead was dispatched, and then a `bd note` that had read the row before overwrote the
    notes of dolt_watch.
    """
    due(world, bead)
    world.recover()
    assert len(world.notes(bead)) == 2
    world.commit(f"bd: note {bead}", f"UPDATE issues SET notes = 'by a person' WHERE id = '{bead}'")


def flattened(world: World, bead: str) -> None:
    """All of history becomes one commit, as `bd flatten` does it; then something is due."""
    due(world, bead)
    with world.open() as engine:
        *_, first = engine.commits(None, world.head(engine))
        call(engine, "dolt_reset", "--soft", first.hash)
        call(engine, "dolt_commit", "-A", "-m", "flatten", "--author", "ada <ada@example.com>")


def restored(world: World, bead: str) -> None:
    """History was set back, so that the last rows of the ledger are gone: those of a bead without
    an attempt.

    Then something is due.
    """
    with world.open() as engine:
        before = world.head(engine)
    world.commit("bd: create", insert(f"{bead}-gone"))
    world.recover()
    with world.open() as engine:
        call(engine, "dolt_reset", "--hard", before)
    due(world, bead)


def uncommitted(world: World, bead: str) -> None:
    """Rows of another writer, SQL-committed only."""
    with world.open() as engine, engine.transaction() as tx:
        tx.execute(insert(bead))
        tx.commit()


def insert(bead: str, status: str = "open") -> str:
    return (
        "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes, assignee,"
        f" status) VALUES ('{bead}', 't', '', '', 'it works', '', 'agent', '{status}')"
    )


CLAIM, SENT = EntryKind.CLAIM, (EntryKind.CLAIM, EntryKind.DISPATCHED)
SCENARIOS = (
    Scenario(
        "accepted",
        SENT,
        due,
        must=("dolt_commit claim", "target.dispatch", "dolt_commit dispatched"),
    ),
    Scenario(
        "refused",
        (CLAIM, EntryKind.FAILED, *SENT),
        due,
        answers=(400,),
        must=(
            "dolt_commit claim",
            "target.dispatch",
            "dolt_commit failed",
            "dolt_commit dispatched",
        ),
    ),
    Scenario(
        "busy",
        (CLAIM, EntryKind.BUSY, *SENT),
        due,
        answers=(409,),
        must=("dolt_commit claim", "target.dispatch", "dolt_commit busy", "dolt_commit dispatched"),
    ),
    Scenario(
        "answer lost",
        (CLAIM, EntryKind.UNKNOWN, EntryKind.GIVE_UP),
        due,
        answers=(LOST,),
        must=("dolt_commit claim", "target.dispatch", "dolt_commit unknown", "dolt_commit give-up"),
    ),
    Scenario(
        "evidence",
        SENT,
        due,
        service=True,
        must=("dolt_commit claim", "target.dispatch", "dolt_commit dispatched"),
    ),
    Scenario("reaped", (EntryKind.REAP,), silent, scope=TICK, must=("dolt_commit reap",)),
    Scenario(
        "quarantined",
        (CLAIM, EntryKind.QUARANTINED),
        due,
        answers=(500,),
        settings=("rules.agent.max_attempts=1",),
        must=("dolt_commit claim", "target.dispatch", "dolt_commit quarantined"),
    ),
    Scenario("note overwritten", (*SENT, EntryKind.NOTE), overwritten, must=("dolt_commit note",)),
    Scenario(
        "flattened",
        SENT,
        flattened,
        rewrites=True,
        must=(
            "dolt_commit resync",
            "dolt_commit claim",
            "target.dispatch",
            "dolt_commit dispatched",
        ),
    ),
    Scenario(
        "restored",
        SENT,
        restored,
        rewrites=True,
        must=(
            "dolt_commit resync",
            "dolt_commit claim",
            "target.dispatch",
            "dolt_commit dispatched",
        ),
    ),
    Scenario(
        "adopted",
        SENT,
        uncommitted,
        must=(
            "dolt_commit adopt",
            "dolt_commit claim",
            "target.dispatch",
            "dolt_commit dispatched",
        ),
    ),
)
EVERYWHERE = ("begin", "update watch_cursor", "update watch_cursor (save)", "commit")
