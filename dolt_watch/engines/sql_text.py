"""Pieces of SQL text that both engines need: parameters, names, hashes, and what lies between
literals.
"""

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
"""What SQL must not be looked for in: strings, quoted names, comments (MySQL's rules)."""

MERGING = """SELECT (SELECT MAX(is_merging) FROM dolt_merge_status)
OR EXISTS (SELECT 1 FROM dolt_conflicts) OR EXISTS (SELECT 1 FROM dolt_constraint_violations)"""
"""One question for all the ways in which a merge can stand unfinished; the same words on both
engines.
"""

SYSTEM = ("dolt_schemas", "dolt_ignore", "dolt_procedures")
"""System tables that a schema migration writes: a view is a row, not a table."""

_PARTS = re.compile(rf"({LITERAL})|(\?)", re.DOTALL)
_STATEMENT = re.compile(rf"(?:{LITERAL}|[^;])+", re.DOTALL)
_COMMENT = re.compile(rf"({LITERAL})", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@lru_cache(maxsize=512)
def split_parameters(sql: str) -> tuple[str, ...]:
    """The text between the ``?`` parameters; a ``?`` in a string, a quoted name or a comment is
    text.
    """
    parts, begin = [], 0
    for found in _PARTS.finditer(sql):
        if found[2]:
            parts.append(sql[begin : found.start()])
            begin = found.end()
    parts.append(sql[begin:])
    return tuple(parts)


def split_statements(script: str) -> list[str]:
    """The statements of a script of SQL, without comments; a ``;`` in a string or a comment ends
    none.
    """
    bare = _COMMENT.sub(lambda found: found[1] if found[1][0] in "'\"`" else " ", script)
    return [text.strip() for text in _STATEMENT.findall(bare) if text.strip()]


def checked_identifier(identifier: str) -> str:
    """The identifier, if it needs no quoting: names are built into SQL, so nothing else may
    pass.
    """
    if not _NAME.fullmatch(identifier):
        raise ValueError(f"not a table name that can be used: {identifier!r}")
    return identifier


def checked_hash(commit: str, shape: re.Pattern[str], where: str) -> str:
    """The commit's hash, if it has the engine's shape: it is built into SQL as a literal.

    Raises UnknownCommit.
    """
    if not shape.fullmatch(commit):
        raise UnknownCommit(f"not a full commit hash: {commit[:60]!r}", where=where)
    return commit


def gaps(edges: Sequence[Edge]) -> list[Edge]:
    """From the end of each edge to the beginning of the next, where these are not the same
    commit.
    """
    return [
        Edge(one.commit, other.parent)
        for one, other in pairwise(edges)
        if one.commit != other.parent
    ]


def sql_timestamp(value: datetime) -> datetime:
    """A parameter's time in UTC, without its zone.

    A naive one is refused: nobody knows which zone it means.
    """
    if value.tzinfo is None:
        raise ValueError(f"a time without a zone cannot be written: {value!r}")
    return value.astimezone(UTC).replace(tzinfo=None)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
