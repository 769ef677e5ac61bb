"""Databases that start as copies of one: a process makes once what many of its tests begin with.

A copy holds what its original holds: commits, tables that no commit holds, rows. A Dolt server
needs 0.14 CPU seconds to make beads' tables and the ledger's, and 0.02 to take in a copied folder;
DoltLite needs 0.07 and 56 syncs of the disk, and 0.002 for a copied file.
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
    """Keep this process's templates in ``folder``. Without one, nothing is copied."""
    _FOLDERS.append(folder)


def fill(engine: Engine, name: str, make: Callable[[], None]) -> None:
    """Make an empty database what ``make`` makes of one: by a copy, where it was made before.

    Args:
        engine: The only connection to the database. It stays usable.
        name: What ``make`` makes, and all that this depends on.
        make: Fill the database through ``engine``, and leave no transaction open.
    """
    if not _FOLDERS:
        make()
    elif isinstance(engine, DoltLiteEngine):
        _fill_file(engine, ("doltlite", name), make)
    elif isinstance(engine, DoltEngine) and (own := servers.own(engine.address)):
        _fill_database(engine, own, (own.program, name), make)
    else:  # a server elsewhere: its files are not at hand
        make()


class Snapshot:
    """A database as it was, to be put back as often as wanted."""

    def __init__(self, address: ServerAddress | FileAddress, place: Path) -> None:
        """Copy the database, which rests and has no connection, to the new ``place``.

        Raises Elsewhere where its files are not at hand.
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
        """Replace the database, which has no connection."""
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
    engine._link.discard()  # it connects again at its next statement
    own.drop(engine.address)
    own.restore(database, _TEMPLATES[key])
