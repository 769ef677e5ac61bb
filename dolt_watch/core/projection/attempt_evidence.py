"""What a change by others says of an attempt under way: that it runs, or nothing, since an old
row was imported again. Pure.
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
"""What a claim writes and nobody takes back who sets a bead open."""


def proves_running(bead: Bead, sign: ActivitySignal) -> bool:
    """Is it evidence that the attempt runs?

    Not what was written before the claim and only came into history after it. Rows tell whole
    seconds.
    """
    written = sign.at + min(timedelta(), timedelta(seconds=sign.off + 1))
    return bead.sent_at is not None and written >= bead.sent_at


def is_stale_import(bead: Bead, event: Event) -> bool:
    """Is it an old row that was imported over an attempt under way? bd does that (a build of May
    2026 on every command), and a second agent must not come of it.

    The row is then older than the claim by its own time, and what the claim wrote is gone. Not
    by time alone: whoever sets a bead open may have a wrong clock.
    """
    sign, sent = event.sign, bead.sent_at
    if bead.phase not in IN_FLIGHT or not bead.token or sign is None or sent is None:
        return False
    if event.row is not None:
        is_open = event.row.after.get("status") == OPEN
    else:  # a what-if has no rows, only what follows from them
        is_open = event.facts is not None and bool(event.facts.matches)
    older = sign.off < 0 and sign.at + timedelta(seconds=sign.off) < sent.replace(microsecond=0)
    return is_open and older and not CLAIMED_CELLS.isdisjoint(event.changed)


def kept(bead: Bead, event: Event) -> bool:
    """Does the attempt outlive this change of its row, though the row does not run any more?

    Nobody set the bead free.
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
    """Where one commit's change of a row comes from, told by what an attempt leaves in the row.

    ``bd update --status``, ``bd assign``, ``bd close`` and ``bd reopen`` keep notes and
    ``started_at`` (bd 1.0.2 to 1.3). An older row that an import, a revert, a cherry-pick or a
    checkout of the table writes again has neither. A closed row ends an attempt, wherever it
    comes from: nothing is sent for it.
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
    )  # what nobody can take needs no second thought


def in_a_merge(came: Origin) -> Origin:
    """A merge is nobody's act by itself: a line that it brought in must have set the bead free.

    With the attempt's own notes still there somebody has put the row together by hand.
    """
    return Origin.UNCLEAR if came is Origin.ACT else came


def ends_as(act: RowChange, merged: RowChange) -> bool:
    """Is it this act on a side line that the merge brought in?

    It left status and assignee as the merge has them.
    """
    return all(act.after.get(name) == merged.after.get(name) for name in ("status", "assignee"))


def traces(cells: Mapping[str, Any]) -> frozenset[str]:
    """The lines that the current attempt wrote into the notes: ours, from the last claim on, or
    from where it was restored.
    """
    lines = [line for line in str(cells.get("notes") or "").splitlines() if is_ours(line)]
    begins = [number for number, line in enumerate(lines) if line.startswith(_BEGINS)]
    return frozenset(lines[begins[-1] :] if begins else lines)


_BEGINS = ("auto-dispatcher ", "dispatch restored: ")


def _cut(row: RowChange) -> bool:
    """Are the notes exactly what they were before the attempt wrote into them?"""
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
    "dispatch restored: ": r"(job=|attempt ).*",
    "reaper: ": (
        r"(no progress for \d+m \(threshold (<1|\d+)m\)|job .+ ended .+) — (blocking|requeued)"
    ),
}
"""How each note of ours begins, and how it goes on, to its end: the original's words, kept."""


def is_ours(line: str) -> bool:
    """By the whole line: people begin theirs with 'reaper: ' too, and may take them back."""
    return any(
        line.startswith(begins) and re.fullmatch(rest, line[len(begins) :])
        for begins, rest in OURS.items()
    )
