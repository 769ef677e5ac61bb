"""``python -m bench.statements`` prints the database time of a dispatch, statement by statement.

The floor is two bare commits on the same server, in turn with the dispatches. Each line is the
lower quartile of the runs, because other programs on the machine only add time.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple
from unittest.mock import patch

from pymysql.connections import Connection

from bench.bare import ELIGIBLE, both
from bench.ground import own_server, sized
from bench.measure import MS, ticked
from tests.stubs.beadboard import BeadBoardStub

RUNS = 20
WIDTH = 90
"""Characters of a statement to print."""


class Sent(NamedTuple):
    """A statement, and its seconds from the first byte sent to the last byte of the answer."""

    seconds: float
    text: str


def recorded(run: Callable[[], object]) -> list[Sent]:
    """Return the statements that a function sends, in order."""
    found: list[Sent] = []
    query = Connection.query

    def timed(self: Connection[Any], sql: str, unbuffered: bool = False) -> int:
        begun = time.perf_counter()
        try:
            return query(self, sql, unbuffered)
        finally:
            found.append(Sent(time.perf_counter() - begun, sql))

    with patch.object(Connection, "query", timed):
        run()
    return found


def printed(title: str, runs: Sequence[Sequence[Sent]]) -> float:
    """Print a table of the runs, and return the sum of its milliseconds.

    Runs with another number of statements than the last run are left out.
    """
    alike = [run for run in runs if len(run) == len(runs[-1])]
    lows = [
        quantiles([sent.seconds for sent in each], n=4)[0] * MS for each in zip(*alike, strict=True)
    ]
    print(f"\n{title}: {sum(lows):.1f} ms in {len(lows)} statements")
    for low, sent in zip(lows, runs[-1], strict=True):
        print(f"{low:6.2f}  {' '.join(sent.text.split())[:WIDTH]}")
    return sum(lows)


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="dolt_watch-bench-") as name,
        own_server(Path(name)) as server,
        BeadBoardStub() as board,
    ):
        ours, bare = (sized(server, Path(name) / each, 10, 10, board.url) for each in ("a", "b"))
        for place in (ours, bare):
            place.assign(RUNS + 2)
        time.sleep(ours.settings.settle.total_seconds() + 1)  # Wait until all beads have settled.
        floors, dispatches = list[list[Sent]](), list[list[Sent]]()
        with (
            contextlib.closing(server.connect(bare.address.database)) as connection,
            connection.cursor() as cursor,
        ):

            def commit_twice() -> None:
                cursor.execute(ELIGIBLE)
                both(cursor, cursor.fetchall()[0][0])

            for _ in range(RUNS + 1):
                floors.append(recorded(commit_twice))
                bare.done()
                dispatches.append(recorded(lambda: ticked(ours.settings, "dispatched ")))
                ours.done()
    # The first run imports modules and fills the server's caches.
    floor = printed("two bare commits", floors[1:])
    print(f"\n{printed('dispatch', dispatches[1:]) / floor:.2f} times the two bare commits")


if __name__ == "__main__":
    main()
