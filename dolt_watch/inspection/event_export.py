"""Derived events as data for other programs:

JSON, and CloudEvents 1.0. The form is described, and versioned, in docs/reference/json.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dolt_watch.core.model import Event, EventKind, Rule
from dolt_watch.engines import Commit
from dolt_watch.engines.values import json_value
from dolt_watch.ledger.reader import entry_to_dict

SCHEMA = 1


def event_records(
    commit: Commit, events: Iterable[Event], rules: Sequence[Rule]
) -> Iterator[dict[str, Any]]:
    """The events of one commit.

    ``id`` is made of commit, bead, and the event's number among the bead's: the same whenever it
    is read.
    """
    names = [rule.name for rule in rules]
    numbers: dict[str, int] = {}
    for event in events:
        number = numbers[event.bead] = numbers.get(event.bead, -1) + 1
        yield {"schema": SCHEMA, "id": f"{commit.hash}:{event.bead}:{number}"} | _event(
            commit, event, names
        )


def _event(commit: Commit, event: Event, names: Sequence[str]) -> dict[str, Any]:
    entry = event.entry
    before, after = changed_values(event)
    return {
        "commit": commit.hash,
        "author": commit.author,
        "time": commit.date,
        "bead": event.bead,
        "kind": kind(event),
        "rule": rule(event, names),
        "ours": entry is not None,
        "who": author_of(event),
        "table": "issues" if event.row is None else event.row.table,
        "before": before,
        "after": after,
        "note": entry.wrote.note if entry is not None else event.note,
        "decision": entry_to_dict(entry) if entry is not None else None,
    }


def kind(event: Event) -> str:
    """A decision's or report's own word, or what somebody else's change means."""
    return event.entry.kind.value if event.entry is not None else event.what.value


def rule(event: Event, names: Sequence[str]) -> str:
    """The rule that the bead matches or runs under; where it left one, that one.

    '' for none. ``names``: of the rules, in order.
    """
    if event.entry is not None:
        return event.entry.rule
    facts, row = event.facts, event.row
    if event.what in (EventKind.UNMATCHED, EventKind.LEFT) and row is not None:
        return next(
            (
                name
                for name, was in zip(names, row.answers, strict=True)
                if was.matched or was.was_running
            ),
            "",
        )
    return facts.matches or facts.runs if facts is not None else ""


def author_of(event: Event) -> str:
    if event.entry is not None:
        return event.entry.actor
    return event.sign.who if event.sign is not None else ""


def changed_values(event: Event) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What the event changed, before and after, cell by cell: of an entry of ours exactly what
    it wrote, of others' changes what differs beside that.
    """
    if event.entry is not None:
        cells = event.entry.wrote.cells
        return {name: pair[0] for name, pair in cells.items()}, {
            name: pair[1] for name, pair in cells.items()
        }
    row = event.row
    if row is None or event.what is EventKind.OVERWRITTEN:
        return {}, {}
    gone = row.kind == "removed"
    changed = row.changed if gone or row.table != "issues" else event.changed
    before = (
        {}
        if row.kind == "added"
        else {name: json_value(row.before[name]) for name in changed if name in row.before}
    )
    after = (
        {} if gone else {name: json_value(row.after[name]) for name in changed if name in row.after}
    )
    return before, after


def to_cloudevent(told: Mapping[str, Any], source: str) -> dict[str, Any]:
    """``source``: a URI reference that names the database."""
    subject = {"subject": told["bead"]} if told["bead"] else {}
    return {
        "specversion": "1.0",
        "id": told["id"],
        "source": source,
        "type": f"dolt_watch.{told['kind']}",
        "time": told["time"],
        **subject,
        "datacontenttype": "application/json",
        "data": told,
    }
