"""The cost of commands that explain the past, on one long history."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from bench.ground import Place
from bench.history import BEAD, history
from bench.measure import MS, alternate, ticked
from bench.table import Figure
from dolt_watch.checkpoint.poll import WATCHED
from dolt_watch.cli.composition import policy
from dolt_watch.config import load
from dolt_watch.engines.connect import open_engine
from dolt_watch.replay import verification
from dolt_watch.replay.replayer import HistoryReplayer

RUNS = 10
BACKLOG = 1300
"""Number of beads that wait when the verified decisions are made."""
WHY = (sys.executable, "-m", "dolt_watch", "why", BEAD)


def past(here: Place, commits: int) -> Iterator[Figure]:
    """Measure ``why`` and a replay of all history.

    The floors fetch the diffs in one stream: of issues alone, and of all tables that the watcher
    reads.
    """
    history(here, commits)
    at = f"{commits:,} commits"
    why, floor = alternate(
        RUNS,
        lambda _: here.run(WHY, "is running since"),
        lambda _: here.run((*here.floor, "bare")),
    )
    yield Figure("why, as a process", why * MS, floor * MS, at=at)
    with contextlib.closing(open_engine(here.address)) as engine:
        head = engine.query("SELECT HASHOF('HEAD')")[0][0]
        root = engine.query("SELECT commit_hash FROM dolt_log WHERE message = 'beads'")[0][0]

        def folded(_: int) -> float:
            start = time.perf_counter()
            past = HistoryReplayer(engine, policy(here.settings), head)
            assert sum(1 for _ in past.steps(root, past.current)) > commits / 2
            return time.perf_counter() - start

        def streamed(*tables: str) -> float:
            start = time.perf_counter()
            for table in tables:
                engine.query(f"SELECT * FROM dolt_diff_{table}")
            return time.perf_counter() - start

        fold, issues, all_of_it = alternate(
            7, folded, lambda _: streamed("issues"), lambda _: streamed(*WATCHED, "watch_decision")
        )
    yield Figure("replay: applying all of history", fold, issues, at=at)
    yield Figure("replay, compared with everything it reads", fold, all_of_it, at=at)


def verified(here: Place, dispatches: int) -> Iterator[Figure]:
    """Measure ``replay --verify`` of decisions with a long queue. The floor reads that history.

    Args:
        dispatches: Number of verified dispatches. Each has two entries.
    """
    here.assign(BACKLOG + dispatches, "backlog")
    settings = load(
        {"set": (f"rules.agent.max_in_flight={dispatches}", "settle=0s")},
        here.run.env,
        here.run.cwd,
    )
    ticked(settings, "dispatched ")
    with contextlib.closing(open_engine(here.address)) as engine:
        head = engine.query("SELECT HASHOF('HEAD')")[0][0]

        def read(_: int) -> float:
            start = time.perf_counter()
            past = HistoryReplayer(engine, policy(settings), head)
            first = past.first_replayable_commit()
            assert first is not None
            assert sum(1 for _ in past.steps(first)) >= 2 * dispatches
            return time.perf_counter() - start

        def recomputed(_: int) -> float:
            start = time.perf_counter()
            found = verification.verify(HistoryReplayer(engine, policy(settings), head))
            assert not found.differences and found.same >= 2 * dispatches
            return time.perf_counter() - start

        verify, floor = alternate(5, recomputed, read)
    at = f"{2 * dispatches:,} entries, {BACKLOG:,} waiting"
    yield Figure("replay --verify with a backlog", verify, floor, at=at)
