"""The cost of a tick by the number of waiting beads.

The beads match and wait, because one may run at a time and one does.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.ground import DISPATCH, Place, sized
from bench.measure import MS, alternate, database_time, ticked
from bench.table import Figure
from dolt_watch.cli.composition import build
from dolt_watch.clock import DatabaseClock
from dolt_watch.core.decisions.policy import BOTH
from dolt_watch.engines.connect import open_engine
from dolt_watch.targets.registry import TargetPool
from tests.stubs.beadboard import BeadBoardStub
from tests.support.servers import Server

WAITS = "nothing new since"
LINES = (
    "idle tick",
    "noise tick",
    "dispatch tick",
    "dispatch tick: database time",
    "a dispatch in run: database time",
    "a dispatch in run: processor time",
)


def waiting(
    server: Server, folder: Path, board: BeadBoardStub, sizes: Sequence[int], runs: int
) -> Iterator[Figure]:
    """Measure ticks with few, ten times as many, and a hundred times as many waiting beads.

    Args:
        sizes: The three numbers of waiting beads.
    """
    calls = 0
    with contextlib.ExitStack() as stack:
        measured: list[Callable[[int], float]] = []
        for size in sizes:
            here = sized(server, folder / f"waiting{size}", 10, 10, board.url)
            here.assign(size + 4 * runs + 5)
            time.sleep(here.settings.settle.total_seconds() + 1)
            here.run(DISPATCH, "dispatched ")
            with database_time() as spent:
                ticked(here.settings, WAITS)
            calls = max(calls, spent.calls)
            measured += [*_commands(here), *_standing(here, stack)]
        found = alternate(runs, *measured)
    yield Figure("idle tick: queries", calls, 1, at=f"{sizes[-1]:,} waiting")
    few, *more = (found[place : place + len(LINES)] for place in range(0, len(found), len(LINES)))
    for times, size, many in zip((10, 100), sizes[1:], more, strict=True):
        for name, value, beside in zip(LINES, many, few, strict=True):
            yield Figure(
                f"{name}, waiting × {times}", value * MS, beside * MS, at=f"{size:,} : {sizes[0]:,}"
            )


def _commands(here: Place) -> list[Callable[[int], float]]:
    """Return one-shot commands, in the order of ``LINES``."""

    def noise(run: int) -> float:
        here.noise(run)
        return here.run(DISPATCH)

    def dispatch(_: int) -> float:
        here.done()
        return here.run(DISPATCH, "dispatched ")

    def inside(_: int) -> float:
        here.done()
        return ticked(here.settings, "dispatched ")

    return [lambda _: here.run(DISPATCH, WAITS), noise, dispatch, inside]


def _standing(here: Place, stack: contextlib.ExitStack) -> list[Callable[[int], float]]:
    """Return a dispatch in the loop of ``run``, by database time and by processor time.

    Dispatches of other processes are applied before the measurement.
    """
    targets = stack.enter_context(contextlib.closing(TargetPool(here.settings.targets)))
    engine = stack.enter_context(contextlib.closing(open_engine(here.address)))
    loop = build(engine, here.settings, targets, DatabaseClock(), patient=False)
    processor = [0.0]

    def database(_: int) -> float:
        loop.tick(BOTH, thorough=True)
        here.done()
        begun = time.thread_time()  # The time excludes the stub, which is another thread.
        with database_time() as spent:
            outcome = loop.tick(BOTH)
        processor[0] = time.thread_time() - begun
        assert outcome.dispatched == 1, outcome
        return spent.seconds

    return [database, lambda _: processor[0]]
