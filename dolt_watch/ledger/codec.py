"""Ledger entries from rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from dolt_watch.core.model import EntryEffects, EntryKind, LedgerEntry
from dolt_watch.core.model.reason_codes import recorded_or_derived
from dolt_watch.timestamps import parse_foreign

ENTRY_COLUMNS = (
    "bead_id",
    "version",
    "kind",
    "attempt",
    "rule",
    "token",
    "cause_commit",
    "observed_commit",
    "decided_at",
    "job_id",
    "reason",
    "bead_hash",
    "settings_hash",
    "actor",
    "detail",
)

KINDS = frozenset(kind.value for kind in EntryKind)


def decode_entry(row: Sequence[Any]) -> LedgerEntry | None:
    """Return the entry of one row of watch_decision, in the order of ``ENTRY_COLUMNS``.

    None if dolt_watch did not write the row: an import by a user must not end every tick.
    """
    (
        bead,
        version,
        kind,
        attempt,
        rule,
        token,
        cause,
        observed,
        at,
        job,
        reason,
        bead_hash,
        settings,
        actor,
        text,
    ) = row
    try:
        detail = orjson.loads(text)
    except ValueError:
        return None
    moment = parse_foreign(at)
    if not isinstance(detail, dict) or moment is None or kind not in KINDS:
        return None
    return LedgerEntry(
        bead=bead,
        version=version,
        kind=EntryKind(kind),
        attempt=attempt,
        rule=rule,
        token=token,
        cause=cause,
        observed=observed,
        at=moment,
        job=job,
        reason=reason,
        bead_hash=bead_hash,
        settings_hash=settings,
        actor=actor,
        detail=detail,
        wrote=_wrote(detail.get("wrote")),
        reason_code=recorded_or_derived(kind, reason, detail),
    )


def _wrote(value: Any) -> EntryEffects:
    if not isinstance(value, dict):
        return EntryEffects()
    cells, note, events = value.get("cells"), value.get("note"), value.get("events")
    pairs = cells.items() if isinstance(cells, dict) else ()
    return EntryEffects(
        {
            name: (pair[0], pair[1])
            for name, pair in pairs
            if isinstance(pair, list) and len(pair) == 2
        },
        note if isinstance(note, str) else "",
        tuple(event for event in events if isinstance(event, str))
        if isinstance(events, list)
        else (),
        value.get("events_in_history") is not False,
    )
