"""Databases that start as copies. A process creates the common start of its tests once.

A copy contains the commits, the uncommitted tables and the rows of its original. A Dolt server
needs 0.14 CPU seconds to create beads' tables and the ledger's, and 0.02 to adopt a copied folder.
DoltLite needs 0.07 seconds and 56 syncs of the disk, and 0.002 seconds for a copied file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress, ServerAddress
from dolt_watch.engines.dolt.engine import DoltEngine
from dolt_watch.engines.doltlite.engine import DoltLiteEngine
from tests.support import servers
from tests.support.servers import Server

_FOLDERS: list[Path] = []
_TEMPLATES: dict[tuple[str, ...], Path] = {}


def keep_in(folder: Path) -> None:
    """Keep this process's templates in ``folder``. Without a folder, nothing is copied."""
    _FOLDERS.append(folder)


def fill(engine: Engine, name: str, make: Callable[[], None]) -> None:
    """Fill an empty database with the result of ``make``, by a copy if there is a template.

    Args:
        engine: The only connection to the database. It stays usable.
        name: Name of the result of ``make``, including everything that the result depends on.
        make: Fill the database through ``engine``, and leave no transaction open.
    """
    if not _FOLDERS:
        make()
    elif isinstance(engine, DoltLiteEngine):
        _fill_file(engine, ("doltlite", name), make)
    elif isinstance(engine, DoltEngine) and (own := servers.own(engine.address)):
        _fill_database(engine, own, (own.program, name), make)
    else:
        # The files of a server elsewhere aren't accessible.
        make()


class Snapshot:
    """A copy of a database, which can be restored many times."""

    def __init__(self, address: ServerAddress | FileAddress, place: Path) -> None:
        """Copy the database, which has no connection, to the new ``place``.

        Raises Elsewhere if its files aren't accessible.
        """
        self._address, self._place = address, place
        self._server = servers.own(address) if isinstance(address, ServerAddress) else None
        if isinstance(address, FileAddress):
            shutil.copyfile(address.path, place)
        elif self._server is None:
            raise Elsewhere
        else:
            self._server.save(address.database, place)

    def put_back(self) -> None:
        """Replace the database, which has no connection, by the copy."""
        if isinstance(self._address, FileAddress):
            shutil.copyfile(self._place, self._address.path)
        else:
            assert self._server is not None
            self._server.drop(self._address)
            self._server.restore(self._address.database, self._place)


class Elsewhere(Exception):
    """The database is on a server that this process did not start."""


def _fill_file(engine: DoltLiteEngine, key: tuple[str, ...], make: Callable[[], None]) -> None:
    if key not in _TEMPLATES:
        make()
        template = _FOLDERS[-1] / f"{len(_TEMPLATES)}.db"
        shutil.copyfile(engine.path, template)
        _TEMPLATES[key] = template
        return
    engine.close()
    shutil.copyfile(_TEMPLATES[key], engine.path)
    engine.__init__(engine.path)  # type: ignore[misc]  # the same engine, connected again


def _fill_database(
    engine: DoltEngine, own: Server, key: tuple[str, ...], make: Callable[[], None]
) -> None:
    database = engine.address.database
    if key not in _TEMPLATES:
        make()
        template = _FOLDERS[-1] / str(len(_TEMPLATES))
        own.save(database, template)
        _TEMPLATES[key] = template
        return
    engine._link.discard()  # It connects again at its next statement.
    own.drop(engine.address)
    own.restore(database, _TEMPLATES[key])
