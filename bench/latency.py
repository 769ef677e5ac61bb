"""The time from the commit of an assignment to the POST.

``run`` is measured. For CronJobs, the time is computed from their schedule and the measured time of
their processes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from statistics import median, quantiles

from bench.ground import DISPATCH, ORIGINAL, Place
from bench.measure import alternate
from bench.service import drawn, idle_poll, run
from bench.table import Figure
from dolt_watch.replay.simulation.schedule import EPOCH, TickSchedule
from tests.stubs.beadboard import BeadBoardStub

EVERY = timedelta(minutes=2)
"""Interval of the original's dispatcher."""
MOMENTS = 1000
"""Number of times of assignment, spread evenly over a period."""


def latency(
    ours: Place, theirs: Place | None, board: BeadBoardStub, samples: int
) -> Iterator[Figure]:
    for each in filter(None, (ours, theirs)):
        each.clear()
        each.assign(samples + 1, "cron")
    time.sleep(ours.settings.settle.total_seconds() + 1)
    to_post: dict[str, list[float]] = {}

    def started(at: Place, command: tuple[str, ...]) -> float:
        begun = time.monotonic()
        at.run(command, "dispatched ")
        took = board.dispatches[-1].at - begun
        to_post.setdefault(at.name, []).append(took)
        at.done()
        return took

    programs = [lambda _: started(ours, DISPATCH)]
    if theirs is not None:
        programs.append(lambda _: started(theirs, ORIGINAL))
    alternate(samples, *programs)
    settle = ours.settings.settle.total_seconds()
    cron, schedule = scheduled(to_post["ours"], settle), scheduled([0.0])
    original = scheduled(to_post["theirs"]) if theirs is not None else None
    ours.clear()
    service, draw = run(ours, board, samples), drawn()
    for name, taken, floor in (("run", service, draw), ("CronJob", cron, schedule)):
        yield Figure(
            f"{name}: commit to POST, median",
            median(taken),
            median(floor),
            median(original) if original else None,
        )
        yield Figure(
            f"{name}: commit to POST, 95th percentile",
            last(taken),
            last(floor),
            last(original) if original else None,
        )
    poll, query = idle_poll(ours)
    yield Figure("run: processor time of an idle poll", poll, query)


def scheduled(to_post: list[float], settle: float = 0.0) -> list[float]:
    """Return the seconds for each time of assignment and each time from process start to POST.

    A bead that has not settled at the tick has to wait.
    """
    ticks, took = TickSchedule(EVERY), []
    for number in range(MOMENTS):
        moment = EPOCH + EVERY * ((number + 0.5) / MOMENTS)
        wait = (ticks.at_or_after(moment) - moment).total_seconds()
        took += [max(wait, settle) + each for each in to_post]
    return took


def last(values: list[float]) -> float:
    """Return the 95th percentile."""
    return quantiles(values, n=20)[-1]
