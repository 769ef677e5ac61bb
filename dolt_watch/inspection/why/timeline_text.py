"""One commit of a bead's history in words: the actor, and the change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from dolt_watch.core.model import (
    REPORTS,
    ActivitySignal,
    EntryKind,
    Event,
    EventKind,
    LedgerEntry,
    entry_payloads,
)
from dolt_watch.core.model.recorded_inputs import RecordedInputs
from dolt_watch.engines.values import json_value
from dolt_watch.inspection.event_export import changed_values
from dolt_watch.inspection.why.explanation import TimelineEntry
from dolt_watch.sanitize import sanitize
from dolt_watch.timestamps import iso

LONG = 40
"""Maximum number of characters of a value."""

HIDDEN_COLUMNS = ("updated_at", "content_hash", "row")
"""Columns whose changes say nothing to a reader."""

SAME_TIME = timedelta(seconds=5)
"""A decision is committed within this time, so its line shows one time."""


def describe_entry(step: TimelineEntry) -> Iterator[tuple[str, str]]:
    """Yield the lines of one commit: actor and change.

    A row of bd's ``events`` names the actor of a change in the same commit. It has a line of its
    own only if the commit has no other change.
    """
    actors = [event.sign.who for event in step.events if _is_bds(event) and event.sign is not None]
    changed = any(
        event.entry is None and event.sign is not None and not _is_bds(event)
        for event in step.events
    )
    for event in step.events:
        if event.entry is not None:
            yield event.entry.actor, _describe_decision(event.entry, step.commit.date)
        elif event.what is EventKind.OVERWRITTEN:
            yield step.commit.author, f"overwrote dolt_watch's note '{event.note}'"
        elif event.what is EventKind.RENAMED:
            yield step.commit.author, f"renamed from {event.other}"
        elif event.changed == ("renamed",):
            yield step.commit.author, f"renamed to {event.other}"
        elif event.changed == ("id",):
            continue  # said already
        elif not _is_bds(event):
            yield (
                (actors[0] if actors else event.sign.who if event.sign else step.commit.author),
                _describe_change(event),
            )
        elif not changed and event.sign is not None:
            yield event.sign.who, _describe_signal(event, event.sign)


def _is_bds(event: Event) -> bool:
    return event.what is EventKind.SIGN and event.row is not None and event.row.table == "events"


def _describe_change(event: Event) -> str:
    row = event.row
    if event.what is EventKind.SIGN and event.sign is not None:
        return _describe_signal(event, event.sign)
    if row is not None and row.kind == "removed":
        return "deleted"
    means = {
        EventKind.MATCHED: "matches",
        EventKind.UNMATCHED: "no longer matches",
        EventKind.STARTED: "started",
        EventKind.LEFT: "left its rule",
    }
    name = (event.facts.matches or event.facts.runs) if event.facts is not None else ""
    rule = f" rule {name}" if name else ""
    meant = f"; {means[event.what]}{rule}" if event.what in means else ""
    return ("created: " if row is not None and row.kind == "added" else "") + _cells(event) + meant


def _cells(event: Event) -> str:
    before, after = changed_values(event)
    if not before:
        shown = [
            f"{name} {_short(after[name])}"
            for name in ("title", "status", "assignee", "priority")
            if after.get(name) not in (None, "")
        ]
    else:
        shown = [
            f"{name} {_short(before.get(name))} → {_short(after.get(name))}"
            for name in after
            if name not in HIDDEN_COLUMNS
        ]
    return ", ".join(shown) or "touched"


def _describe_signal(event: Event, sign: ActivitySignal) -> str:
    after = event.row.after.values() if event.row is not None else ()
    values = ", ".join(_short(value) for value in after if value)
    return f"{sign.what}{': ' + values if values else ''}"


def _describe_decision(entry: LedgerEntry, date: datetime) -> str:
    """Return a decision of dolt_watch, and its inputs. ``date``: of its commit."""
    detail = entry.detail
    what = f"{entry.kind}, attempt {entry.attempt}" if entry.attempt else entry.kind.value
    on = []
    if entry.kind is EntryKind.CLAIM:
        claimed = entry_payloads.Claimed.decode(detail)
        free = "?" if claimed.free is None else claimed.free
        where = f"place {claimed.place + 1} in the queue, " if claimed.place is not None else ""
        on.append(f"rule {entry.rule}, {where}{free} free in flight")
    if entry.job:
        on.append(f"job {entry.job}")
    if entry.reason:
        on.append(entry.reason)
    again = entry_payloads.Ended.decode(detail).retry_at
    if again is not None:
        on.append(f"again at {iso(again)}")
    given = RecordedInputs.decode(entry.detail)
    on += [
        f"{name}: {'?' if one.slots is None else one.slots} free{', ' + one.why if one.why else ''}"
        for name, one in given.capacity.items()
    ]
    reported = entry.kind in REPORTS or given.now is None
    at = entry.at if reported or given.now is None else given.now
    if abs(at - date) > SAME_TIME:
        on.append(f"{'reported' if reported else 'decided'} at {iso(at)}")
    return f"{what}: {'; '.join(on)}"


def _short(value: Any) -> str:
    if value is None or value == "":
        return "''" if value == "" else "NULL"
    text = str(json_value(value))
    shown = sanitize(text, LONG)
    return shown if text.replace("-", "").replace(".", "").isalnum() else f"'{shown}'"
