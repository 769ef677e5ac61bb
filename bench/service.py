"""``dolt_watch run`` on real Dolt.

It measures the time from the commit of an assignment to the POST, and the cost of an idle poll.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator

from bench.ground import Place
from bench.measure import MS
from dolt_watch.cli.composition import build
from dolt_watch.clock import DatabaseClock
from dolt_watch.controller.service import SHORTEST, Service
from dolt_watch.engines.connect import open_engine
from dolt_watch.targets.registry import TargetPool
from dolt_watch.telemetry.health import Health
from dolt_watch.telemetry.metrics import Metrics
from tests.stubs.beadboard import BeadBoardStub

POLL, SETTLE = 1.0, 0.5
RUN = (sys.executable, "-m", "dolt_watch", "run", "--poll", f"{POLL:g}s", "--log", "json")
POLLS = 300
DRAWS = 20_000


@contextlib.contextmanager
def running(here: Place, *sets: str) -> Iterator[subprocess.Popen[str]]:
    """Yield the process when it leads."""
    words = [word for one in (f"settle={SETTLE:g}s", *sets) for word in ("--set", one)]
    with subprocess.Popen(
        (*RUN, *words), cwd=here.run.cwd, env=dict(here.run.env), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            while "leading" not in process.stdout.readline():
                pass
            yield process
        finally:
            process.terminate()
            process.communicate()


def arrived(board: BeadBoardStub, count: int) -> None:
    """Wait for this number of POSTs."""
    end = time.perf_counter() + 60
    while len(board.dispatches) < count:
        if time.perf_counter() > end:
            raise RuntimeError(f"{len(board.dispatches)} POSTs of {count} in a minute")
        time.sleep(0.001)


def run(here: Place, board: BeadBoardStub, samples: int) -> list[float]:
    """Return the seconds from each commit to its POST.

    The assignments are at random times between two polls.
    """
    took = []
    with running(here):
        time.sleep(2 * POLL)
        for number in range(samples):
            time.sleep(random.uniform(0, POLL))
            sent = len(board.dispatches)
            here.assign(1, f"late{number}")
            begun = time.monotonic()
            arrived(board, sent + 1)
            took.append(board.dispatches[-1].at - begun)
            time.sleep(0.2)
            here.done()
    return took


def drawn() -> list[float]:
    """Return the seconds for a service whose polls and dispatches take no time.

    It reads the commit at its next poll, and waits until the bead has settled.
    """
    took: list[float] = []
    while len(took) < DRAWS:
        pause = POLL * random.uniform(SHORTEST, 1)
        moment = random.uniform(0, POLL)  # A longer pause is met more often.
        if moment < pause:
            took.append(max(pause - moment, SETTLE))
    return took


def idle_poll(here: Place) -> tuple[float, float]:
    """Return the milliseconds of processor time of a poll and of its query alone."""
    targets = TargetPool(here.settings.targets)
    service = Service(
        lambda: open_engine(here.address),
        lambda engine: build(engine, here.settings, targets, DatabaseClock(), patient=False),
        Health(Metrics()),
    )
    for _ in range(5):
        service.step()
    begun = time.thread_time()
    for _ in range(POLLS):
        service.step()
    poll = time.thread_time() - begun
    service._drop()
    with (
        contextlib.closing(here.server.connect(here.address.database)) as connection,
        connection.cursor() as cursor,
    ):
        begun = time.thread_time()
        for _ in range(POLLS):
            cursor.execute("SELECT HASHOF('HEAD')")
            cursor.fetchall()
        return poll / POLLS * MS, (time.thread_time() - begun) / POLLS * MS
