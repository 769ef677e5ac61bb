"""Ledger entries from rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from dolt_watch.core.model import EntryKind, LedgerEntry
from dolt_watch.core.model.entry_payloads import Envelope
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
    # In the order of ENTRY_COLUMNS, which all queries of the ledger use.
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
    # A row of another program's making, or of a later release, is no entry.
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
        wrote=Envelope.decode(detail).wrote,
        reason_code=recorded_or_derived(kind, reason, detail),
    )
