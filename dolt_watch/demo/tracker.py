"""The tracker of the demo: the real tables of beads in a DoltLite file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.engines.sql_text import split_statements
from dolt_watch.errors import DatabaseError


def create_demo_database(folder: Path) -> FileAddress:
    """Create an empty database in a folder.

    Raises:
        DatabaseError: DoltLite can't be loaded. The fix says what to install.
    """
    file = FileAddress(str(folder / "demo.db"))
    try:
        open_engine(file, create=True).close()
    except DatabaseError as error:
        raise DatabaseError(f"The demo needs DoltLite: {error.message}", fix=error.fix) from error
    return file


def make_tracker(engine: Engine, author: str) -> None:
    """Create the tables of beads in one commit, as `bd init` does."""
    for statement in split_statements(
        (resources.files(__package__) / "beads.sql").read_text(encoding="utf-8")
    ):
        engine.execute_ddl(statement)
    with engine.transaction() as tx:
        tx.dolt_commit(sorted(engine.dirty()), "bd init: beads' tables", author)
