"""A schema migration of bd that is not committed yet.

A newer bd migrates the tables at its first command. bd 1.2.2 in server mode leaves most of that
uncommitted. Committing a table in between would put half a migration into history: rows under
the new schema, and the tables that belong to it under the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dolt_watch.engines import Engine, Param, Row

NOT_COMMITTED = "bd's schema migration is not committed; run `bd dolt commit`"

MARKS = ("schema_migrations", "ignored_schema_migrations", "dolt_nonlocal_tables")
"""Tables whose rows bd writes while it migrates."""


def uncommitted_migration(
    engine: Engine, query: Callable[[str, Sequence[Param]], list[Row]] | None = None
) -> frozenset[str]:
    """Return the tables with a schema change that is not committed, and the marks of a migration.

    ``query``: of an open transaction, to ask as that sees them. Cost: one query where nothing is
    dirty, else two.
    """
    return engine.unmigrated(MARKS, query)
