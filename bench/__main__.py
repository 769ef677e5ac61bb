"""``python -m bench [--quick]``: one table, measured in one run."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.ground import DISPATCH, NONE, ORIGINAL, SCRIPT, Place, own_server, place, sized
from bench.measure import alternate, ticked
from bench.past import past
from bench.service import latency
from tests.servers import Server
from tests.stubs.beadboard import BeadBoardStub

Line = tuple[str, str, str, str, str]
"""What, ours, against, ratio or value, bar."""


@dataclass(frozen=True)
class Scale:
    idle: int = 40
    dispatches: int = 20
    ticks: int = 40
    rows: tuple[int, int] = (1_000, 100_000)
    commits: tuple[int, int] = (100, 10_000)


QUICK = Scale(8, 4, 8, (1_000, 10_000), (100, 1_000))


def idle(on: Place, runs: int) -> list[Line]:
    written: list[int] = []

    def ours(_: int) -> float:
        before = on.size
        took = on.run(DISPATCH, NONE)
        written.append(on.size - before)
        return took

    floor, bare, module, script = alternate(
        runs, lambda _: on.run(on.floor), lambda _: on.run((*on.floor, "bare")), ours, lambda _: on.run(SCRIPT, NONE)
    )  # fmt: skip
    return [
        _against("idle tick (python -m) : floor", module, floor, "<= 1.4"),
        _against("idle tick (console script) : floor", script, floor, "<= 1.4"),
        _against("idle tick (console script) : bare floor", script, bare, "<= 1.4"),
        ("idle tick: bytes written, the most", str(max(written)), "", "", "0"),
    ]


def noise(on: Place, runs: int) -> list[Line]:
    def ours(run: int) -> float:
        on.noise(run)
        return on.run(DISPATCH, NONE)

    floor, bare, tick = alternate(runs, lambda _: on.run(on.floor), lambda _: on.run((*on.floor, "bare")), ours)
    return [
        _against("noise tick : floor", tick, floor, "<= 1.6"),
        _against("noise tick : bare floor", tick, bare, "<= 1.6"),
    ]


def dispatch(ours: Place, theirs: Place, runs: int) -> list[Line]:
    for each in (ours, theirs):
        each.assign(2 * runs + 4)
    time.sleep(ours.settings.settle.total_seconds() + 1)  # on beads already settled
    disk: dict[str, list[int]] = {"ours": [], "theirs": []}
    commits: dict[str, list[int]] = {"ours": [], "theirs": []}

    def run(who: str, at: Place, command: tuple[str, ...]) -> Callable[[int], float]:
        def once(_: int) -> float:
            before, count = at.size, at.commits()
            took = at.run(command, "dispatched ")
            disk[who].append(at.size - before)
            commits[who].append(at.commits() - count)
            at.done()
            return took

        return once

    mine, original = alternate(runs, run("ours", ours, DISPATCH), run("theirs", theirs, ORIGINAL))

    def inside(_: int) -> float:
        took = ticked(ours.settings, "dispatched ")
        ours.done()
        return took

    (database,) = alternate(runs, inside)
    kb = {who: median(sizes) / 1000 for who, sizes in disk.items()}
    number = {who: median(counts) for who, counts in commits.items()}
    return [
        _against("dispatch tick : the original's", mine, original, "<= 0.4"),
        ("dispatch: Dolt commits", f"{number['ours']:g}", f"{number['theirs']:g}", "", "2"),
        ("dispatch: database time", f"{database * 1000:.1f} ms", "", "", "<= 25 ms"),
        ("dispatch: disk : the original's", f"{kb['ours']:.0f} KB", f"{kb['theirs']:.0f} KB",
         f"{kb['ours'] / kb['theirs']:.2f}", "<= 1"),
    ]  # fmt: skip


def scaling(server: Server, folder: Path, scale: Scale) -> list[Line]:
    made = [sized(server, folder / f"rows{n}", n, 10) for n in scale.rows]
    made += [sized(server, folder / f"commits{n}", 10, n) for n in scale.commits]

    def run(at: Place) -> Callable[[int], float]:
        def once(run: int) -> float:
            at.noise(run)
            return ticked(at.settings, NONE)

        return once

    few, many, short, long = alternate(scale.ticks, *(run(at) for at in made))
    return [
        _against(f"noise tick, database time: {scale.rows[1]:,} rows : {scale.rows[0]:,}", many, few, "<= 1.2"),
        _against(f"noise tick, database time: {scale.commits[1]:,} commits : {scale.commits[0]:,}", long, short, "<= 1.2"),
    ]  # fmt: skip


def _against(what: str, one: float, other: float, bar: str) -> Line:
    return what, f"{one * 1000:.1f} ms", f"{other * 1000:.1f} ms", f"{one / other:.2f}", bar


PARTS = ("idle", "noise", "dispatch", "sizes", "run", "past")
WIDE = 66


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs, smaller databases: to see that it works")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="these parts")
    given = parser.parse_args()
    scale, load, start = QUICK if given.quick else Scale(), os.getloadavg()[0], time.monotonic()
    print(f"{'what':<{WIDE}}  {'one':>10}  {'other':>10}  {'ratio':>6}  {'bar':>9}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="dolt_watch-bench-") as name,
        own_server(Path(name)) as server,
        BeadBoardStub() as board,
    ):
        folder = Path(name)
        ours, theirs = (place(server, folder / each, board.url) for each in ("ours", "theirs"))
        parts: dict[str, Callable[[], list[Line]]] = {
            "idle": lambda: idle(ours, scale.idle),
            "noise": lambda: noise(ours, scale.idle),
            "dispatch": lambda: dispatch(ours, theirs, scale.dispatches),
            "sizes": lambda: scaling(server, folder, scale),
            "run": lambda: latency(ours, board, scale.dispatches),
            "past": lambda: past(server, folder / "past", board.url, scale.commits[1]),
        }
        for part in PARTS:
            for line in parts[part]() if part in given.only else ():
                print(f"{line[0]:<{WIDE}}  {line[1]:>10}  {line[2]:>10}  {line[3]:>6}  {line[4]:>9}", flush=True)
    dolt, bd = (subprocess.run([p, "version"], capture_output=True, text=True).stdout.split() for p in ("dolt", "bd"))
    print(f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
          f"dolt {dolt[2]}, bd {bd[2]}; medians of {scale.idle} (idle, noise), {scale.dispatches} (dispatch), "
          f"{scale.ticks} (database time at sizes) runs, alternating; load {load:.1f} before, {os.getloadavg()[0]:.1f} after; "
        f"{time.monotonic() - start:.0f} s in all")  # fmt: skip


if __name__ == "__main__":
    main()
