"""Entries of the ledger for users: the newest first, by bead, or since a time."""

from __future__ import annotations

from collections.abc import Sequence
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
    until: datetime | None = None,
    rule: str | None = None,
    tokens: Sequence[str] | None = None,
    limit: int | None = None,
    details: bool = True,
) -> list[LedgerEntry]:
    """Return entries of the ledger, the newest first.

    Args:
        since: entries decided at this time or later.
        until: entries decided before this time.
        tokens: entries of these attempts.
        limit: maximum number of entries.
        details: whether to read ``detail``, which is most of an entry.

    Raises:
        NotMigrated: The database has no ledger.
    """
    # The database applies the filters, so that a long ledger is not read in full.
    where, params = [], list[Param]()
    for condition, value in (
        ("bead_id = ?", bead),
        ("decided_at >= ?", since),
        ("decided_at < ?", until),
        ("rule = ?", rule),
    ):
        if value is not None:
            where.append(condition)
            params.append(value)
    if tokens is not None:
        where.append(f"token IN ({', '.join('?' * len(tokens))})" if tokens else "1 = 0")
        params.extend(tokens)
    # Of one moment, the newest version of a bead comes first.
    columns = ENTRY_COLUMNS if details else (*ENTRY_COLUMNS[:-1], "'{}'")
    sql = f"SELECT {', '.join(columns)} FROM watch_decision"
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
