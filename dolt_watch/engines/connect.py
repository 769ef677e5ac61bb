"""Opens the engine for an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress, ServerAddress


def open_engine(address: ServerAddress | FileAddress, *, create: bool = False) -> Engine:
    """Connect.

    ``create``: make a DoltLite file that is not there (a server's database is made by bd).

    Raises Unreachable, AccessDenied, NoSuchDatabase, DatabaseError.
    """
    if isinstance(address, FileAddress):
        # Late: only one of the two engines is used.
        from dolt_watch.engines.doltlite.engine import DoltLiteEngine

        return DoltLiteEngine(address.path, create=create)
    # Late: only one of the two engines is used.
    from dolt_watch.engines.dolt.engine import DoltEngine

    return DoltEngine(address)
