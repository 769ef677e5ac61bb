"""Reads the ledger for people: entries newest first, by bead, since a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dolt_watch.engines import Engine, Param
from dolt_watch.errors import NoSuchTable, NotMigrated
from dolt_watch.feed import ENTRY_COLUMNS, entry_from
from dolt_watch.model import Entry
from dolt_watch.text import outside

LONGEST_CELL = 4000
"""Characters of a table's cell: as many as of a line."""


def entries(
    engine: Engine, *, bead: str | None = None, since: datetime | None = None, limit: int | None = None
) -> list[Entry]:
    """Raises NotMigrated."""
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
        return [entry for row in engine.query(sql, params) if (entry := entry_from(row)) is not None]
    except NoSuchTable as error:
        raise NotMigrated("the ledger is not in this database", fix="dolt_watch init") from error


def as_json(entry: Entry) -> dict[str, Any]:
    return {
        "bead": entry.bead, "version": entry.version, "kind": entry.kind.value, "attempt": entry.attempt,
        "rule": entry.rule, "token": entry.token, "cause": entry.cause, "observed": entry.observed,
        "decided_at": entry.at, "job": entry.job, "reason": entry.reason, "settings": entry.settings_hash,
        "actor": entry.actor, "detail": dict(entry.detail),
    }  # fmt: skip


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns; the last may run on. What others wrote may stand in a cell: it is escaped here, since an escape takes more room."""
    rows = [[outside(cell, LONGEST_CELL) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in [heads, *rows]
    ]
