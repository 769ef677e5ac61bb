"""The Dolt server is killed by SIGKILL during a worker's command, and restarted on the same data.

The command ends with a clear error or continues, and nothing is lost or sent twice.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from dolt_watch.engines.connect import open_engine
from tests.faults.effects import Effects, Ended, Grain, Tell, Worker, lasting, watched, writes
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.tally import Tally
from tests.faults.world import WatchedTargets, World
from tests.support.clocks import ShiftedClock
from tests.support.servers import Server, free_port, own_dolt, start_dolt

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


class MortalServer:
    """A Dolt server for this test, always on the same port and data."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder, self._port = program, folder, free_port()
        self._running = contextlib.ExitStack()
        self.server = self._start()

    def _start(self) -> Server:
        for _ in range(4):
            with contextlib.suppress(
                RuntimeError
                # For an instant after a kill, Dolt on a busy machine reports 'locked by another
                # dolt process'.
            ):
                return self._running.enter_context(
                    start_dolt(self._program, self._folder, port=self._port)
                )
        return self._running.enter_context(start_dolt(self._program, self._folder, port=self._port))

    def kill(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)

    def restart(self) -> None:
        self.close()
        self.server = self._start()

    def close(self) -> None:
        self._running.close()


@pytest.fixture
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MortalServer]:
    started = MortalServer(own_dolt(), tmp_path_factory.mktemp("mortal"))
    yield started
    started.close()


def command(
    world: World, mortal: MortalServer, fatal: int, grain: Grain, output: Path
) -> Callable[[Tell], int]:
    """Return the real command for a forked process, with a watched engine and the world's clock."""

    def body(tell: Tell) -> int:
        from dolt_watch.cli import main, tick_runner
        from dolt_watch.targets import registry

        effects = Effects(tell, fatal, grain, mortal.kill)
        vars(tick_runner).update(
            open_engine=lambda address: watched(open_engine(address), effects),
            DatabaseClock=lambda: ShiftedClock(world.shift),
        )
        vars(registry).update(TargetPool=lambda settings: WatchedTargets(settings, effects))
        os.environ["BEADBOARD_URL"] = world.board.url
        name = "tick" if world.scenario.scope.reap else "dispatch"
        sys.argv = ["dolt_watch", name, "--database", world.address.url]
        with output.open("w", encoding="utf-8") as said:
            sys.stdout = sys.stderr = said
            try:
                main()
            except SystemExit as end:
                return int(end.code or 0)
        return 70

    return body


def strike(world: World, mortal: MortalServer, fatal: int, grain: Grain, output: Path) -> Ended:
    """Run one command, and kill the server at point ``fatal`` if the command gets there."""
    with Worker(command(world, mortal, fatal, grain, output)) as worker:
        worker.start()
        ended = worker.ended()
    said = output.read_text(encoding="utf-8")
    struck = len(ended.points) >= fatal
    assert ended.signal == 0
    assert "Traceback" not in said
    if struck:
        # Code 0: no more statements were necessary. Code 1: the target had answered, and the entry
        # could not be written within a minute.
        assert ended.code in ((0, 1) if "Could not record" in said else (0, 3)), said
        assert ended.code == 0 or ("Can't reach" in said or "lost" in said), said
        world.tally.kills += 1
        mortal.restart()
    return ended


def sweep(world: World, mortal: MortalServer, grain: Grain, output: Path) -> None:
    codes = set()
    for fatal in count(1):
        with world.round():
            ended = strike(world, mortal, fatal, grain, output)
        if len(ended.points) < fatal:
            break
        codes.add(ended.code)
    world.tally.clean()
    assert 3 in codes
    assert {f"before {name}" for name in world.scenario.must} <= set(ended.points)


@pytest.fixture
def world(
    request: pytest.FixtureRequest, mortal: MortalServer, tmp_path: Path, tally: Tally
) -> Iterator[World]:
    scenario: Scenario = BY_NAME[request.param]
    tally.engine, tally.scenario = "dolt, server killed", str(scenario)
    with World(mortal.server.fresh(), scenario, tmp_path, tally) as made:
        yield made


@pytest.mark.parametrize("world", ["accepted"], indirect=True)
def test_killed_wherever_something_lasts(
    world: World, mortal: MortalServer, tmp_path: Path
) -> None:
    sweep(world, mortal, lasting, tmp_path / "output")


@pytest.mark.slow
@pytest.mark.parametrize("world", ["accepted", "reaped", "flattened", "adopted"], indirect=True)
def test_killed_at_every_write(world: World, mortal: MortalServer, tmp_path: Path) -> None:
    sweep(world, mortal, writes, tmp_path / "output")
