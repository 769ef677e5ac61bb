"""Shared parts of the race tests: the arena, the worker processes, and the results in history.

An arena is a database with beads, and a BeadBoard that accepts all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.cli.composition import identity
from dolt_watch.config import Settings, load
from dolt_watch.engines import Edge, Engine
from dolt_watch.engines.connect import open_engine
from dolt_watch.history import reader
from tests.acceptance.conftest import rows_of
from tests.stubs.beadboard import BeadBoardStub
from tests.support import beads
from tests.support.servers import die_with_parent

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = ("settle=0s", "rules.agent.max_in_flight=1000")
"""Settings under which no gate holds a bead."""
CLAIMED_AND_SENT = ["claim", "dispatched"]
"""Kinds of entries of a bead whose only attempt was accepted."""


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Yield a list of lines, and print them after the module although pytest captures output."""
    lines: list[str] = []
    yield lines
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        writer = request.config.get_terminal_writer()
        writer.line()
        for line in lines:
            writer.line(line)


@dataclass(frozen=True)
class Ticked:
    """The result of one tick of a racer."""

    code: int
    error: str
    dispatched: int
    conflicts: int
    rounds: int
    """0 means that there was nothing to do."""
    tries: int
    """Highest number of tries that an outcome entry needed."""
    seconds: float
    lines: Sequence[str]


class Racer:
    """A worker process that ticks on request."""

    def __init__(self, database: str, board: str, *sets: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.racer", database, board, *sets],
            cwd=ROOT,
            env=clean_env(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )

    def wait(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def go(self, ahead: float = 0) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{ahead}\n")
        self._process.stdin.flush()

    def done(self) -> Ticked:
        assert self._process.stdout is not None
        return Ticked(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=300)
        self._process.kill()
        self._process.wait()


def clean_env() -> dict[str, str]:
    """Return an environment for child processes.

    It lacks DoltLite's variable, with which a child would load the stock SQLite.
    """
    return {key: value for key, value in os.environ.items() if key != "_DOLTLITE_BOOTSTRAPPED"}


@contextlib.contextmanager
def racers(count: int, database: str, board: str, *sets: str) -> Iterator[list[Racer]]:
    """Yield ``count`` workers that are connected and wait for a request."""
    made: list[Racer] = []
    try:
        for _ in range(count):
            made.append(Racer(database, board, *sets))
        for racer in made:
            racer.wait()
        yield made
    finally:
        for racer in made:
            racer.close()


def tick_all(workers: Sequence[Racer], ahead: float = 0) -> list[Ticked]:
    """Run one tick in all workers at once."""
    for worker in workers:
        worker.go(ahead)
    return [worker.done() for worker in workers]


@dataclass
class Arena:
    """A migrated database of either engine, and a BeadBoard that accepts every bead."""

    settings: Settings
    engine: Engine
    board: BeadBoardStub
    agent: Callable[[str], None] = field(default=lambda bead: None)
    """The agent's action on an accepted bead, before the answer is sent."""

    @property
    def url(self) -> str:
        return self.settings.address.url

    def racers(self, count: int, *sets: str) -> contextlib.AbstractContextManager[list[Racer]]:
        return racers(count, self.url, self.board.url, *(sets or AT_ONCE))

    def add(self, count: int) -> list[str]:
        """Create ``count`` beads that are ready for dispatch, in one commit."""
        names = [f"bd-{number:04}" for number in range(count)]
        self.commit(rows_of(names))
        return names

    def commit(self, sql: str, engine: Engine | None = None) -> str:
        """Run a statement as another writer, and commit it. Return the commit."""
        with (engine or self.engine).transaction() as tx:
            tx.execute(sql)
            return tx.dolt_commit(["issues"], "by hand", "Tess Ter <tess@example.com>")

    def another(self) -> Engine:
        """Return a further connection."""
        return open_engine(self.settings.address)

    def head(self) -> str:
        return str(self.engine.query("SELECT HASHOF('HEAD')")[0][0])

    def sent(self) -> list[str]:
        return [request.json["taskId"] for request in self.board.dispatches]

    def streams(self) -> dict[str, list[str]]:
        """Return each bead's kinds of entries by version. Fails if versions have a gap."""
        found: dict[str, list[str]] = {}
        for bead, version, kind in self.engine.query(
            "SELECT bead_id, version, kind FROM watch_decision ORDER BY bead_id, version"
        ):
            found.setdefault(bead, []).append(kind)
            assert len(found[bead]) == version, f"{bead}: version {version} follows {found[bead]}"
        return found

    def status_by_commit(self, since: str) -> Iterator[dict[str, str]]:
        """Yield the status of each changed bead after each change since the commit."""
        stands: dict[str, str] = {}
        for bead, status in changes_of_issues(self.engine, since, "to_id", "to_status"):
            stands[bead] = status
            yield stands


def changes_of_issues(engine: Engine, since: str, *columns: str) -> Iterator[Sequence[Any]]:
    """Return the changes of issues since a commit, in the order of history."""
    head = str(engine.query("SELECT HASHOF('HEAD')")[0][0])
    line = reader.commit_path(engine.commits(since, head), since, head)
    assert line is not None
    edges = [Edge(commit.parents[0], commit.hash) for commit in line]
    for _, row in engine.diff("issues", edges, {column: column for column in columns}):
        yield row


@contextlib.contextmanager
def open_arena(url: str, *sets: str) -> Iterator[Arena]:
    """Yield an arena with the tables of bd and dolt_watch.

    The database must be empty. A database file is created.
    """
    with BeadBoardStub() as board:
        env = {
            "BEADBOARD_URL": board.url,
            "DOLT_WATCH_PASSWORD": os.environ.get("DOLT_WATCH_TEST_PASSWORD", ""),
        }
        settings = load({"database": url, "set": sets or AT_ONCE}, env, ROOT)
        engine = open_engine(settings.address, create=True)
        try:
            beads.create_tracker(engine, identity(settings).author)
            made = Arena(settings, engine, board)
            board.on_accept = lambda bead, job: made.agent(bead)
            yield made
        finally:
            engine.close()


@pytest.fixture(params=["dolt", "doltlite"])
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """Yield an arena on each engine in turn."""
    place = request.getfixturevalue("dolt_address" if request.param == "dolt" else "doltlite_path")
    with open_arena(place.url) as made:
        yield made


@pytest.fixture
def dolt_arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """Yield an arena on a Dolt server."""
    with open_arena(request.getfixturevalue("dolt_address").url) as made:
        yield made
