"""The situations in which workers are killed.

A scenario has the origin of each bead, the target's answer, and the effects that a sweep must
include.
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
    """A situation with one bead a round.

    Args:
        untouched: Kinds of the bead's entries if no worker is killed.
    """

    name: str
    untouched: tuple[EntryKind, ...]
    prepare: Callable[[World, str], None]
    answers: tuple[int | str, ...] = ()
    settings: tuple[str, ...] = ()
    scope: Scope = DISPATCH
    service: bool = False
    """Whether BeadBoard has an agent service, which can report that nothing runs."""
    on_unknown: str = "block"
    """Use 'retry' only if a running job would report itself. Here, no agent does."""
    rewrites: bool = False
    """Whether each round rewrites history."""
    must: tuple[str, ...] = ()
    """Effects that the sweep must include, in addition to those of all scenarios."""

    def __str__(self) -> str:
        return self.name

    def plan(self) -> deque[int | str]:
        """Return the board's answers to one bead."""
        return deque(self.answers)


def due(world: World, bead: str) -> None:
    """Create a bead that is ready for dispatch."""
    world.commit(f"bd: create {bead}", insert(bead))


def silent(world: World, bead: str) -> None:
    """Create a user's own run that is silent for an hour by the clock of the workers."""
    world.commit(f"bd: create {bead}", insert(bead, "in_progress"))
    world.shift += LONG


def overwritten(world: World, bead: str) -> None:
    """Overwrite the notes of dolt_watch on a dispatched bead, as a concurrent `bd note` does."""
    due(world, bead)
    world.recover()
    assert len(world.notes(bead)) == 2
    world.commit(f"bd: note {bead}", f"UPDATE issues SET notes = 'by a person' WHERE id = '{bead}'")


def flattened(world: World, bead: str) -> None:
    """Squash all of history into one commit, as `bd flatten` does. Then create a ready bead."""
    due(world, bead)
    with world.open() as engine:
        *_, first = engine.commits(None, world.head(engine))
        call(engine, "dolt_reset", "--soft", first.hash)
        call(engine, "dolt_commit", "-A", "-m", "flatten", "--author", "ada <ada@example.com>")


def restored(world: World, bead: str) -> None:
    """Reset history, so that the last rows of the ledger are lost. Then create a ready bead.

    The lost rows belong to a bead without an attempt.
    """
    with world.open() as engine:
        before = world.head(engine)
    world.commit("bd: create", insert(f"{bead}-gone"))
    world.recover()
    with world.open() as engine:
        call(engine, "dolt_reset", "--hard", before)
    due(world, bead)


def uncommitted(world: World, bead: str) -> None:
    """Write rows as another writer, without a Dolt commit."""
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
