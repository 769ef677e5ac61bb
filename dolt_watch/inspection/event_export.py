"""Derived events for other programs: JSON, and CloudEvents 1.0.

docs/reference/json.md describes the form and its version.
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
    """Yield the events of one commit.

    ``id`` consists of the commit, the bead, and the number of the event among those of the bead:
    it is the same in each reading.
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
    """Return the kind of an entry, or the meaning of another change."""
    return event.entry.kind.value if event.entry is not None else event.what.value


def rule(event: Event, names: Sequence[str]) -> str:
    """Return the rule that the bead matches, runs under, or left; '' for none.

    ``names``: names of the rules, in order.
    """
    if event.entry is not None:
        return event.entry.rule
    facts, row = event.facts, event.row
    if event.what in (EventKind.UNMATCHED, EventKind.LEFT) and row is not None:
        left = zip(names, row.answers, strict=True)
        return next((name for name, was in left if was.matched or was.was_running), "")
    return facts.matches or facts.runs if facts is not None else ""


def author_of(event: Event) -> str:
    if event.entry is not None:
        return event.entry.actor
    return event.sign.who if event.sign is not None else ""


def changed_values(event: Event) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the cells that the event changed, before and after.

    An entry of dolt_watch has exactly the cells that it wrote. Other changes in its commit have the
    rest.
    """
    if event.entry is not None:
        cells = event.entry.wrote.cells
        return {name: was for name, (was, _) in cells.items()}, {
            name: now for name, (_, now) in cells.items()
        }
    row = event.row
    if row is None or event.what is EventKind.OVERWRITTEN:
        return {}, {}
    gone = row.kind == "removed"
    changed = row.changed if gone or row.table != "issues" else event.changed
    before, after = (
        {name: json_value(cells[name]) for name in changed if name in cells}
        for cells in ({} if row.kind == "added" else row.before, {} if gone else row.after)
    )
    return before, after


def to_cloudevent(record: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return an event as a CloudEvent. ``source``: a URI reference that names the database."""
    subject = {"subject": record["bead"]} if record["bead"] else {}
    return {
        "specversion": "1.0",
        "id": record["id"],
        "source": source,
        "type": f"dolt_watch.{record['kind']}",
        "time": record["time"],
        **subject,
        "datacontenttype": "application/json",
        "data": record,
    }
