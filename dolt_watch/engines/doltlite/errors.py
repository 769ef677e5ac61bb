"""The errors of DoltLite, as errors of dolt_watch.

SQLite's error name decides. If it is too general, the text does.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

from dolt_watch.errors import (
    AccessDenied,
    BeadNotFound,
    Conflict,
    DatabaseError,
    DoltWatchError,
    MergeInProgress,
    NoSuchDatabase,
    NoSuchTable,
    NothingToCommit,
    SchemaChanged,
    UnknownCommit,
)

_NAMES: tuple[tuple[str, type[DoltWatchError]], ...] = (
    (
        "SQLITE_CONSTRAINT_FOREIGNKEY",
        BeadNotFound,
    ),  # every foreign key of beads' tables refers to issues
    ("SQLITE_CONSTRAINT_PRIMARYKEY", Conflict),
    ("SQLITE_CONSTRAINT_UNIQUE", Conflict),
    ("SQLITE_CONSTRAINT_ROWID", Conflict),
    ("SQLITE_BUSY", Conflict),
    ("SQLITE_LOCKED", Conflict),
    ("SQLITE_CANTOPEN", NoSuchDatabase),
    ("SQLITE_READONLY", AccessDenied),
)

_TEXTS: tuple[tuple[str, type[DoltWatchError]], ...] = (
    (r"nothing to commit", NothingToCommit),
    (r"cannot commit: unresolved", MergeInProgress),
    (
        r"ref not found|invalid dolt_log revision|could not (?:be )?resolve|commit not found",
        UnknownCommit,
    ),
    (r"no such column|has no column named", SchemaChanged),
)

_TABLE = re.compile(r"(?:no such table|table not found): (?:main\.)?(\w+)")
_FIXES: dict[type[DoltWatchError], str] = {
    NoSuchDatabase: "Specify an existing file. `dolt_watch demo --keep` creates one.",
    AccessDenied: "Give this user write access to the file and its folder.",
    SchemaChanged: "Use a column of issues. bd's schema may have changed.",
    NoSuchTable: "Run `dolt_watch doctor`.",
}


def translate(name: str, text: str, path: str) -> DoltWatchError:
    """Return an error of SQLite as a DoltWatchError with its fix.

    ``name`` is SQLite's error name, for example 'SQLITE_BUSY_SNAPSHOT', or ''.
    """
    found = _TABLE.search(text)
    if found:
        table = found[1].removeprefix("dolt_diff_").removeprefix("dolt_at_")
        return NoSuchTable(table, where=path, fix=_FIXES[NoSuchTable])
    if text == "dolt_hashof_table: table not found":  # DoltLite 0.51.3 does not say which
        return NoSuchTable("?", where=path, fix=_FIXES[NoSuchTable])
    kind = next((kind for start, kind in _NAMES if name.startswith(start)), None)
    if kind is None:
        kind = next((kind for rule, kind in _TEXTS if re.search(rule, text)), DatabaseError)
    damaged = name in {"SQLITE_CORRUPT", "SQLITE_NOTADB"} or "stock SQLite databases" in text
    fix = (
        "Use another copy of the file. This file is damaged, or it isn't a DoltLite database."
        if damaged
        else _FIXES.get(kind)
    )
    meaning = (kind.__doc__ or "").strip().split("\n")[0].rstrip(".")
    return kind(f"{meaning} ({text}).", where=path, fix=fix)


def unusable_lock(path: Path, error: OSError) -> DatabaseError:
    """Return the error for a lock file that can't be read or written."""
    denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return (AccessDenied if denied else DatabaseError)(
        f"Can't use the lock of the service: {error.strerror}.",
        where=str(path),
        fix=_FIXES[AccessDenied] if denied else "Free disk space, or repair the file system.",
    )
