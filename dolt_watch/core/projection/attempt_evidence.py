"""Evidence about an attempt under way, from the changes of other writers. Pure.

A change shows that the attempt runs, or nothing, because bd imported an old row again.
"""

from __future__ import annotations

from datetime import timedelta

from dolt_watch.core.model import (
    IN_FLIGHT,
    OPEN,
    ActivitySignal,
    Bead,
    Event,
    Origin,
    Phase,
    RuleMatch,
)

CLAIMED_CELLS = frozenset(("notes", "started_at"))
"""Cells that a claim sets and that reopening a bead doesn't reset."""


def proves_running(bead: Bead, sign: ActivitySignal) -> bool:
    """Return whether a sign of life is evidence that the attempt runs.

    A row written before the claim is no evidence, even if a later commit contains it. Times of rows
    are in whole seconds.
    """
    written = sign.at + min(timedelta(), timedelta(seconds=sign.off + 1))
    return bead.sent_at is not None and written >= bead.sent_at


def is_stale_import(bead: Bead, event: Event) -> bool:
    """Return whether an old row was imported over an attempt under way.

    bd does that (a build of May 2026 with every command), and it must not lead to a second agent.
    Such a row is older than the claim by its own time, and the cells that the claim set are gone.
    The time alone is not enough: a user who reopens a bead may have a wrong clock.
    """
    sign, sent = event.sign, bead.sent_at
    if bead.phase not in IN_FLIGHT or not bead.token or sign is None or sent is None:
        return False
    if event.row is not None:
        is_open = event.row.after.get("status") == OPEN
    else:  # A what-if simulation has no rows, only their consequences.
        is_open = event.facts is not None and bool(event.facts.matches)
    older = sign.off < 0 and sign.at + timedelta(seconds=sign.off) < sent.replace(microsecond=0)
    return is_open and older and not CLAIMED_CELLS.isdisjoint(event.changed)


def kept(bead: Bead, event: Event) -> bool:
    """Return whether the attempt survives a change after which its row no longer runs.

    It does unless a user freed the bead.
    """
    if not bead.token or (bead.phase not in IN_FLIGHT and bead.phase is not Phase.HELD):
        return False
    facts = event.facts or RuleMatch()
    return (
        bead.rule not in facts.running
        and event.origin is not Origin.ACT
        and bead.token not in event.freed
    )
