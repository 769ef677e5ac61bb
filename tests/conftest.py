"""Fixtures for all tests. ``tests/support/servers.py`` describes the origin of the databases."""

from __future__ import annotations

from dolt_watch.engines.doltlite.loader import load_sqlite3
from dolt_watch.errors import DatabaseError

# doltlite must be loaded before the first import of sqlite3. ``load_sqlite3`` keeps doltlite from
# re-executing pytest, which would hide the output and exit with 0. It also removes doltlite's
# environment variable, which would disable doltlite in child processes.
try:
    load_sqlite3()
    NO_DOLTLITE = ""
except DatabaseError as error:
    NO_DOLTLITE = str(error)

import fcntl
import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress, ServerAddress
from dolt_watch.engines.connect import open_engine
from tests.support import beads, servers, templates
from tests.support.beads import Workspace
from tests.support.browser import browser as browser
from tests.support.groups import mark_groups
from tests.support.matrix import mark_matrices
from tests.support.servers import Server

Factory = Callable[[], Engine]


def pytest_report_header() -> str:
    """Return the bd of this run: a real bd, or the stand-in and its dialect."""
    return f"bd: {beads.described()}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return 1.5 processes per core, because tests wait for a third of their time."""
    return max(1, (os.cpu_count() or 1) * 3 // 2)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out long tests and those that need a Dolt server",
    )
    parser.addoption(
        "--bd", action="store_true", help="only tests that run bd, for another bd or another Dolt"
    )


def _uses_a_server(item: pytest.Item) -> bool:
    """Return whether fixtures or parameters of the test require a Dolt server."""
    call = getattr(item, "callspec", None)
    return "dolt_server" in getattr(item, "fixturenames", ()) or (
        call is not None and "dolt" in call.params.values()
    )


def _runs_bd(item: pytest.Item) -> bool:
    return not {"beads_workspace", "watch", "bd_program", "fresh"}.isdisjoint(
        getattr(item, "fixturenames", ())
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Select tests by the options, and run long tests first. Other tests keep their order.

    A slow test limits its own time, so it gets no timeout here. The option on the command line
    isn't enough, because the timeout mark of a file takes precedence.
    """
    # Before pytest applies -m.
    mark_matrices(items)
    mark_groups(items)
    kept = items[:]
    if config.getoption("quick"):
        kept = [
            item for item in kept if not (item.get_closest_marker("long") or _uses_a_server(item))
        ]
    if config.getoption("bd"):
        kept = [item for item in kept if _runs_bd(item)]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(0), append=False)
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """Exclude the objects of the collection from garbage collection. Saves 0.5 s per collection."""
    gc.collect()
    gc.freeze()


Once = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Return ``once(name, make)``, which returns a folder with the results of ``make``.

    ``make`` runs once per test run, for all workers of pytest-xdist.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def made(name: str, make: Callable[[Path], None]) -> Path:
        folder = shared / f"once-{name}"
        with (shared / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                unfinished = shared / f"once-{name}.unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(folder)
        return folder

    return made


@pytest.fixture(scope="session", autouse=True)
def templates_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Set the folder of the template databases of this process. Tests start from copies of them."""
    templates.keep_in(tmp_path_factory.mktemp("templates"))


@pytest.fixture(scope="session")
def dolt_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a real Dolt server for the whole run."""
    with servers.server(tmp_path_factory.mktemp("dolt")) as started:
        yield started


@pytest.fixture
def dolt_address(dolt_server: Server) -> Iterator[ServerAddress]:
    """Yield the address of a new, empty database on the server. Drop the database afterwards."""
    address = dolt_server.fresh()
    yield address
    dolt_server.drop(address)


@pytest.fixture
def doltlite_path(tmp_path: Path) -> FileAddress:
    """Return the address of a DoltLite file that doesn't exist yet."""
    if NO_DOLTLITE:
        servers.without(NO_DOLTLITE)
    return FileAddress(str(tmp_path / "fresh.db"))


def _factory(address: ServerAddress | FileAddress) -> Iterator[Factory]:
    made: list[Engine] = []

    def make() -> Engine:
        made.append(open_engine(address, create=True))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def dolt_factory(dolt_address: ServerAddress) -> Iterator[Factory]:
    """Yield a factory of connections to one new database of the Dolt server."""
    yield from _factory(dolt_address)


@pytest.fixture
def doltlite_factory(doltlite_path: FileAddress) -> Iterator[Factory]:
    """Yield a factory of connections to one new DoltLite file."""
    yield from _factory(doltlite_path)


@pytest.fixture(params=["dolt", "doltlite"])
def engine_factory(request: pytest.FixtureRequest) -> Factory:
    """Return a factory of connections to one new, empty database, for each of the two engines."""
    factory: Factory = request.getfixturevalue(f"{request.param}_factory")
    return factory


@pytest.fixture
def engine(engine_factory: Factory) -> Engine:
    """Return one connection to a new, empty database, for each of the two engines."""
    return engine_factory()


@pytest.fixture
def dolt(dolt_factory: Factory) -> Engine:
    """Return one connection to a new, empty database of the Dolt server."""
    return dolt_factory()


@pytest.fixture
def doltlite(doltlite_factory: Factory) -> Engine:
    """Return one connection to a new DoltLite file."""
    return doltlite_factory()


@pytest.fixture
def beads_engine(engine: Engine) -> Engine:
    """Return a connection to a database with beads' real tables, for each of the two engines.

    The tables are committed and contain no beads.
    """
    beads.create_beads(engine)
    return engine


@pytest.fixture(params=beads.SHAPES)
def beads_shape(request: pytest.FixtureRequest) -> str:
    """Return each of the three shapes of beads' tables, as the name of its bd release."""
    return str(request.param)


@pytest.fixture
def shaped_engine(engine: Engine, beads_shape: str) -> Engine:
    """Return a connection to a database with beads' real tables, for each engine and shape.

    The tables are committed and contain no beads.
    """
    beads.create_beads(engine, beads_shape)
    return engine


@pytest.fixture
def beads_workspace(dolt_server: Server, tmp_path: Path) -> Iterator[Workspace]:
    """Yield a bd workspace on a new database of the server, for a real bd or the stand-in."""
    made = beads.workspace(dolt_server, tmp_path)
    yield made
    dolt_server.drop(made.address)
