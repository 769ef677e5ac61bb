"""The shape of a tracker's tables, found by looking at columns and `dolt_ignore`, never by a
version.

bd changes its tables with every release: bd 1.0.2, 1.2.2 and the 1.3 line have three shapes, and
history holds others between them. All SQL over beads' tables asks this module for the parts that
differ.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dolt_watch.engines import Engine, Param, Row
from dolt_watch.errors import UnsupportedSchema

WATCHED_TABLES = ("issues", "comments", "events", "labels", "dependencies")
"""Tables whose rows mean something to dolt_watch, where history holds them."""

KNOWN_TABLES = (*WATCHED_TABLES, "leases", "wisps", "wisp_dependencies")
"""Tables of beads that dolt_watch reads or writes. All others are ignored."""

READ_FOR_READINESS = frozenset({"issues", "dependencies"})
"""Versioned tables whose rows decide whether a bead is ready."""

SUPPORTED = "bd 1.0.2 to 1.3"
"""Releases whose shapes are supported, for error messages and `doctor`."""

NEEDED: Mapping[str, tuple[str, ...]] = {
    "issues": ("id", "title", "status", "priority", "assignee", "notes", "updated_at"),
    "events": ("id", "issue_id", "event_type", "actor", "old_value", "new_value", "created_at"),
    "comments": ("id", "issue_id", "author", "created_at"),
    "labels": ("issue_id", "label"),
    "dependencies": ("issue_id", "type", "created_at", "created_by"),
}
"""Columns without which dolt_watch cannot work, by table.

A target of `dependencies` is needed too.
"""

TARGETS = ("depends_on_issue_id", "depends_on_wisp_id", "depends_on_external", "depends_on_id")
"""Columns of `dependencies` that contain the target of a dependency.

Up to bd 1.0.4 the column is `depends_on_id`. Since 1.0.5 exactly one of the others is not NULL. A
commit in the middle of that migration has all four.
"""

ISSUE_TARGETS = ("depends_on_issue_id", "depends_on_id")
"""The columns of ``TARGETS`` that contain a bead of `issues`.

