"""Events from the row changes of one commit. Pure.

A commit of dolt_watch may include uncommitted changes of other writers, even in the same row. So
ownership is decided by cell: the cells that an entry ``wrote`` are subtracted, and all other
changes belong to other writers. ``updated_at`` alone can't be attributed, so it counts for no
writer in a commit that dolt_watch wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from dolt_watch.core.model import (
    CLOSED,
    ActivitySignal,
    CommitChanges,
    Event,
    EventKind,
    LedgerEntry,
    Origin,
    RowChange,
    Rule,
    RuleMatch,
)
from dolt_watch.core.model.bead import UNKNOWN_WRITER
from dolt_watch.core.model.columns import KEPT_BY_BD, TOUCHED
from dolt_watch.core.projection.moved_rows import renames

_NOUN = {"comments": "comment", "labels": "label", "events": "event", "dependencies": "dependency"}

MAX_CLOCK_SKEW = timedelta(minutes=5)
"""Longest plausible difference between a row's own time and its commit's date.

A larger one is reported: a clock or a time zone is wrong.
"""


def derive_events(changes: CommitChanges, rules: Sequence[Rule]) -> Iterator[Event]:
    """Yield the events of one commit, bead by bead: first the entries of dolt_watch, then the
    changes of other writers.
    """
    own: dict[str, list[LedgerEntry]] = {}
    for entry in changes.entries:
        own.setdefault(entry.bead, []).append(entry)
    issues: dict[str, RowChange] = {}
    others: dict[str, list[RowChange]] = {}
    for change in changes.rows:
        if change.table == "issues":
            issues[change.bead] = change
        else:
            others.setdefault(change.bead, []).append(change)

    removed = {(side.table, side.key, side.at) for side in changes.rows if side.kind == "removed"}
    for old, new in renames(issues.values()) if removed else ():
        del issues[old.bead]
        issues[new.bead] = new
        yield Event(
            EventKind.RENAMED, new.bead, changes.commit, changes.date, row=new, other=old.bead
        )
        yield Event(
            EventKind.LEFT,
            old.bead,
            changes.commit,
            changes.date,
            facts=RuleMatch(),
            changed=("renamed",),
            row=old,
            other=new.bead,
        )

    for bead in dict.fromkeys([*own, *issues, *others]):
        entries = sorted(own.get(bead, ()), key=lambda entry: entry.version)
        row = issues.get(bead)
        facts = rule_match(row, rules) if row else None
        foreign = _foreign_columns(row, entries, changes.migration) if row else ()
        source, freed = Origin.ACT, frozenset[str]()
        if row and facts and foreign:
            source = Origin.UNCLEAR
            if row.kind != "removed":
                source = origin(row, rule_match(row, rules, before=True), facts)
            if changes.merge and row.kind != "removed" and source is not Origin.SAME:
                source, freed = in_a_merge(source), _freed_on_side_lines(row, rules)
        for entry in entries:
            yield Event(
                EventKind.LEDGER,
                bead,
                changes.commit,
                changes.date,
                facts=facts,
                entry=entry,
                row=row,
                origin=source,
                freed=freed,
            )
        if row:
            for event in _row_events(row, foreign, bool(entries), facts, changes, rules):
                yield event._replace(origin=source, freed=freed)
        written = {event for entry in entries for event in entry.wrote.events}
        for side in others.get(bead, ()):
            if side.key in written or side.kind == "removed":
                continue
            if (side.table, side.key, side.at) in removed:
                continue  # The row has another id after `bd rename`, but no writer added anything.
            what, off = _NOUN.get(side.table, side.table), _off(side.at, changes.date)
            sign = ActivitySignal(changes.date, what, side.who, changes.commit, off)
            yield Event(
                EventKind.SIGN, bead, changes.commit, changes.date, facts=facts, sign=sign, row=side
            )


def _row_events(
    row: RowChange,
    foreign: tuple[str, ...],
    has_entries: bool,
    facts: RuleMatch | None,
    changes: CommitChanges,
    rules: Sequence[Rule],
) -> Iterator[Event]:
    """Yield the events of one changed row of ``issues``.

    Args:
        row: The row change.
        foreign: The columns that other writers changed.
        has_entries: Whether the commit contains entries about the bead.
        facts: The rules under which the row matches and runs.
        changes: The commit.
        rules: The rules.
    """
    at, commit = changes.date, changes.commit
    if row.kind == "modified" and "notes" in row.changed:
        # `bd note` reads, then writes, so it may overwrite a note of dolt_watch.
        kept = set((row.after.get("notes") or "").splitlines())
        for line in (row.before.get("notes") or "").splitlines():
            if line not in kept and is_ours(line):
                yield Event(
                    EventKind.OVERWRITTEN, row.bead, commit, at, facts=facts, note=line, row=row
                )
    if row.kind == "removed":
        yield Event(
            EventKind.LEFT, row.bead, commit, at, facts=RuleMatch(), changed=("deleted",), row=row
        )
        return
    if not foreign:
        if not has_entries:
            yield from _computed(row, changes, rules)
        return
    assert facts is not None
    what = _meaning(facts, rule_match(row, rules, before=True))
    own = row.at if "updated_at" in row.changed or row.kind == "added" else None
    # Rows that a commit of dolt_watch included or adopted have another writer, whose name is not
    # known.
    who = UNKNOWN_WRITER if changes.author == "dolt-watch" else changes.author
    renamed = foreign == ("id",)  # A new id alone is no sign of life.
    sign = (
        None
        if renamed
        else ActivitySignal(at, ", ".join(foreign), row.who or who, commit, _off(own, at))
    )
    yield Event(what, row.bead, commit, at, facts=facts, sign=sign, changed=foreign, row=row)


def _freed_on_side_lines(row: RowChange, rules: Sequence[Rule]) -> frozenset[str]:
    """Return the tokens of the attempts that a user ended on the side lines of a merge."""
    return frozenset().union(
        *(
            act.tokens
            for act in row.acts
            if ends_as(act.row, row)
            and origin(act.row, rule_match(act.row, rules, before=True), rule_match(act.row, rules))
            is Origin.ACT
        )
    )


def _computed(row: RowChange, changes: CommitChanges, rules: Sequence[Rule]) -> Iterator[Event]:
    """Yield an event without a sign if a change that bd computed changes what a rule says.

    bd computes ``KEPT_BY_BD``, and its migrations leave a new `updated_at` in rows that they write.
    """
    facts, before = rule_match(row, rules), rule_match(row, rules, before=True)
    ordered = any(name in rule.order_by for rule in rules for name in row.changed)
    if ordered or (facts.matches, facts.running) != (before.matches, before.running):
        what, at = _meaning(facts, before), changes.date
        yield Event(what, row.bead, changes.commit, at, facts=facts, changed=row.changed, row=row)


def _meaning(facts: RuleMatch, before: RuleMatch) -> EventKind:
    """Return what a change of the bead's row means for the rules."""
    if facts.matches and facts.matches != before.matches:
        return EventKind.MATCHED
    if facts.runs and not before.runs:
        return EventKind.STARTED
    if before.matches and not facts.matches:
        return EventKind.UNMATCHED
    if before.runs and not facts.runs:
        return EventKind.LEFT
    return EventKind.EDITED


