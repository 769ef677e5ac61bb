"""Transpile MySQL's dialect to DoltLite's with sqlglot, and cache the result by text.

sqlglot translates most statements correctly. This module corrects the rest for dolt_watch. A test
in ``tests/conformance`` runs each construct on both engines.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from sqlglot import exp, parse_one

from dolt_watch.core.rules.sqlite_functions import replace_from_leaves, rewrite_function
from dolt_watch.engines.sql_text import LITERAL
from dolt_watch.errors import DatabaseError

NOW_6 = "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'"
"""UTC_TIMESTAMP(6) as text.

SQLite's clock has milliseconds. As in MySQL, the time is constant within a statement.
"""

UUID = (
    "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2)"
    " || '-8' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"
)

_PREPARED = re.compile(
    rf"({LITERAL})"
    r"|\b(?:UTC_TIMESTAMP|NOW|CURRENT_TIMESTAMP)\s*\(\s*([1-6])\s*\)"
    r"|\b(?:UTC_TIMESTAMP|NOW)\s*\(\s*0?\s*\)()"
    r"|\b([A-Za-z_]\w*)\s+AS\s+OF\s+('[^']*'|\?)"
    r"|\A\s*REPLACE\s+(?=INTO\b)()",
    re.IGNORECASE | re.DOTALL,
)


def _prepare(found: re.Match[str]) -> str:
    """Replace a construct that sqlglot can't parse, or whose precision it drops, by one that it
    parses.

    Literals are unchanged.
    """
    if found[1] is not None:
        return found[1]
    if found[2]:
        return "watch_now_6()"
    if found[3] is not None:
        return "watch_now()"
    return f"dolt_at_{found[4]}({found[5]})" if found[4] else "INSERT OR REPLACE "


@lru_cache(maxsize=512)
def transpile(sql: str) -> tuple[str, ...]:
    """Return the statement in SQLite's dialect, with further statements for indexes in CREATE
    TABLE.

    Raises DatabaseError.
    """
    try:
        tree: Any = parse_one(_PREPARED.sub(_prepare, sql), read="mysql")
        if isinstance(tree, exp.Command):
            raise ValueError(f"sqlglot can't parse {sql[:80]}")
        indexes = _indexes(tree) if isinstance(tree, exp.Create) else []
        tree = replace_from_leaves(tree, rewrite_function).transform(_rewrite)
        return tuple(
            node.sql(dialect="sqlite", normalize_functions=False) for node in (tree, *indexes)
        )
    except Exception as error:
        raise DatabaseError(f"This SQL has no DoltLite form: {error}.", where=sql[:200]) from error


def _function(sql: str) -> Any:
    return exp.paren(parse_one(sql, read="sqlite"), copy=False)


def _rewrite(node: Any) -> Any:
    if isinstance(node, exp.Anonymous):
        return _anonymous(node)
    if isinstance(node, exp.Uuid):
        return _function(UUID)
    if isinstance(node, exp.DataType):
        return _type(node)
    if isinstance(node, exp.ColumnConstraint) and isinstance(
        node.kind, exp.OnUpdateColumnConstraint
    ):
        return None  # SQLite has no ON UPDATE. dolt_watch's statements set updated_at.
    if isinstance(node, exp.ColumnDef):
        node.set("position", None)
    if isinstance(node, exp.UniqueColumnConstraint) and isinstance(node.this, exp.Schema):
        node.this.set("this", None)  # UNIQUE KEY name (a, b): no name in SQLite
    if isinstance(node, exp.IndexColumnConstraint):
        return None
    if isinstance(node, exp.OnConflict) and node.args.get("duplicate"):
        return _upsert(node)
    if isinstance(node, exp.Create):
        node.set("properties", None)  # ENGINE, CHARSET, COLLATE
    return node


def _anonymous(node: exp.Anonymous) -> Any:
    called = node.name.upper()
    if called == "WATCH_NOW_6":
        return _function(NOW_6)
    if called == "WATCH_NOW":
        return exp.CurrentTimestamp()
    if called == "HASHOF":
        return exp.Anonymous(this="dolt_hashof", expressions=node.expressions)
    if called == "UUID":
        return _function(UUID)
    if called == "JSON_UNQUOTE" and isinstance(node.expressions[0], exp.JSONExtract):
        inner = node.expressions[0]
        return exp.JSONExtractScalar(this=inner.this, expression=inner.expression)
    return node


def _type(node: exp.DataType) -> Any:
    """Return TEXT for JSON and dates, and BIGINT for unsigned integers.

    Other type names would get SQLite's NUMERIC affinity, which converts '123' to a number.
    """
    kind = exp.DataType.Type
    if node.this in {
        kind.DATETIME,
        kind.TIMESTAMP,
        kind.TIMESTAMPTZ,
        kind.DATE,
        kind.JSON,
        kind.ENUM,
    }:
        return exp.DataType.build("TEXT")
    if node.this in {kind.UBIGINT, kind.UINT}:
        return exp.DataType.build("BIGINT")
    return node


def _upsert(node: exp.OnConflict) -> Any:
    """Return ON DUPLICATE KEY UPDATE as an upsert: VALUES(x) becomes excluded.x."""

    def excluded(inner: Any) -> Any:
        if isinstance(inner, exp.Anonymous) and inner.name.upper() == "VALUES":
            return exp.column(inner.expressions[0].name, table="excluded")
        return inner

    sets = [expression.transform(excluded) for expression in node.expressions]
    return exp.OnConflict(action=exp.var("DO UPDATE"), expressions=sets)


def _indexes(tree: exp.Create) -> list[Any]:
    """Return each KEY name (columns) in CREATE TABLE as a separate statement."""
    table = tree.find(exp.Table)
    made: list[Any] = []
    for index in tree.find_all(exp.IndexColumnConstraint):
        columns = ", ".join(f"`{column.name}`" for column in index.expressions)
        name = index.this.name
        made.append(
            parse_one(
                f"CREATE INDEX IF NOT EXISTS `{name}` ON `{table.name if table else ''}`"
                f" ({columns})",
                read="mysql",
            )
        )
    return made
