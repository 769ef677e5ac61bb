"""Ticks as processes: idle, after a change that affects no rule, and with a bead to dispatch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from statistics import median

from bench.bare import ELIGIBLE, both
from bench.ground import BARE, DISPATCH, NONE, ORIGINAL, SCRIPT, Place
from bench.measure import MS, alternate, ticked
from bench.table import Figure

Original = Place | None
"""The place of the original, or None if its programs are missing."""


def idle(ours: Place, theirs: Original, runs: int) -> Iterator[Figure]:
    written: list[int] = []
    beside: list[int] = []

    def run(at: Place, command: tuple[str, ...], sizes: list[int]) -> Callable[[int], float]:
        def once(_: int) -> float:
            before = at.size
            took = at.run(command, NONE)
            sizes.append(at.size - before)
            return took

        return once

    floor, bare, module, script, *original = alternate(
        runs,
        lambda _: ours.run(ours.floor),
        lambda _: ours.run((*ours.floor, "bare")),
        run(ours, DISPATCH, written),
        lambda _: ours.run(SCRIPT, NONE),
        *([run(theirs, ORIGINAL, beside)] if theirs else []),
    )
    yield Figure("idle tick (python -m)", module * MS, floor * MS, _ms(original))
    yield Figure("idle tick (console script)", script * MS, floor * MS, _ms(original))
    yield Figure("idle tick (console script), harder floor", script * MS, bare * MS)
    yield Figure("idle tick: bytes written, maximum", max(written), 0, max(beside, default=None))


def noise(ours: Place, theirs: Original, runs: int) -> Iterator[Figure]:
    def run(at: Place, command: tuple[str, ...]) -> Callable[[int], float]:
        def once(run: int) -> float:
            at.noise(run)
            return at.run(command, NONE)

        return once

    floor, bare, tick, *original = alternate(
        runs,
        lambda _: ours.run(ours.floor),
        lambda _: ours.run((*ours.floor, "bare")),
        run(ours, DISPATCH),
        *([run(theirs, ORIGINAL)] if theirs else []),
    )
    yield Figure("noise tick", tick * MS, floor * MS, _ms(original))
    yield Figure("noise tick, harder floor", tick * MS, bare * MS)


def dispatch(ours: Place, theirs: Original, bare: Place, runs: int) -> Iterator[Figure]:
    for each in filter(None, (ours, theirs, bare)):
        each.assign(2 * runs + 4)
    time.sleep(ours.settings.settle.total_seconds() + 1)  # Wait until all beads have settled.
    disk: dict[str, list[int]] = {}
    commits: dict[str, list[int]] = {}

    def run(at: Place, command: tuple[str, ...]) -> Callable[[int], float]:
        sizes, counts = disk.setdefault(at.name, []), commits.setdefault(at.name, [])

        def once(_: int) -> float:
            before, count = at.size, at.commits()
            took = at.run(command, "dispatched ")
            sizes.append(at.size - before)
            counts.append(at.commits() - count)
            at.done()
            return took

        return once

    least = (*BARE, *bare.where, bare.board)
    mine, floor, *original = alternate(
        runs,
        run(ours, DISPATCH),
        run(bare, least),
        *([run(theirs, ORIGINAL)] if theirs else []),
    )

    with (
        contextlib.closing(bare.server.connect(bare.address.database)) as connection,
        connection.cursor() as cursor,
    ):

        def inside(_: int) -> float:
            took = ticked(ours.settings, "dispatched ")
            ours.done()
            return took

        def least_inside(_: int) -> float:
            begun = time.perf_counter()
            cursor.execute(ELIGIBLE)
            both(cursor, cursor.fetchall()[0][0])
            took = time.perf_counter() - begun
            bare.done()
            return took

        database, bare_database = alternate(runs, inside, least_inside)

    yield Figure("dispatch tick", mine * MS, floor * MS, _ms(original))
    number = {who: median(counts) for who, counts in commits.items()}
    yield Figure("dispatch: Dolt commits", number["ours"], number["bare"], number.get("theirs"))
    yield Figure("dispatch: database time", database * MS, bare_database * MS)
    kb = {who: median(sizes) / 1000 for who, sizes in disk.items()}
    yield Figure("dispatch: disk", kb["ours"], kb["bare"], kb.get("theirs"))


def _ms(original: list[float]) -> float | None:
    """Return the original's milliseconds, or None if it wasn't measured."""
    return original[0] * MS if original else None