def rule_match(row: RowChange, rules: Sequence[Rule], before: bool = False) -> RuleMatch:
    """Return the rules under which a row matches and runs.

    A bead that matches two rules belongs to the first one in the settings.
    """
    matches = ""
    running: list[str] = []
    rank: tuple[object, ...] = ()
    for rule, answer in zip(rules, row.answers, strict=True):
        if not matches and (answer.matched if before else answer.matches):
            matches, rank = rule.name, answer.rank
        if answer.was_running if before else answer.runs:
            running.append(rule.name)
    return RuleMatch(matches, tuple(running), rank)


def _foreign_columns(
    row: RowChange, entries: Sequence[LedgerEntry], migration: bool
) -> tuple[str, ...]:
    """Return the changed columns without the cells that entries wrote in this commit, and without
    those that a migration of bd touched.
    """
    if not entries:
        named = (
            tuple(name for name in row.changed if name not in KEPT_BY_BD)
            if row.changed
            else ("row",)
        )
        return () if migration and TOUCHED.issuperset(named) else named
    foreign = []
    for column in row.changed:
        if column == "updated_at" or column in KEPT_BY_BD:
            continue
        if column == "notes":
            if row.after.get("notes") != appended(row.before.get("notes") or "", entries):
                foreign.append(column)
            continue
        cells = [entry.wrote.cells[column] for entry in entries if column in entry.wrote.cells]
        if (
            not cells
            or cells[0][0] != row.before.get(column)
            or cells[-1][1] != row.after.get(column)
        ):
            foreign.append(column)
    return tuple(foreign)


def appended(notes: str, entries: Sequence[LedgerEntry]) -> str:
    """Return ``notes`` with the notes of the entries, each appended on a line of its own as SQL
    does.
    """
    for entry in entries:
        if entry.wrote.note:
            notes = f"{notes}\n{entry.wrote.note}" if notes else entry.wrote.note
    return notes


def _off(own: datetime | None, commit: datetime) -> int:
    return int((own - commit).total_seconds()) if own is not None else 0


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


def in_a_merge(source: Origin) -> Origin:
    """Return the origin of a change by a merge.

    A merge by itself is no act of a user: a line that it brought in must contain the act. If the
    attempt's own notes are still there, a user resolved the row by hand.
    """
    return Origin.UNCLEAR if source is Origin.ACT else source


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