Outside of the migration only one of them exists, and it has an index.
"""

NOT_COMMITTED = "bd's schema migration is not committed; run `bd dolt commit`"

MIGRATION_MARKS = ("schema_migrations", "ignored_schema_migrations", "dolt_nonlocal_tables")
"""Tables whose rows bd writes while it migrates."""

LONGEST_TEXT = 2**24 - 1
"""Bytes that dolt_watch lets a LONGTEXT column grow to (MEDIUMTEXT's width).

The type itself allows 4 GiB, but a statement with a larger value exceeds the usual packet limits
of MySQL clients (16 MiB), so bd could not rewrite the row.
"""

_WIDTHS = {"tinytext": 2**8 - 1, "text": 2**16 - 1}


class TrackerSchema(NamedTuple):
    """The shape of beads' tables, as they are now or at one commit."""

    tables: Mapping[str, Mapping[str, str]]
    """Column → SQL type in lower case, by table; only those of ``KNOWN_TABLES`` that exist."""

    unversioned: frozenset[str] = frozenset()
    """Tables of ``KNOWN_TABLES`` that match `dolt_ignore`: no commit takes their rows.

    DOLT_ADD skips such a table without an error, even one that HEAD still holds (Dolt 1.86.4).
    """

    def to_json(self) -> dict[str, Any]:
        """Return the versioned part of the shape, for ``cached_schema``."""
        return {
            "tables": {
                table: dict(columns)
                for table, columns in self.tables.items()
                if table not in self.unversioned
            },
            "unversioned": sorted(self.unversioned),
        }

    def has(self, table: str, *columns: str) -> bool:
        """Return whether the table exists and has all of the columns."""
        return table in self.tables and all(name in self.tables[table] for name in columns)

    def columns(self, table: str) -> tuple[str, ...]:
        """Return the table's columns in order, () if the table does not exist."""
        return tuple(self.tables.get(table, ()))

    @property
    def watched(self) -> tuple[str, ...]:
        """The tables of ``WATCHED_TABLES`` that exist and are versioned."""
        return tuple(t for t in WATCHED_TABLES if t in self.tables and t not in self.unversioned)

    @property
    def events_in_history(self) -> bool:
        """Whether commits hold the rows of `events`. Since schema 62 (bd 1.3) they do not."""
        return "events" in self.tables and "events" not in self.unversioned

    @property
    def has_leases(self) -> bool:
        """Whether bd keeps heartbeats of agents in `leases` (bd 1.3)."""
        return self.has("leases", "issue_id", "holder", "heartbeat_at", "lease_expires_at")

    @property
    def has_is_blocked(self) -> bool:
        """Whether bd keeps the result of its readiness rule in `issues.is_blocked` (since
        1.0.5).
        """
        return self.has("issues", "is_blocked")

    @property
    def has_row_lock(self) -> bool:
        """Whether each write of a row of `issues` sets a new random `row_lock` (bd 1.3)."""
        return self.has("issues", "row_lock")

    @property
    def generation(self) -> str:
        """The releases of bd that make tables of this shape, '' if no supported release does."""
        split = self.has("dependencies", "depends_on_issue_id")
        if self.has("dependencies", "depends_on_id"):
            return "" if split or self.has_is_blocked else "bd 1.0.2 to 1.0.4"
        if not (split and self.has_is_blocked):
            return ""
        return "bd 1.3" if self.has_row_lock and self.has_leases else "bd 1.0.5 to 1.2"

    @property
    def has_wisps(self) -> bool:
        """Whether bd keeps `wisps`, beads that are in no commit."""
        return self.has("wisps", "id", "status")

    def dependency_target(self, prefix: str = "") -> str:
        """Return the SQL expression of the bead, wisp or external name that a dependency points to.

        ``prefix``: prefix of each column: ``from_`` or ``to_`` for a diff, ``d.`` for
        an alias. Raises UnsupportedSchema.
        """
        expression = target_expression(self.tables.get("dependencies", ()), prefix)
        if not expression:
            raise missing("dependencies", "depends_on_issue_id", "depends_on_id")
        return expression

    def text_limit(self, table: str, column: str) -> int:
        """Return how many bytes dolt_watch may write into a text column.

        A VARCHAR's width counts characters; the same number of bytes always fits. DoltLite
        stores a VARCHAR as ``text(255)`` and any longer text as ``text``, whose width it doesn't
        enforce. Raises UnsupportedSchema if the table or the column does not exist.
        """
        if not self.has(table, column):
            raise missing(table, column)
        kind = self.tables[table][column]
        sized = re.fullmatch(r"(?:varchar|char|text)\((\d+)\)", kind)
        return int(sized[1]) if sized else _WIDTHS.get(kind, LONGEST_TEXT)

    def require(self) -> None:
        """Raise UnsupportedSchema for the first needed table or column that does not exist."""
        for table, needed in NEEDED.items():
            if table not in self.tables:
                raise missing(table)
            for column in needed:
                if column not in self.tables[table]:
                    raise missing(table, column)
        self.dependency_target()


def tracker_schema(engine: Engine) -> TrackerSchema:
    """Return the shape of the tables as they are now, uncommitted changes included."""
    tables = engine.describe(KNOWN_TABLES)
    patterns = {
        str(pattern): bool(ignored)
        for pattern, ignored in engine.query("SELECT pattern, ignored FROM dolt_ignore")
    }
    unversioned = (table for table in KNOWN_TABLES if is_ignored(patterns, table))
    return TrackerSchema(tables, frozenset(unversioned))


class _Tables(Mapping[str, Mapping[str, str]]):
    """Columns by table. Those of unversioned tables are read when they are asked for."""

    def __init__(
        self,
        known: Mapping[str, Mapping[str, str]],
        unread: Iterable[str],
        read: Callable[[str], Mapping[str, str]],
    ) -> None:
        self._known, self._unread, self._read = dict(known), set(unread), read

    def __getitem__(self, table: str) -> Mapping[str, str]:
        if table in self._unread:
            self._unread.remove(table)
            if columns := self._read(table):
                self._known[table] = columns
        return self._known[table]

    def __iter__(self) -> Iterator[str]:
        for table in sorted(self._unread):
            self.get(table)
        return iter(self._known)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def cached_schema(engine: Engine, saved: Mapping[str, Any]) -> TrackerSchema:
    """Return the shape that ``TrackerSchema.to_json`` saved.

    Use it only if no table of ``KNOWN_TABLES`` and no row of `dolt_ignore` changed since. No commit
    shows a change of an unversioned table, so its columns are read again: the first time that they
    are asked for.
    """
    unversioned = frozenset(saved["unversioned"])
    return TrackerSchema(_Tables(saved["tables"], unversioned, engine.columns), unversioned)


def schema_at(engine: Engine, commit: str) -> TrackerSchema:
    """Return the shape of the tables that a commit holds. Raises UnknownCommit."""
    found = {table: engine.columns(table, commit) for table in KNOWN_TABLES}
    return TrackerSchema({table: columns for table, columns in found.items() if columns})


def is_ignored(patterns: Mapping[str, bool], table: str) -> bool:
    """Return whether a new table is left out of commits.

    ``patterns``: the rows of `dolt_ignore`. ``%`` and ``*`` match any text, ``?`` matches one
    character. Of several patterns that match, Dolt takes the most specific; if they disagree, it
    stages nothing by itself.
    """
    wildcards = {"%": ".*", "*": ".*", "?": "."}
    regexes = {
        pattern: re.compile("".join(wildcards.get(c, re.escape(c)) for c in pattern))
        for pattern in patterns
    }
    matching = [pattern for pattern in patterns if regexes[pattern].fullmatch(table)]
    specific = [
        pattern
        for pattern in matching
        if not any(
            regexes[pattern].fullmatch(other) and not regexes[other].fullmatch(pattern)
            for other in matching
        )
    ]
    return bool(specific) and all(patterns[pattern] for pattern in specific)


def missing(table: str, *columns: str) -> UnsupportedSchema:
    """Return the error for a table, or for one of its columns, that the tracker lacks."""
    what = (
        f"column {' or '.join(f'{table}.{column}' for column in columns)}"
        if columns
        else f"table {table}"
    )
    return UnsupportedSchema(
        f"the tracker has no {what}: its tables have a shape that dolt_watch does not support"
        f" (supported: {SUPPORTED})",
        fix="`bd migrate` completes an interrupted migration; if bd is newer, upgrade dolt_watch",
    )


def target_expression(
    columns: Collection[str], prefix: str = "", among: Sequence[str] = TARGETS
) -> str:
    """Return the SQL expression of a dependency's target.

    Args:
        columns: The columns of the table.
        prefix: See ``TrackerSchema.dependency_target``.
        among: The columns to consider.

    Returns:
        The expression, or '' if no column contains a target.
    """
    found = [f"{prefix}{name}" for name in among if name in columns]
    return found[0] if len(found) == 1 else f"COALESCE({', '.join(found)})" if found else ""


def uncommitted_migration(
    engine: Engine, query: Callable[[str, Sequence[Param]], list[Row]] | None = None
) -> frozenset[str]:
    """Return the tables with a schema change that is not committed, and the marks of a migration.

    A newer bd migrates the tables at its first command. bd 1.2.2 in server mode leaves most of that
    uncommitted. Committing a table in between would put half a migration into history: rows under
    the new schema, and the tables that belong to it under the old one.

    ``query``: of an open transaction, to ask as that sees them. Cost: one query where nothing is
    dirty, else two.
    """
    return engine.unmigrated(MIGRATION_MARKS, query)
