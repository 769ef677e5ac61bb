"""The cost of commands that explain the past, on one long history."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from bench.ground import Place
from bench.history import BEAD, history
from bench.measure import MS, alternate
from bench.table import Figure
from dolt_watch.checkpoint.poll import WATCHED
from dolt_watch.cli.composition import policy
from dolt_watch.engines.connect import open_engine
from dolt_watch.replay.replayer import HistoryReplayer

RUNS = 10
WHY = (sys.executable, "-m", "dolt_watch", "why", BEAD)


def past(here: Place, commits: int) -> Iterator[Figure]:
    """``why``, and all of it folded again, against fetching the diffs in one stream: of issues
    alone, and of all that the watcher reads.
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
