"""What an entry leaves behind for others to read: the message of its commit, and the row of ``events`` as bd itself writes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from dolt_watch import codec
from dolt_watch.beads.columns import KEPT_BY_BD
from dolt_watch.model import Entry, Kind
from dolt_watch.text import outside

_VERBS = {Kind.CLAIM: "claim", Kind.DISPATCHED: "dispatch", Kind.REAP: "reap", Kind.REQUEUE: "requeue"}


def message(entry: Entry) -> str:
    """Subject and trailers: `dolt log` and `git interpret-trailers` both read it."""
    verb = _VERBS.get(entry.kind, entry.kind.value)
    job = f", job {entry.job}" if entry.job else ""
    subject = f"dolt-watch: {verb} {entry.bead} (attempt {entry.attempt}{job})" if entry.bead else f"dolt-watch: {verb}"
    if entry.kind in (Kind.OUTAGE, Kind.RECOVERED):
        subject += f" {codec.OutageChange.decode(entry.detail).target}"
    trailers = {
        "Bead": entry.bead, "Decision": entry.kind.value, "Version": entry.version, "Attempt": entry.attempt,
        "Rule": entry.rule, "Cause": entry.cause, "Observed": entry.observed, "Job": entry.job, "Reason": entry.reason,
    }  # fmt: skip
    lines = [f"{name}: {outside(str(value))}" for name, value in trailers.items() if value not in ("", 0)]
    return "\n".join([outside(subject, 200), "", *lines])


def as_bd(row: Mapping[str, Any]) -> dict[str, Any]:
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


def fit(full: Mapping[str, Any], least: Mapping[str, Any], limit: int) -> str:
    """bd itself fails past the column's end; we say the changed fields only. ``limit``: bytes that the column takes."""
    text = orjson.dumps(full)
    return (text if len(text) <= limit else orjson.dumps(least)).decode()
