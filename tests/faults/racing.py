"""Shared parts of the race tests: an arena (a database with beads, a BeadBoard that accepts all),
worker processes, and the results in history.
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
"""Nothing but the race keeps a bead back."""
CLAIMED_AND_SENT = ["claim", "dispatched"]
"""The stream of a bead whose only attempt was accepted."""


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Lines that are shown when the module is done, whatever pytest captures."""
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
    """0: there was nothing to do."""
    tries: int
    """The most tries that one of its outcome entries needed."""
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
    """For children: without DoltLite's mark, which would give them the stock SQLite."""
    return {key: value for key, value in os.environ.items() if key != "_DOLTLITE_BOOTSTRAPPED"}


@contextlib.contextmanager
def racers(count: int, database: str, board: str, *sets: str) -> Iterator[list[Racer]]:
    """``count`` workers, connected and waiting for a request."""
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
    """All at once."""
    for worker in workers:
        worker.go(ahead)
    return [worker.done() for worker in workers]


@dataclass
class Arena:
    """One migrated database of either engine, and a BeadBoard that accepts whatever it is sent."""

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
        """So many beads that are to be dispatched, in one commit."""
        names = [f"bd-{number:04}" for number in range(count)]
        self.commit(rows_of(names))
        return names

    def commit(self, sql: str, engine: Engine | None = None) -> str:
        """A statement of another writer, and its Dolt commit."""
        with (engine or self.engine).transaction() as tx:
            tx.execute(sql)
            return tx.dolt_commit(["issues"], "by hand", "Tess Ter <tess@example.com>")

    def another(self) -> Engine:
        """One more connection."""
        return open_engine(self.settings.address)

    def head(self) -> str:
        return str(self.engine.query("SELECT HASHOF('HEAD')")[0][0])

    def sent(self) -> list[str]:
        return [request.json["taskId"] for request in self.board.dispatches]

    def streams(self) -> dict[str, list[str]]:
        """Bead → the kinds of its entries by version; versions must have no gap."""
        found: dict[str, list[str]] = {}
        for bead, version, kind in self.engine.query(
            "SELECT bead_id, version, kind FROM watch_decision ORDER BY bead_id, version"
        ):
            found.setdefault(bead, []).append(kind)
            assert len(found[bead]) == version, f"{bead}: version {version} follows {found[bead]}"
        return found

    def status_by_commit(self, since: str) -> Iterator[dict[str, str]]:
        """The status of each bead that changed since, after each change in turn."""
        stands: dict[str, str] = {}
        for bead, status in changes_of_issues(self.engine, since, "to_id", "to_status"):
            stands[bead] = status
            yield stands


def changes_of_issues(engine: Engine, since: str, *columns: str) -> Iterator[Sequence[Any]]:
    """The changes of issues since a commit, in the order of history."""
    head = str(engine.query("SELECT HASHOF('HEAD')")[0][0])
    line = reader.commit_path(engine.commits(since, head), since, head)
    assert line is not None
    edges = [Edge(commit.parents[0], commit.hash) for commit in line]
    for _, row in engine.diff("issues", edges, {column: column for column in columns}):
        yield row


@contextlib.contextmanager
def open_arena(url: str, *sets: str) -> Iterator[Arena]:
    """The tables of bd and dolt_watch on an empty database, which is created if it is a file."""
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
    """On both engines."""
    place = request.getfixturevalue("dolt_address" if request.param == "dolt" else "doltlite_path")
    with open_arena(place.url) as made:
        yield made


@pytest.fixture
def dolt_arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """On a Dolt server."""
    with open_arena(request.getfixturevalue("dolt_address").url) as made:
        yield made
