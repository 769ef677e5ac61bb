"""Clones of one tracker that sync by push and pull, each on its own server with a watcher."""

from __future__ import annotations

import contextlib
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.config import Settings, load, settings_hash
from dolt_watch.controller.tick_result import TickResult
from dolt_watch.core.decisions.policy import Policy, Scope
from dolt_watch.engines import Engine
from dolt_watch.engines.connect import open_engine
from dolt_watch.replay.replayer import HistoryReplayer
from dolt_watch.replay.verification import verify
from dolt_watch.targets.protocol import Target
from dolt_watch.targets.registry import TargetPool
from tests.faults.racing import AT_ONCE, ROOT, clean_env
from tests.stubs.beadboard import BeadBoardStub
from tests.support import forked, servers
from tests.support.beads import create_tracker
from tests.support.clocks import ShiftedClock
from tests.support.lines import build
from tests.support.servers import Server

DISPATCH, REAP = Scope(dispatch=True), Scope(reap=True)


@dataclass
class Side:
    """One clone on its own server, with a watcher."""

    server: Server
    settings: Settings
    engine: Engine
    board: BeadBoardStub

    def sql(self, *texts: str) -> list[tuple[Any, ...]]:
        """Run statements in one session."""
        return self.server.sql(*texts, database=self.settings.address.database)  # type: ignore[union-attr]

    def commit(self, sql: str) -> None:
        self.sql(sql, "CALL DOLT_COMMIT('-Am', 'by hand')")

    def tick(
        self,
        shift: timedelta = timedelta(),
        targets: Callable[[str], Target] | None = None,
        scope: Scope = DISPATCH,
        sets: Sequence[str] = (),
    ) -> TickResult:
        """Run one tick, ``shift`` from now.

        Args:
            sets: Settings in addition to those of all ticks.
        """
        own = TargetPool(self.settings.targets)
        settings = load(
            {"database": self.settings.address.url, "set": (*AT_ONCE, *sets)},
            {"BEADBOARD_URL": self.board.url},
            ROOT,
        )
        try:
            loop = build(
                self.engine, settings, targets or own, ShiftedClock(shift), lambda line: None
            )
            return loop.tick(scope)
        finally:
            own.close()

    def verified(self) -> tuple[int, list[Any], Counter[str]]:
        """Verify every decision.

        Return the number of reproduced decisions, the differences, and the number of unverifiable
        decisions by reason.
        """
        policy = Policy(
            self.settings.rules, self.settings.settle, settings_hash=settings_hash(self.settings)
        )
        out = verify(HistoryReplayer(self.engine, policy, self.head()))
        return out.same, out.differences, out.unverifiable

    def command(self, *names: str) -> subprocess.CompletedProcess[str]:
        sets = [word for each in AT_ONCE for word in ("--set", each)]
        words = [*names, "--database", self.settings.address.url, *sets]
        return forked.dolt_watch(
            words, cwd=ROOT, env=clean_env() | {"BEADBOARD_URL": self.board.url}
        )

    def head(self) -> str:
        return str(self.sql("SELECT HASHOF('HEAD')")[0][0])

    def push(self) -> None:
        self.sql("CALL DOLT_PUSH('origin', 'main')")

    def pull(self) -> None:
        self.sql("CALL DOLT_PULL('origin', 'main')")

    def stream(self, bead: str) -> list[tuple[int, str, str]]:
        return self.sql(
            f"SELECT version, kind, job_id FROM watch_decision WHERE bead_id = '{bead}' ORDER BY"
            " version"
        )


@dataclass
class Clones:
    here: Side
    board: BeadBoardStub
    clone: Callable[[], Side]
    """Create *there*, a clone of the pushed history."""

    def sent(self) -> Counter[str]:
        return Counter(request.json["taskId"] for request in self.board.dispatches)


@pytest.fixture(scope="module")
def two_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Yield two servers of this test. A remote is a folder that both can access."""
    program = servers.own_dolt()
    folders = [tmp_path_factory.mktemp(name) for name in ("here", "there")]
    with (
        servers.start_dolt(program, folders[0]) as here,
        servers.start_dolt(program, folders[1]) as there,
    ):
        yield here, there


@pytest.fixture
def clones(two_servers: tuple[Server, Server], tmp_path: Path) -> Iterator[Clones]:
    remote = f"file://{tmp_path / 'remote'}"
    (tmp_path / "remote").mkdir()
    with BeadBoardStub() as board, contextlib.ExitStack() as stack:

        def side(server: Server, database: str) -> Side:
            url = server.address.url.rstrip("/") + "/" + database
            settings = load({"database": url, "set": AT_ONCE}, {"BEADBOARD_URL": board.url}, ROOT)
            engine = open_engine(settings.address)
            stack.callback(server.sql, f"DROP DATABASE `{database}`")
            stack.callback(engine.close)
            return Side(server, settings, engine, board)

        def clone() -> Side:
            name = two_servers[1].unused().database
            two_servers[1].sql(f"CALL DOLT_CLONE('{remote}', '{name}')")
            return side(two_servers[1], name)

        here = side(two_servers[0], two_servers[0].fresh().database)
        create_tracker(here.engine, "dolt-watch <dolt-watch@here>")
        here.sql(
            f"CALL DOLT_REMOTE('add', 'origin', '{remote}')",
            "CALL DOLT_PUSH('-u', 'origin', 'main')",
        )
        yield Clones(here, board, clone)
