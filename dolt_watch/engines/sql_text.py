"""SQL text that both engines need: parameters, names, hashes, and the text between literals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice, pairwise
from typing import TypeVar

from dolt_watch.engines import Edge
from dolt_watch.errors import UnknownCommit

T = TypeVar("T")

LITERAL = (
    r"'(?:[^'\\]|\\.|'')*'"
    r'|"(?:[^"\\]|\\.|"")*"'
    r"|`[^`]*`"
    r"|--(?=\s|$)[^\n]*|\#[^\n]*|/\*.*?\*/"
)
"""Strings, quoted names and comments by MySQL's rules. Searches for SQL syntax skip them."""

MERGING = """SELECT (SELECT MAX(is_merging) FROM dolt_merge_status)
OR EXISTS (SELECT 1 FROM dolt_conflicts) OR EXISTS (SELECT 1 FROM dolt_constraint_violations)"""
"""Query that checks every way in which a merge can be unfinished. It is the same on both engines.
"""

SYSTEM = ("dolt_schemas", "dolt_ignore", "dolt_procedures")
"""System tables that a schema migration writes: a view is a row, not a table."""

_PARTS = re.compile(rf"({LITERAL})|(\?)", re.DOTALL)
# Only a migration splits a script, so these two are compiled when they are used.
_STATEMENT = rf"(?s)(?:{LITERAL}|[^;])+"
_COMMENT = rf"(?s)({LITERAL})"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@lru_cache(maxsize=512)
def split_parameters(sql: str) -> tuple[str, ...]:
    """Return the text between the ``?`` parameters.

    A ``?`` in a string, a quoted name or a comment is text.
    """
    parts, begin = [], 0
    for found in _PARTS.finditer(sql):
        if found[2]:
            parts.append(sql[begin : found.start()])
            begin = found.end()
    parts.append(sql[begin:])
    return tuple(parts)


def split_statements(script: str) -> list[str]:
    """Return the statements of an SQL script, without comments.

    A ``;`` in a string or a comment doesn't end a statement.
    """
    bare = re.sub(_COMMENT, lambda found: found[1] if found[1][0] in "'\"`" else " ", script)
    return [text.strip() for text in re.findall(_STATEMENT, bare) if text.strip()]


def checked_identifier(identifier: str) -> str:
    """Return the identifier if it needs no quoting.

    Names become part of the SQL text, so ValueError is raised for any other.
    """
    if not _NAME.fullmatch(identifier):
        raise ValueError(
            f"A table name must consist of letters, digits and _, but is {identifier!r}."
        )
    return identifier


def checked_hash(commit: str, shape: re.Pattern[str], where: str) -> str:
    """Return the commit's hash if it has the engine's format: it becomes part of the SQL text.

    Raises UnknownCommit.
    """
    if not shape.fullmatch(commit):
        raise UnknownCommit(f"{commit[:60]!r} is not a full commit hash.", where=where)
    return commit


def gaps(edges: Sequence[Edge]) -> list[Edge]:
    """Return the edges from the end of each edge to the start of the next, if these differ."""
    return [
        Edge(one.commit, other.parent)
        for one, other in pairwise(edges)
        if one.commit != other.parent
    ]


def sql_timestamp(value: datetime) -> datetime:
    """Return a parameter's time in UTC, without its zone.

    Raises ValueError for a naive time, because its zone is unknown.
    """
    if value.tzinfo is None:
        raise ValueError(f"A time must have a time zone, but is {value!r}.")
    return value.astimezone(UTC).replace(tzinfo=None)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
