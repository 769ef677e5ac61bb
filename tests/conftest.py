"""Fixtures for all tests. See ``tests/support/servers.py`` for where the databases come from."""

from __future__ import annotations

from dolt_watch.engines.doltlite.loader import load_sqlite3
from dolt_watch.errors import DatabaseError

# Before anything imports sqlite3: doltlite can only come first. ``load`` never re-executes
# pytest (which would swallow the run's output and exit 0) and leaves no mark in the environment
# that child processes would trip over.
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
from tests.support.matrix import mark_matrices
from tests.support.servers import Server

Factory = Callable[[], Engine]


def pytest_report_header() -> str:
    """The bd of this run: a real one, or the stand-in and its dialect."""
    return f"bd: {beads.described()}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three processes for two cores: tests wait for a third of their time."""
    return max(1, (os.cpu_count() or 1) * 3 // 2)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out long tests and those that need a Dolt server or a Kubernetes control plane",
    )
    parser.addoption(
        "--bd", action="store_true", help="only tests that run bd, for another bd or another Dolt"
    )


def _uses_a_server(item: pytest.Item) -> bool:
    """Whether the test needs a Dolt server or a control plane, by its fixtures or parameters."""
    call = getattr(item, "callspec", None)
    return not {"dolt_server", "plane"}.isdisjoint(getattr(item, "fixturenames", ())) or (
        call is not None and "dolt" in call.params.values()
    )


def _runs_bd(item: pytest.Item) -> bool:
    return not {"beads_workspace", "watch", "bd_program", "fresh"}.isdisjoint(
        getattr(item, "fixturenames", ())
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests come first, the others in their order.

    A long profile ends by itself, whatever limit its file sets for the others: a file's mark
    beats the command line.
    """
    mark_matrices(items)  # before pytest applies -m
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
    """Keep what collection made out of garbage collection: half a second each time."""
    gc.collect()
    gc.freeze()


Once = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """``once(name, make)``: a folder that ``make`` fills once a run, for all workers of
    pytest-xdist.
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
    """Where this process keeps the databases that others start as copies of."""
    templates.keep_in(tmp_path_factory.mktemp("templates"))


@pytest.fixture(scope="session")
def dolt_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real Dolt server, one for the whole run."""
    with servers.server(tmp_path_factory.mktemp("dolt")) as started:
        yield started


@pytest.fixture
def dolt_address(dolt_server: Server) -> Iterator[ServerAddress]:
    """A fresh, empty database on the server, dropped afterwards."""
    address = dolt_server.fresh()
    yield address
    dolt_server.drop(address)


@pytest.fixture
def doltlite_path(tmp_path: Path) -> FileAddress:
    """A fresh DoltLite file, not yet made."""
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
    """New connections to one fresh database of the Dolt server."""
    yield from _factory(dolt_address)


@pytest.fixture
def doltlite_factory(doltlite_path: FileAddress) -> Iterator[Factory]:
    """New connections to one fresh DoltLite file."""
    yield from _factory(doltlite_path)


@pytest.fixture(params=["dolt", "doltlite"])
def engine_factory(request: pytest.FixtureRequest) -> Factory:
    """On both engines: new connections to one fresh, empty database of this test."""
    factory: Factory = request.getfixturevalue(f"{request.param}_factory")
    return factory


@pytest.fixture
def engine(engine_factory: Factory) -> Engine:
    """On both engines: one connection to a fresh, empty database."""
    return engine_factory()


@pytest.fixture
def dolt(dolt_factory: Factory) -> Engine:
    """One connection to a fresh, empty database of the Dolt server."""
    return dolt_factory()


@pytest.fixture
def doltlite(doltlite_factory: Factory) -> Engine:
    """One connection to a fresh DoltLite file."""
    return doltlite_factory()


@pytest.fixture
def beads_engine(engine: Engine) -> Engine:
    """On both engines: a database with beads' real tables, committed, without beads."""
    beads.create_beads(engine)
    return engine


@pytest.fixture(params=beads.SHAPES)
def beads_shape(request: pytest.FixtureRequest) -> str:
    """Each of the three shapes of beads' tables, by the release of bd that makes it."""
    return str(request.param)


@pytest.fixture
def shaped_engine(engine: Engine, beads_shape: str) -> Engine:
    """On both engines, in each shape: a database with beads' real tables, committed, without
    beads.
    """
    beads.create_beads(engine, beads_shape)
    return engine


@pytest.fixture
def beads_workspace(dolt_server: Server, tmp_path: Path) -> Iterator[Workspace]:
    """A bd workspace on a fresh database of the server: of a real bd, or of the stand-in."""
    made = beads.workspace(dolt_server, tmp_path)
    yield made
    dolt_server.drop(made.address)
