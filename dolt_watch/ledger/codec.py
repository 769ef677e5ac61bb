"""Ledger entries from rows, the message of an entry's commit, and the row of ``events`` in the form
that ``bd`` itself writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from dolt_watch.core.model import EntryKind, LedgerEntry, entry_payloads
from dolt_watch.core.model.columns import KEPT_BY_BD
from dolt_watch.core.model.reason_codes import KINDS_WITH_REASON, derived
from dolt_watch.sanitize import sanitize
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
    envelope = entry_payloads.Envelope.decode(detail)
    code = envelope.reason_code
    # Entries from before the codes have a text only.
    if code is None and kind in KINDS_WITH_REASON:
        code = derived(kind, reason, detail)
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
        wrote=envelope.wrote,
        reason_code=code,
    )


_VERBS = {
    EntryKind.CLAIM: "claim",
    EntryKind.DISPATCHED: "dispatch",
    EntryKind.REAP: "reap",
    EntryKind.REQUEUE: "requeue",
}


def commit_message(entry: LedgerEntry) -> str:
    """Return the subject and the trailers. `dolt log` and `git interpret-trailers` can read
    them.
    """
    # The subject is for people who read `dolt log --oneline`.
    verb = _VERBS.get(entry.kind, entry.kind.value)
    job = f", job {entry.job}" if entry.job else ""
    subject = (
        f"dolt-watch: {verb} {entry.bead} (attempt {entry.attempt}{job})"
        if entry.bead
        else f"dolt-watch: {verb}"
    )
    if entry.kind in (EntryKind.OUTAGE, EntryKind.RECOVERED):
        subject += f" {entry_payloads.OutageChange.decode(entry.detail).target}"
    # The trailers are for programs: empty ones are left out, as git does.
    trailers = {
        "Bead": entry.bead,
        "Decision": entry.kind.value,
        "Version": entry.version,
        "Attempt": entry.attempt,
        "Rule": entry.rule,
        "Cause": entry.cause,
        "Observed": entry.observed,
        "Job": entry.job,
        "Reason": entry.reason,
    }
    lines = [
        f"{name}: {sanitize(str(value))}"
        for name, value in trailers.items()
        if value not in ("", 0)
    ]
    return "\n".join([sanitize(subject, 200), "", *lines])


def bd_snapshot(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as bd writes it into events.old_value: what is empty is left out."""
    return {
        name: bd_value(value)
        for name, value in row.items()
        if (value not in (None, "", 0) or name == "priority") and name not in KEPT_BY_BD
    }


def bd_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return value if isinstance(value, str | int | float | None) else str(value)


def fit_to_column(full: Mapping[str, Any], least: Mapping[str, Any], limit: int) -> str:
    """Return the whole row as JSON, or the changed fields if the row is too long for the column.

    bd itself fails if the row is too long. ``limit``: bytes of the column.
    """
    text = orjson.dumps(full)
    return (text if len(text) <= limit else orjson.dumps(least)).decode()
