"""The cost of a tick by the number of rows and commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from bench.ground import NONE, Place, sized
from bench.measure import MS, alternate, ticked
from bench.table import Figure
from tests.support.servers import Server


def sizes(
    server: Server, folder: Path, rows: tuple[int, int], commits: tuple[int, int], ticks: int
) -> Iterator[Figure]:
    made = [sized(server, folder / f"rows{n}", n, 10) for n in rows]
    made += [sized(server, folder / f"commits{n}", 10, n) for n in commits]

    def run(at: Place) -> Callable[[int], float]:
        def once(run: int) -> float:
            at.noise(run)
            return ticked(at.settings, NONE)

        return once

    few, many, short, long = alternate(ticks, *(run(at) for at in made))
    yield Figure("noise tick, many rows", many * MS, few * MS, at=f"{rows[1]:,} : {rows[0]:,}")
    yield Figure(
        "noise tick, long history", long * MS, short * MS, at=f"{commits[1]:,} : {commits[0]:,}"
    )
