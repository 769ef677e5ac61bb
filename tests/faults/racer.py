"""One worker of a race, as a process.

``python -m tests.faults.racer DATABASE BEADBOARD [KEY=VALUE …]`` starts it.

It runs a tick for each input line, so that the test determines when a race begins. The line is the
number of seconds by which the clock is ahead. The answer is one line of JSON. The loop comes from
the same function as that of ``dolt_watch dispatch``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dolt_watch.checkpoint.poll import PollResult
from dolt_watch.config import load
from dolt_watch.core.decisions.policy import Scope
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import DoltWatchError
from dolt_watch.targets.registry import TargetPool
from tests.support.lines import build


class Ahead:
    """The database's clock plus an offset.

    Its sleep is real, because backing off is part of the race.
    """

    def __init__(self, seconds: float) -> None:
        self.offset = timedelta(seconds=seconds)

    def now(self, database: datetime) -> datetime:
        return database + self.offset

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Counted:
    """A counter of the tries of each outcome entry until history contains it."""

    def __init__(self, ledger: Any) -> None:
        self.tries: list[int] = []
        report, write = ledger.append_outcome, ledger._write

        def counted_report(*args: Any) -> Any:
            self.tries.append(0)
            return report(*args)

        def counted_write(*args: Any, **kwargs: Any) -> Any:
            if not kwargs.get("guarded"):
                self.tries[-1] += 1
            return write(*args, **kwargs)

        ledger.append_outcome, ledger._write = counted_report, counted_write


class Turnstile:
    """A scheduler lock: GET_LOCK from the poll to the end of the claim, and around the outcome
    entry.

    Only a measurement uses it (test_races_fence).
    """

    def __init__(self, address: Any, loop: Any) -> None:
        self.engine = open_engine(address)
        poller, ledger = loop.parts.poller, loop.executor.ledger
        poll, decide, report = poller.poll, ledger.append_decision, ledger.append_outcome

        def locked_poll() -> PollResult:
            self.take()
            found: PollResult = poll()
            return found

        def locked_decide(*args: Any, **kwargs: Any) -> Any:
            try:
                return decide(*args, **kwargs)
            finally:
                self.leave()

        def locked_report(*args: Any) -> Any:
            self.take()
            try:
                return report(*args)
            finally:
                self.leave()

        poller.poll = locked_poll
        ledger.append_decision, ledger.append_outcome = locked_decide, locked_report

    def take(self) -> None:
        self.leave()
        assert self.engine.query("SELECT GET_LOCK('dolt_watch', 30)") == [(1,)]

    def leave(self) -> None:
        self.engine.query("SELECT RELEASE_LOCK('dolt_watch')")


def main() -> None:
    database, board, *sets = sys.argv[1:]
    lock = "--lock" in sets
    settings = load(
        {"database": database, "set": tuple(each for each in sets if each != "--lock")},
        {
            "BEADBOARD_URL": board,
            "DOLT_WATCH_PASSWORD": os.environ.get("DOLT_WATCH_TEST_PASSWORD", ""),
        },
        Path("/"),
    )
    engine, targets = open_engine(settings.address), TargetPool(settings.targets)
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        told: list[str] = []
        began = time.monotonic()
        answer: dict[str, Any]
        turnstile = None
        try:
            loop = build(engine, settings, targets, Ahead(float(line)), told.append)
            reports = Counted(loop.executor.ledger)  # type: ignore[attr-defined]
            turnstile = Turnstile(settings.address, loop) if lock else None
            outcome = loop.tick(Scope(dispatch=True))
            answer = {
                "code": outcome.exit_code,
                "error": "",
                "dispatched": outcome.dispatched,
                "conflicts": outcome.conflicts,
                "rounds": outcome.rounds,
                "tries": max(reports.tries, default=0),
            }
        except DoltWatchError as error:
            answer = {
                "code": error.exit_code,
                "error": str(error),
                "dispatched": 0,
                "conflicts": 0,
                "rounds": 0,
                "tries": 0,
            }
        if turnstile is not None:
            turnstile.leave()
            turnstile.engine.close()
        said = json.dumps({**answer, "seconds": time.monotonic() - began, "lines": told})
        print(said, flush=True)  # noqa: T201
    targets.close()
    engine.close()


if __name__ == "__main__":
    main()
