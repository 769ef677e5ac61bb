"""History of a branch by its name, on both engines, without checking anything out."""

from __future__ import annotations

from dataclasses import replace

from dolt_watch.engines import Engine
from dolt_watch.engines.address import Address, DoltLitePath
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import SettingsError
from dolt_watch.sanitize import outside
from dolt_watch.suggestions import nearest


def open_on(address: Address | DoltLitePath, branch: str | None) -> Engine:
    """An engine whose history is the branch's; None: the database's own. Raises SettingsError for a branch that is not there.

    A server reads history fastest from the HEAD of the connection, so there it is one of its own, ``database/branch``. DoltLite does not care.
    """
    engine = open_engine(address)
    if branch is None:
        return engine
    try:
        head_of(engine, branch)
    except BaseException:
        engine.close()
        raise
    if isinstance(address, DoltLitePath):
        return engine
    engine.close()
    return open_engine(replace(address, database=f"{address.database}/{branch}"))


def head_of(engine: Engine, branch: str | None) -> str:
    """The last commit of the branch; None: HEAD."""
    if branch is None:
        return str(engine.query("SELECT HASHOF('HEAD')")[0][0])
    rows = engine.query("SELECT hash FROM dolt_branches WHERE name = ?", (branch,))
    if not rows:
        names = [name for (name,) in engine.query("SELECT name FROM dolt_branches LIMIT 200")]
        raise SettingsError(f"no such branch: {outside(branch, 80)!r}", where="--branch", fix=nearest(branch, names))
    return str(rows[0][0])
