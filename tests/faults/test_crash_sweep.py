"""A worker is killed by SIGKILL at every point of its life: its bead is neither lost nor sent
twice, and the ledger tells what happened.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from dolt_watch.engines.address import FileAddress, ServerAddress
from dolt_watch.ledger.reader import read_entries
from tests.faults.board import Moment
from tests.faults.effects import POST, Ended, Grain, lasting, writes
from tests.faults.scenarios import EVERYWHERE, SCENARIOS
from tests.faults.tally import Tally
from tests.faults.world import World
from tests.support.engines import on_engines

SEEDS = range(6)
ROUNDS = 20
"""Of chaos, for each seed, scenario and engine."""


@pytest.fixture(params=SCENARIOS, ids=str)
def world(
    request: pytest.FixtureRequest,
    address: ServerAddress | FileAddress,
    tmp_path: Path,
    tally: Tally,
) -> Iterator[World]:
    tally.engine, tally.scenario = (
        "dolt" if isinstance(address, ServerAddress) else "doltlite",
        str(request.param),
    )
    with World(address, request.param, tmp_path, tally) as made:
        yield made


def sweep(world: World, grain: Grain, times: int = 1) -> Ended:
    """Worker after worker dies one point later than the one before, until one lives to its end:
    that one tells what points there are.

    ``times`` 2: the next worker, which finds what the dead one left, dies at the same number of
    its own points, if it has so many.
    """
    died: list[str] = []
    for fatal in count(1):
        with world.again():
            ended = world.strike(fatal, grain)
            for _ in range(times - 1 if ended.killed else 0):
                world.strike(fatal, grain)
        if not ended.killed:
            break
        assert len(ended.points) == fatal, "it died elsewhere"
        died.append(ended.points[-1])
    world.tally.clean()
    assert died == ended.points, "not every point was struck"
    with world.open() as engine:
        kinds = tuple(entry.kind for entry in reversed(read_entries(engine, bead=world.bead)))
    assert kinds == world.scenario.untouched
    return ended


def posts(ended: Ended) -> int:
    return ended.points.count(f"before {POST}")


def sweep_posts(world: World, number: int) -> None:
    """The same at each moment of each POST."""
    for moment in Moment:
        for nth in range(1, number + 1):
            with world.again():
                assert world.strike_during(moment, nth).killed
    world.tally.clean()


IN_SHORT = {"accepted", "answer lost", "flattened"}
"""Scenarios that `make test` sweeps on DoltLite too: sent, not known, and a history that was
rewritten. `make faults`: all.
"""


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("address", "world"), on_engines(SCENARIOS, IN_SHORT), indirect=True)
def test_killed_wherever_something_lasts(world: World) -> None:
    ended = sweep(world, lasting)
    met = {point.split(" ", 1)[1] for point in ended.points}
    assert met >= set(world.scenario.must)
    sweep_posts(world, posts(ended))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("address", ["dolt"], indirect=True)
@pytest.mark.parametrize("world", SCENARIOS[:1], ids=str, indirect=True)
def test_killed_at_every_write(world: World) -> None:
    ended = sweep(world, writes)
    met = {point.split(" ", 1)[1] for point in ended.points}
    assert met >= {*world.scenario.must, *EVERYWHERE}
    sweep_posts(world, posts(ended))


@pytest.mark.slow
def test_two_killed_at_every_write(world: World) -> None:
    sweep_posts(world, posts(sweep(world, writes, times=2)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_killed_again_and_again(world: World, seed: int) -> None:
    """Anywhere, reads too: workers that recover from a kill are killed, some of them two at a
    time.
    """
    dice = random.Random(f"{world.tally.engine} {world.scenario} {seed}")
    with world.round():
        points = len(world.strike(0).points)
    for _ in range(ROUNDS):
        world.chaos(dice, points)
    world.tally.clean()
