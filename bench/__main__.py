"""``python -m bench [--quick | --full]`` prints one table, measured in one run."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from bench.claims import claims
from bench.ground import Place, missing_of_original, own_server, place, sized
from bench.latency import latency
from bench.lines import PARTS
from bench.machine import machine
from bench.memory import memory
from bench.page import page
from bench.past import past, verified
from bench.sizes import sizes
from bench.summary import RESULTS, write_summary
from bench.table import HEAD, Figure, Row, printed, rows
from bench.ticks import dispatch, idle, noise
from bench.waiting import waiting
from tests.stubs.beadboard import BeadBoardStub


@dataclass(frozen=True)
class Scale:
    """A set of numbers of repetitions and sizes of databases."""

    idle: int = 20
    dispatches: int = 10
    ticks: int = 20
    waits: int = 5
    rows: tuple[int, int] = (1_000, 100_000)
    commits: tuple[int, int] = (100, 10_000)
    waiting: tuple[int, int, int] = (100, 1_000, 10_000)
    beads: int = 100
    verified: int = 200
    memory: tuple[int, int] = (1_000, 10_000)


FULL = Scale(40, 20, 40, 10, beads=200, verified=800, memory=(10_000, 100_000))
QUICK = Scale(8, 4, 8, 2, (1_000, 10_000), (100, 1_000), (10, 100, 1_000), 40, 20, (500, 1_000))
WORKERS = (1, 2, 4, 8)
NAMES = [part.name for part in PARTS]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="fewer runs, smaller databases: to see that it works"
    )
    parser.add_argument(
        "--full", action="store_true", help="more runs and the long histories: half an hour"
    )
    parser.add_argument("--only", choices=NAMES, nargs="+", default=NAMES, help="these parts")
    parser.add_argument(
        "--write", action="store_true", help="bench/results.md and docs/performance.md too"
    )
    given = parser.parse_args()
    if given.write and given.only is not NAMES:
        parser.error("a page needs one run of all parts: use --write without --only")
    scale = QUICK if given.quick else FULL if given.full else Scale()
    load, start = os.getloadavg()[0], time.monotonic()
    missing = missing_of_original()
    if missing:
        print(f"The original is left out, because PATH lacks {', '.join(missing)}.", flush=True)
    print(printed(HEAD), flush=True)
    measured = []
    for row in _measured(scale, given.only):
        print(printed(row.cells), flush=True)
        measured.append(row)
    of = (
        f"{machine()}; medians of {scale.idle} (idle, noise), {scale.dispatches} (dispatch,"
        f" latency), {scale.ticks} (rows, commits) and {scale.waits} (waiting) runs, alternating;"
        f" load {load:.1f} before, {os.getloadavg()[0]:.1f} after; {time.monotonic() - start:.0f} s"
        " in all"
    )
    print(of)
    if given.write:
        text = page(measured, of, f"{datetime.now(UTC):%Y-%m-%d}", given.quick)
        RESULTS.write_text(text, "utf-8")
        write_summary()


def _measured(scale: Scale, only: list[str]) -> Iterator[Row]:
    with (
        tempfile.TemporaryDirectory(prefix="dolt_watch-bench-") as name,
        own_server(Path(name)) as server,
        BeadBoardStub() as board,
    ):
        folder = Path(name)
        original = not missing_of_original()

        def made(name: str) -> Place:
            """Return a workspace of bd, or only its tables if bd is missing."""
            make = folder / name
            if original:
                return place(server, make, board.url)
            return sized(server, make, 10, 10, board.url)

        ours, bare, old = (made(each) for each in ("ours", "bare", "old"))
        theirs = made("theirs") if original else None
        parts: dict[str, Callable[[], Iterator[Figure]]] = {
            "idle": lambda: idle(ours, theirs, scale.idle),
            "noise": lambda: noise(ours, theirs, scale.idle),
            "dispatch": lambda: dispatch(ours, theirs, bare, scale.dispatches),
            "latency": lambda: latency(ours, theirs, board, scale.dispatches),
            "sizes": lambda: sizes(server, folder, scale.rows, scale.commits, scale.ticks),
            "waiting": lambda: waiting(server, folder, board, scale.waiting, scale.waits),
            "claims": lambda: claims(server, folder, board, WORKERS, scale.beads),
            "past": lambda: chain(
                past(old, scale.commits[1]),
                verified(sized(server, folder / "backlog", 10, 10, board.url), scale.verified),
            ),
            "memory": lambda: memory(
                sized(server, folder / "memory", 10, 10, board.url),
                old,
                board,
                scale.memory,
                scale.dispatches,
            ),
        }
        for part in PARTS:
            if part.name in only:
                yield from rows(part, parts[part.name]())


if __name__ == "__main__":
    main()
