"""Reads `AS OF` a commit whose tables have other columns than the query names.

History holds commits with other columns than now, or without a table. In a read of such a commit
a missing column is NULL and a missing table has no rows, so that one query serves all commits.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from dolt_watch.engines import Param, Row
from dolt_watch.engines.sql_text import LITERAL
from dolt_watch.errors import NoSuchTable, SchemaChanged

# Few processes meet such a commit, so the patterns are compiled when they are used.
_READ = (
    rf"(?is)({LITERAL})|(\?)"
    r"|\b([A-Za-z_]\w*)\s+AS\s+OF\s+('[^']*'|\?)(?:\s+AS\s+([A-Za-z_]\w*))?"
)
_COLUMN = (
    r"column \"(?:\w+\.)?(?P<a>\w+)\" could not be found"
    r"|table \"(?P<t>\w+)\" does not have column \"(?P<b>\w+)\""
    r"|no such column: (?:(?P<u>\w+)\.)?(?P<c>\w+)"
    r"|Unknown column '(?:(?P<v>\w+)\.)?(?P<d>\w+)'"
)
"""The column that an error of either engine says is missing, and the table where the error names
it.
"""

_MOST = 200
"""Columns that are filled in before the error is raised after all."""

_NOTHING = "watch_nothing"


class _Read(NamedTuple):
    """One ``table AS OF commit`` of a query."""

    start: int
    end: int
    table: str
    commit: str
    alias: str
    parameter: int | None
    """Number of the query's parameter that holds the commit."""


def query_history(
    run: Callable[[str, Sequence[Param]], list[Row]],
    columns: Callable[[str, str | None], Iterable[str]],
    sql: str,
    params: Sequence[Param],
) -> list[Row]:
    """Return the rows of a query, with NULL for what the commits that it reads lack.

    ``run``: executes a statement. ``columns``: names of a table's columns at a commit, or as it is
    now for None. A statement without ` AS OF ` is run as it is.
    """
    try:
        return run(sql, params)
    except (SchemaChanged, NoSuchTable) as error:
        if " AS OF " not in sql:
            raise
        return _with_missing(run, columns, sql, params, error)


def _with_missing(
    run: Callable[[str, Sequence[Param]], list[Row]],
    columns: Callable[[str, str | None], Iterable[str]],
    sql: str,
    params: Sequence[Param],
    error: SchemaChanged | NoSuchTable,
) -> list[Row]:
    """Return the rows of a query that failed with ``error``, with NULL for what its commits lack.

    ``columns``: names of a table's columns at a commit, or as it is now for None.
    Raises ``error`` again if what is missing is not in a table that is read `AS OF` a commit.
    """
    reads = list(_reads(sql, params))
    have = {read: set(columns(read.table, read.commit)) for read in reads}
    filled: dict[_Read, list[str]] = {
        read: [] if have[read] else [*columns(read.table, None), _NOTHING] for read in reads
    }
    if isinstance(error, NoSuchTable):
        if not any(read.table == error.table and not have[read] for read in reads):
            raise error
    elif not _fill(error, have, filled) and not _known(error, have):
        raise error
    for _ in range(_MOST):
        try:
            return run(*_written(sql, params, have, filled))
        except SchemaChanged as another:
            if not _fill(another, have, filled):
                raise
            error = another
    raise error


def _fill(
    error: SchemaChanged, have: dict[_Read, set[str]], filled: dict[_Read, list[str]]
) -> bool:
    """Record the column that the error names, under its table."""
    found = re.search(_COLUMN, error.message)
    if found is None:
        return False
    column = found["a"] or found["b"] or found["c"] or found["d"]
    owner = found["t"] or found["u"] or found["v"]
    for read in have:
        known = column in have[read] or column in filled[read]
        if not known and (owner is None or owner in (read.alias, read.table)):
            filled[read].append(column)
            return True
    return False


def _known(error: SchemaChanged, have: dict[_Read, set[str]]) -> bool:
    """Return whether a commit has the column after all:

    DoltLite shows it only for a literal hash.
    """
    found = re.search(_COLUMN, error.message)
    named = set(found.groups()) if found else set()
    return any(named & columns for columns in have.values())


def _reads(sql: str, params: Sequence[Param]) -> Iterable[_Read]:
    number = 0
    for found in re.finditer(_READ, sql):
        if found[1] is not None:
            continue
        if found[2]:
            number += 1
            continue
        table, commit, alias = found[3], found[4], found[5] or found[3]
        if commit == "?":
            yield _Read(found.start(), found.end(), table, str(params[number]), alias, number)
            number += 1
        else:
            yield _Read(found.start(), found.end(), table, commit[1:-1], alias, None)


def _written(
    sql: str, params: Sequence[Param], have: dict[_Read, set[str]], filled: dict[_Read, list[str]]
) -> tuple[str, list[Param]]:
    """Put a subquery in place of each read.

    Its commit is a literal: DoltLite shows a commit's own columns then.
    """
    parts, at = list[str](), 0
    for read in have:
        nulls = ", ".join(f"NULL AS `{column}`" for column in filled[read])
        if not have[read]:
            source = f"(SELECT {nulls} FROM (SELECT 1 AS one) AS none_ WHERE one = 0)"
        else:
            every = f"t_.*, {nulls}" if nulls else "t_.*"
            source = f"(SELECT {every} FROM {read.table} AS OF '{read.commit}' AS t_)"
        parts += [sql[at : read.start], f"{source} AS {read.alias}"]
        at = read.end
    gone = {read.parameter for read in have}
    return "".join([*parts, sql[at:]]), [value for n, value in enumerate(params) if n not in gone]
