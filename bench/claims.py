"""Workers on one backlog: beads per second, and requests sent twice."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from bench.bare import both
from bench.ground import Place, sized
from bench.measure import MS
from bench.table import Figure
from tests.faults.racing import AT_ONCE, racers, tick_all
from tests.stubs.beadboard import BeadBoardStub
from tests.support.servers import Server

WARM = 5
"""Beads per worker before the measurement. Each worker imports its modules while it sends one."""


def claims(
    server: Server, folder: Path, board: BeadBoardStub, workers: tuple[int, ...], count: int
) -> Iterator[Figure]:
    floor = _bare(sized(server, folder / "claims-bare", 10, 10), count)
    twice, conflicts, times = 0, 0.0, list[float]()
    for number in workers:
        here = sized(server, folder / f"claims{number}", 10, 10, board.url)
        before = len(board.dispatches)
        with racers(number, here.address.url, board.url, *AT_ONCE) as racing:
            here.assign(WARM * number, "warm")
            tick_all(racing)
            here.assign(count)
            sent, begun, conflicts = len(board.dispatches), time.perf_counter(), 0
            while len(board.dispatches) < sent + count:
                # Repeat, because a worker that was overtaken too often leaves its beads to the
                # others.
                done = tick_all(racing)
                conflicts += sum(each.conflicts for each in done)
                assert not any(each.error for each in done), done
            took = time.perf_counter() - begun
        times.append(took / count * MS)
        beads = [request.json["taskId"] for request in board.dispatches[before:]]
        twice += len(beads) - len(set(beads))
        plural = "s" * (number > 1)
        yield Figure(
            f"beads a second, {number} worker{plural}",
            count / took,
            count / floor,
            at=f"{count} beads",
        )
    yield Figure(f"time a bead, {workers[-1]} workers", times[-1], times[0])
    yield Figure(f"conflicts a bead, {workers[-1]} workers", conflicts / count, 0)
    yield Figure("beads sent twice, all of these runs", twice, 0)


def _bare(here: Place, count: int) -> float:
    """Return the seconds for the commits of this number of beads, on one connection."""
    here.assign(count)
    with (
        contextlib.closing(here.server.connect(here.address.database)) as connection,
        connection.cursor() as cursor,
    ):
        begun = time.perf_counter()
        for number in range(count):
            both(cursor, f"bd-go{number:05}")
        return time.perf_counter() - begun
