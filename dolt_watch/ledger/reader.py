"""Entries of the ledger for users: the newest first, by bead, or since a time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dolt_watch.core.model import LedgerEntry
from dolt_watch.engines import Engine, Param
from dolt_watch.errors import NoSuchTable, NotMigrated
from dolt_watch.ledger.codec import ENTRY_COLUMNS, decode_entry


def read_ledger_at(engine: Engine, commit: str) -> list[LedgerEntry]:
    """Return the whole ledger as of a commit, stream by stream. Raises NoSuchTable."""
    wanted = ", ".join(ENTRY_COLUMNS)
    rows = engine.query(
        f"SELECT {wanted} FROM watch_decision AS OF ? ORDER BY bead_id, version", (commit,)
    )
    return [entry for row in rows if (entry := decode_entry(row)) is not None]


def read_entries(
    engine: Engine,
    *,
    bead: str | None = None,
    since: datetime | None = None,
    limit: int | None = None,
) -> list[LedgerEntry]:
    """Return entries, the newest first. Raises NotMigrated."""
    where, params = [], list[Param]()
    if bead is not None:
        where.append("bead_id = ?")
        params.append(bead)
    if since is not None:
        where.append("decided_at >= ?")
        params.append(since)
    sql = f"SELECT {', '.join(ENTRY_COLUMNS)} FROM watch_decision"
    if where:
        sql += f" WHERE {' AND '.join(where)}"
    sql += " ORDER BY decided_at DESC, bead_id, version DESC"
    if limit is not None:
        sql += f" LIMIT {int(limit)}"
    try:
        return [
            entry for row in engine.query(sql, params) if (entry := decode_entry(row)) is not None
        ]
    except NoSuchTable as error:
        raise NotMigrated("This database has no ledger.", fix="`dolt_watch init`") from error


def entry_to_dict(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "bead": entry.bead,
        "version": entry.version,
        "kind": entry.kind.value,
        "attempt": entry.attempt,
        "rule": entry.rule,
        "token": entry.token,
        "cause": entry.cause,
        "observed": entry.observed,
        "decided_at": entry.at,
        "job": entry.job,
        "reason": entry.reason,
        "settings": entry.settings_hash,
        "actor": entry.actor,
        "detail": dict(entry.detail),
    }
