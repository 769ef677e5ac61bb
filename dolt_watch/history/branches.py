"""History of a branch by its name, on both engines, without checking anything out."""

from __future__ import annotations

from dataclasses import replace

from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress, ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import SettingsError
from dolt_watch.sanitize import sanitize
from dolt_watch.suggestions import suggest


def open_branch(address: ServerAddress | FileAddress, branch: str | None) -> Engine:
    """An engine whose history is the branch's; None: the database's own.

    Raises SettingsError for a branch that is not there.

    A server reads history fastest from the HEAD of the connection, so there it is one of its
    own, ``database/branch``. DoltLite does not care.
    """
    engine = open_engine(address)
    if branch is None:
        return engine
    try:
        branch_head(engine, branch)
    except BaseException:
        engine.close()
        raise
    if isinstance(address, FileAddress):
        return engine
    engine.close()
    return open_engine(replace(address, database=f"{address.database}/{branch}"))


def branch_head(engine: Engine, branch: str | None) -> str:
    """The last commit of the branch; None: HEAD."""
    if branch is None:
        return str(engine.query("SELECT HASHOF('HEAD')")[0][0])
    rows = engine.query("SELECT hash FROM dolt_branches WHERE name = ?", (branch,))
    if not rows:
        names = [name for (name,) in engine.query("SELECT name FROM dolt_branches LIMIT 200")]
        raise SettingsError(
            f"no such branch: {sanitize(branch, 80)!r}",
            where="--branch",
            fix=suggest(branch, names),
        )
    return str(rows[0][0])
