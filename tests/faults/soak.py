"""``python -m tests.faults.soak TICKS FOLDER``: the service for so many polls, its time injected, with people, agents and faults; then it is idle. One line of JSON."""

from __future__ import annotations

from dolt_watch.engines.doltlite_load import load

load()

import json
import os
import random
import sys
import threading
from datetime import timedelta
from pathlib import Path

from dolt_watch.cli.wiring import build
from dolt_watch.engines import Engine
from dolt_watch.engines.address import DoltLitePath, open_engine
from dolt_watch.errors import DoltWatchError, Unreachable
from dolt_watch.model import Capacity
from dolt_watch.service import Service
from dolt_watch.targets import Busy, Refused, Unknown
from dolt_watch.telemetry.health import Health
from dolt_watch.telemetry.logs import Changes
from dolt_watch.telemetry.metrics import Metrics
from dolt_watch.tick import Loop
from dolt_watch.times import ShiftedClock
from tests.light import Light

POLL = 2.0
CHANGE = 97
"""A person, an agent or a fault every so many polls: most find nothing, as in life."""
KEPT = 300
"""Beads that there are at most: what grows with the tracker is no leak."""


class Injected:
    """The process's pauses move the clock that decisions go by, and nothing waits."""

    def __init__(self) -> None:
        self.clock = ShiftedClock()

    def monotonic(self) -> float:
        return self.clock.offset.total_seconds()

    def wait(self, stop: threading.Event, seconds: float) -> None:
        self.clock.offset += timedelta(seconds=seconds)


def rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def main(ticks: int, folder: Path) -> None:
    dice, address, time = random.Random(7), DoltLitePath(str(folder / "soak.db")), Injected()
    here = Light(open_engine(address, create=True), max_in_flight=3, max_attempts=3)
    here.target.free = Capacity(2)
    lines, metrics, away = 0, Metrics(), [False]

    def heard(line: str) -> None:
        nonlocal lines
        lines += 1

    def connect() -> Engine:
        if away[0]:
            raise Unreachable("nobody answers")
        return open_engine(address)

    changes = Changes(heard)

    def make(engine: Engine) -> Loop:
        return build(engine, here.settings, lambda name: here.target, time.clock, changes.say, patient=False)

    service = Service(connect, make, heard, Health(metrics), poll=POLL, clock=time, between=changes.next)
    memory, made, errors = list[int](), 0, 0
    for tick in range(ticks):
        if tick % CHANGE == 0:
            made += _something_happens(here, dice, made)
            away[0] = dice.random() < 0.03
            if away[0]:
                service._drop()
        try:
            time.wait(service.stop, service.step())
        except DoltWatchError:
            errors += 1
        if tick % (ticks // 50 or 1) == 0:
            memory.append(rss())
    away[0] = False
    here.sql("UPDATE issues SET status = 'closed' WHERE status <> 'closed'")
    for _ in range(20):
        time.wait(service.stop, service.step())
    descriptors, bytes_before, lines_before = len(list(Path("/proc/self/fd").iterdir())), size(folder), lines
    for _ in range(min(2000, ticks)):
        time.wait(service.stop, service.step())
    sys.stdout.write(json.dumps({
        "ticks": ticks, "errors": errors, "sent": len(here.target.sent), "twice": len(here.target.tokens) - len(set(here.target.tokens)),
        "memory": memory, "descriptors": [descriptors, len(list(Path("/proc/self/fd").iterdir()))], "idle bytes": size(folder) - bytes_before,
        "idle lines": lines - lines_before,
    }) + "\n")  # fmt: skip


def _something_happens(here: Light, dice: random.Random, made: int) -> int:
    """How many beads were made."""
    what = dice.random()
    if what < 0.35:
        here.assign(f"bd-{made}")
        if made >= KEPT:
            here.sql(f"DELETE FROM issues WHERE id = 'bd-{made - KEPT}'")
        return 1
    if what < 0.75:
        here.sql("UPDATE issues SET status = 'closed' WHERE status = 'in_progress'") if here.engine.query(
            "SELECT 1 FROM issues WHERE status = 'in_progress' LIMIT 1"
        ) else None
    elif what < 0.9 and len(here.target.answers) < 5:
        here.target.answers.append(
            dice.choice([Refused("HTTP 500: boom", 500), Busy("HTTP 409", 409), Unknown("no answer")])
        )
    else:
        here.target.free = Capacity(dice.choice([0, 1, 3]), "as the dice fall")
    return 0


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
