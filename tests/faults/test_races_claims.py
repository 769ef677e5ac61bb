"""Exclusive claims: many workers, one database, and a target that accepts all beads at once.

Each bead is POSTed exactly once, and no worker fails because of another.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults import racing
from tests.faults.racing import AT_ONCE, CLAIMED_AND_SENT, Arena, clean_env, tick_all
from tests.support import forked
from tests.support.beads import ROOT

pytestmark = pytest.mark.covering(engines="module")

PATIENT = "targets.beadboard.timeout=300s"
"""A timeout for the first answers, which wait until the slowest worker has started."""

arena, tally = racing.arena, racing.tally


def each_once(arena: Arena, beads: list[str]) -> None:
    assert Counter(arena.sent()) == Counter(beads)
    assert arena.streams() == dict.fromkeys(beads, CLAIMED_AND_SENT)
    tokens = [request.headers["idempotency-key"] for request in arena.board.dispatches]
    assert len(set(tokens)) == len(beads)
    assert arena.engine.query("SELECT status, COUNT(*) FROM issues GROUP BY status") == [
        ("in_progress", len(beads))
    ]


def all_meet(arena: Arena, count: int) -> None:
    """Delay the first answer to each worker until all workers have sent a request.

    This proves that they run at once.
    """
    gate = threading.Barrier(count)
    waiting = iter(range(count))

    def agent(bead: str) -> None:
        if next(waiting, None) is not None:
            gate.wait(240)

    arena.agent = agent


@pytest.mark.long
def test_eight_real_commands(arena: Arena, tally: list[str]) -> None:
    beads = arena.add(16)
    all_meet(arena, 8)
    options = [word for each in (*AT_ONCE, PATIENT) for word in ("--set", each)]
    words = ["dispatch", "--database", arena.url, *options]
    env = clean_env() | {"BEADBOARD_URL": arena.board.url}

    def command(_: int) -> subprocess.CompletedProcess[str]:
        return forked.dolt_watch(words, cwd=ROOT, env=env, timeout=250)

    began = time.monotonic()
    with ThreadPoolExecutor(8) as people:
        told = list(people.map(command, range(8)))
    spent = time.monotonic() - began
    assert [(each.returncode, each.stderr) for each in told] == [(0, "")] * 8
    each_once(arena, beads)
    shares = [
        sum(line.startswith("dispatched ") for line in each.stdout.splitlines()) for each in told
    ]
    assert min(shares) > 0
    tally.append(
        f"claims {arena.engine.name:8}  8 commands × 16 beads: {spent:5.1f} s, shares"
        f" {sorted(shares)}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("count", [8, 16])
def test_two_hundred_beads(arena: Arena, tally: list[str], count: int) -> None:
    beads = arena.add(200)
    with arena.racers(count) as workers:
        began = time.monotonic()
        ticked = tick_all(workers)
        spent = time.monotonic() - began
    assert [(each.code, each.error) for each in ticked] == [(0, "")] * count
    each_once(arena, beads)
    conflicts = sum(each.conflicts for each in ticked)
    shares = sorted(each.dispatched for each in ticked)
    tally.append(
        f"claims {arena.engine.name:8} {count:2} workers × 200 beads: {spent:5.1f} s,"
        f" {200 / spent:5.1f} beads/s, {conflicts} conflicts ({conflicts / 200:.1f} a bead), shares"
        f" {shares[0]}…{shares[-1]}, a report was written in at most"
        f" {max(each.tries for each in ticked)} tries"
    )
