"""Opens the engine of an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress, ServerAddress


def open_engine(address: ServerAddress | FileAddress, *, create: bool = False) -> Engine:
    """Connect to the database, and return its engine.

    Args:
        address: The database.
        create: Whether to create a missing DoltLite file. bd creates the database of a server.

    Raises:
        Unreachable: The server can't be reached.
        AccessDenied: The server refused the user.
        NoSuchDatabase: There is no such database or file.
        DatabaseError: DoltLite can't be loaded.
    """
    if isinstance(address, FileAddress):
        # Late: only one of the two engines is used.
        from dolt_watch.engines.doltlite.engine import DoltLiteEngine

        return DoltLiteEngine(address.path, create=create)
    # Late: only one of the two engines is used.
    from dolt_watch.engines.dolt.engine import DoltEngine

    return DoltEngine(address)
