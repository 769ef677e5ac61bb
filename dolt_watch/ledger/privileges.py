"""The least privileges of a worker's database user.

The user can't change what dolt_watch must not change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dolt_watch.errors import SettingsError
from dolt_watch.ledger.schema import LOCAL


class Privilege(NamedTuple):
    """One privilege."""

    right: str
    on: str
    """A table, ``*`` for all tables, or a procedure (for EXECUTE)."""
    probe: str
    """A statement that needs the privilege and does nothing. It is rolled back in any case."""


def _needs() -> Iterator[Privilege]:
    yield Privilege(
        "SELECT", "*", "SELECT 1 FROM DOLT_LOG('HEAD') LIMIT 1"
    )  # Dolt requires SELECT on every table there.
    yield Privilege("UPDATE", "issues", "UPDATE issues SET id = id WHERE 1 = 0")
    for table in ("events", "watch_decision", "watch_settings"):
        yield _insert(table)
    for table in LOCAL:
        key = "id" if table == "watch_cursor" else "bead_id"
        yield _insert(table)
        yield Privilege("UPDATE", table, f"UPDATE {table} SET {key} = {key} WHERE 1 = 0")
        yield Privilege("DELETE", table, f"DELETE FROM {table} WHERE 1 = 0")
    for procedure in ("dolt_add", "dolt_commit"):
        # Dolt checks the privilege first, and then rejects the option.
        yield Privilege("EXECUTE", procedure, f"CALL {procedure}('--no-such-option')")


def _insert(table: str) -> Privilege:
    return Privilege("INSERT", table, f"INSERT INTO {table} SELECT * FROM {table} WHERE 1 = 0")


REQUIRED = tuple(_needs())


def grant_statements(
    database: str, user: str, needs: Iterable[Privilege] = REQUIRED
) -> Iterator[str]:
    """Yield GRANT statements for ``name`` or ``name@host``.

    The user may add to the ledger, and never change it.

    Raises:
        SettingsError: ``user`` is not a valid name.
    """
    name, _, host = user.partition("@")
    if not re.fullmatch(r"[\w.-]+", name) or not re.fullmatch(r"[\w.%:-]*", host):
        raise SettingsError(
            f"{user!r} is not a valid user name.",
            where="--print-grants",
            fix="Write NAME or NAME@HOST.",
        )
    rights: dict[str, list[str]] = {}
    for need in needs:
        rights.setdefault(
            f"PROCEDURE {need.on}" if need.right == "EXECUTE" else need.on, []
        ).append(need.right)
    for on, names in rights.items():
        kind, _, thing = on.rpartition(" ")
        place = f"`{database}`.{thing if thing == '*' else f'`{thing}`'}"
        yield (
            f"GRANT {', '.join(names)} ON {f'{kind} ' if kind else ''}{place} TO"
            f" '{name}'@'{host or '%'}';"
        )
