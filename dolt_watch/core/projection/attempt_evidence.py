"""Evidence about an attempt under way, from the changes of other writers. Pure.

A change shows that the attempt runs, or nothing, because bd imported an old row again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from dolt_watch.core.model import (
    CLOSED,
    IN_FLIGHT,
    OPEN,
    ActivitySignal,
    Bead,
    Event,
    Origin,
    Phase,
    RowChange,
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


# -- where a change of the row comes from --------------------


def origin(row: RowChange, before: RuleMatch, after: RuleMatch) -> Origin:
    """Return the origin of a commit's change of a row, by the traces of an attempt in the row.

    ``bd update --status``, ``bd assign``, ``bd close`` and ``bd reopen`` keep notes and
    ``started_at`` (bd 1.0.2 to 1.3). An older row that an import, a revert, a cherry-pick or a
    checkout of the table writes again has neither. A closed row ends an attempt in any case,
    because nothing is sent for it.
    """
    if row.after.get("status") == CLOSED:
        return Origin.ACT
    if (before.matches, before.running) == (after.matches, after.running):
        return Origin.SAME
    if not before.running or after.running:
        return Origin.ACT if row.kind != "added" else Origin.UNCLEAR
    lines, kept = traces(row.before), frozenset(str(row.after.get("notes") or "").splitlines())
    unstarted = row.before.get("started_at") is not None and row.after.get("started_at") is None
    if not kept.isdisjoint(lines) or not (lines or unstarted):
        return Origin.ACT
    if unstarted or _cut(row):
        return Origin.BACK
    return (
        Origin.UNCLEAR if after.matches else Origin.ACT
    )  # No agent can take a bead that doesn't match.


def in_a_merge(came: Origin) -> Origin:
    """Return the origin of a change by a merge.

    A merge by itself is no act of a user: a line that it brought in must contain the act. If the
    attempt's own notes are still there, a user resolved the row by hand.
    """
    return Origin.UNCLEAR if came is Origin.ACT else came


def ends_as(act: RowChange, merged: RowChange) -> bool:
    """Return whether the merged row has the status and the assignee that this act on a side line
    set.
    """
    return all(act.after.get(name) == merged.after.get(name) for name in ("status", "assignee"))


def traces(cells: Mapping[str, Any]) -> frozenset[str]:
    """Return the lines that the current attempt wrote into the notes: from the last claim or
    restore on.
    """
    lines = [line for line in str(cells.get("notes") or "").splitlines() if is_ours(line)]
    begins = [number for number, line in enumerate(lines) if line.startswith(_BEGINS)]
    return frozenset(lines[begins[-1] :] if begins else lines)


_BEGINS = ("auto-dispatcher ", "dispatch restored: ")


def _cut(row: RowChange) -> bool:
    """Return whether the notes are exactly the notes before the attempt wrote into them."""
    before, after = str(row.before.get("notes") or ""), str(row.after.get("notes") or "")
    rest = before.removeprefix(after).lstrip("\n")
    return bool(after) and before.startswith(after) and rest.startswith(_BEGINS)


OURS = {
    "auto-dispatcher ": r"claimed at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "dispatched: ": r"job=.*",
    "dispatch failed ": r".*",
    "dispatch outcome ": (
        r"unknown \(.*\): not sent again until it is known|still unknown after \d+m — blocking; set"
        r" it open to try again"
    ),
    "dispatch quarantined ": r"after -?\d+ attempts: .*; edit the bead to try again",
    "dispatch retried by ": r".+: .*",
    "dispatch released by ": r".+: .*",
    "dispatch stopped by ": r".+: .*",
    "dispatch restored: ": r"(job=|attempt ).*",
    "reaper: ": (
        r"(no progress for \d+m \(threshold (<1|\d+)m\)|job .+ ended .+) — (blocking|requeued)"
    ),
}
"""The beginning of each note of dolt_watch, and a pattern for the rest of the line."""


def is_ours(line: str) -> bool:
    """Return whether dolt_watch wrote the line.

    The whole line is compared, because users may also begin a line with 'reaper: ' and remove it
    later.
    """
    return any(
        line.startswith(begins) and re.fullmatch(rest, line[len(begins) :])
        for begins, rest in OURS.items()
    )
