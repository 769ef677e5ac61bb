"""Workers killed by SIGKILL at every point.

The bead is neither lost nor sent twice, and the ledger records what happened.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path

import pytest

from dolt_watch.engines.address import FileAddress, ServerAddress
from dolt_watch.ledger.reader import read_entries
from tests.faults.board import Moment
from tests.faults.effects import POST, Grain, lasting, writes
from tests.faults.scenarios import EVERYWHERE, SCENARIOS
from tests.faults.tally import Tally
from tests.faults.world import World
from tests.support.engines import on_engines

SEEDS = range(6)
ROUNDS = 20
"""Rounds of chaos for each seed, scenario and engine."""


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


def sweep(world: World, grain: Grain, times: int = 1) -> list[str]:
    """Kill workers at point 1, 2, 3 … until one ends by itself. Return the points of that worker.

    With ``times`` 2, the next worker is killed too, at the same number of its points if it has that
    many.
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
    assert died == ended.points, "not every point was struck"
    ends_well(world)
    return ended.points


def sweep_some(
    world: World, grain: Grain, choose: Callable[[list[str]], Iterable[int]]
) -> list[str]:
    """Return the points at which a worker can die, from a run without a kill.

    Args:
        choose: Return the numbers, from 0, of the points at which to kill a worker.
    """
    with world.again():
        points = world.strike(0, grain).points
    for number in choose(points):
        with world.again():
            ended = world.strike(number + 1, grain)
        assert ended.killed and ended.points == points[: number + 1], "it died elsewhere"
    ends_well(world)
    return points


def ends_well(world: World) -> None:
    world.tally.clean()
    with world.open() as engine:
        kinds = tuple(entry.kind for entry in reversed(read_entries(engine, bead=world.bead)))
    assert kinds == world.scenario.untouched


def effects(points: list[str]) -> set[str]:
    return {point.split(" ", 1)[1] for point in points}


def sweep_posts(world: World, number: int) -> None:
    """Kill a worker at each moment of each of the first ``number`` POSTs."""
    for moment in Moment:
        for nth in range(1, number + 1):
            with world.again():
                assert world.strike_during(moment, nth).killed
    world.tally.clean()


def posts(points: list[str]) -> int:
    return points.count(f"before {POST}")


SENT = {
    "dolt": ("dolt_commit claim", POST, "dolt_commit dispatched", "commit"),
    # A COMMIT ends the transaction of each dolt_commit.
    "doltlite": ("dolt_commit claim", "commit", POST, "dolt_commit dispatched", "commit", "commit"),
}
"""Effects of a worker that sends a bead which is accepted, by engine."""


def own(world: World, when_killed: str) -> Callable[[list[str]], Iterable[int]]:
    """Return a function that selects the lasting points that only this scenario has.

    The plain scenario 'accepted' covers the others. Scenarios share its beginning up to the answer,
    or end with all of it.

    Args:
        when_killed: 'before' or 'after' the effect. Nothing lasts between an effect and the next
            one, so a kill after an effect leaves the same as a kill before the next one.
    """
    plain = [f"{when} {each}" for each in SENT[world.tally.engine] for when in ("before", "after")]

    def chosen(points: list[str]) -> Iterable[int]:
        return (number for number in mine(points) if points[number].startswith(when_killed))

    def mine(points: list[str]) -> Iterable[int]:
        # The points are equal for 'accepted' and for 'evidence', whose target reports more.
        if points == plain:
            return range(len(points))
        alike = [ours == theirs for ours, theirs in zip(points, plain, strict=False)]
        first = alike.index(False)
        ends_alike = points[-len(plain) :] == plain
        return range(first, len(points) - (len(plain) if ends_alike else 0))

    return chosen


IN_SHORT = {"accepted", "answer lost", "flattened"}
"""Scenarios that `make test` sweeps on DoltLite: accepted, unknown, and a rewritten history.

It sweeps the others on Dolt. `make matrix` sweeps all on Dolt, `make faults` all on both.
"""
WHEN_KILLED = ["after", pytest.param("before", marks=pytest.mark.matrix)]
"""Before or after an effect. `make matrix` adds 'before', which leaves what 'after' leaves."""
OTHER_ANSWERS = {"accepted", "refused", "busy", "answer lost", "evidence", "quarantined"}
"""Scenarios that differ in the first answer or in the target."""


@pytest.mark.long
@pytest.mark.parametrize("when_killed", WHEN_KILLED)
@pytest.mark.parametrize(("address", "world"), on_engines(SCENARIOS, IN_SHORT), indirect=True)
def test_killed_wherever_something_of_its_own_lasts(world: World, when_killed: str) -> None:
    points = sweep_some(world, lasting, own(world, when_killed))
    assert effects(points) >= set(world.scenario.must)
    if when_killed == "after" and str(world.scenario) in OTHER_ANSWERS:
        sweep_posts(world, 1)


@pytest.mark.slow
def test_killed_wherever_something_lasts(world: World) -> None:
    points = sweep(world, lasting)
    assert effects(points) >= set(world.scenario.must)
    sweep_posts(world, posts(points))


@pytest.mark.long
@pytest.mark.parametrize("address", ["dolt"], indirect=True)
@pytest.mark.parametrize("world", SCENARIOS[:1], ids=str, indirect=True)
@pytest.mark.parametrize("when_killed", WHEN_KILLED)
def test_killed_at_the_first_write_of_each_name(world: World, when_killed: str) -> None:
    """``test_killed_wherever_something_of_its_own_lasts`` covers commits and requests."""

    def firsts(points: list[str]) -> Iterable[int]:
        return [
            number
            for number, point in enumerate(points)
            if point.startswith(when_killed)
            and point not in points[:number]
            and not lasting(point.split(" ", 1)[1])
        ]

    points = sweep_some(world, writes, firsts)
    assert effects(points) >= {*world.scenario.must, *EVERYWHERE}


@pytest.mark.slow
@pytest.mark.parametrize("address", ["dolt"], indirect=True)
@pytest.mark.parametrize("world", SCENARIOS[:1], ids=str, indirect=True)
def test_killed_at_every_write(world: World) -> None:
    points = sweep(world, writes)
    assert effects(points) >= {*world.scenario.must, *EVERYWHERE}
    sweep_posts(world, posts(points))


@pytest.mark.slow
def test_two_killed_at_every_write(world: World) -> None:
    sweep_posts(world, posts(sweep(world, writes, times=2)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_killed_again_and_again(world: World, seed: int) -> None:
    """Workers that recover from a kill are killed too, at any effect, sometimes two at once."""
    dice = random.Random(f"{world.tally.engine} {world.scenario} {seed}")
    with world.round():
        points = len(world.strike(0).points)
    for _ in range(ROUNDS):
        world.chaos(dice, points)
    world.tally.clean()
