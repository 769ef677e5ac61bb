"""The service for a number of polls, and then idle.

``python -m tests.faults.soak POLLS URL FILES`` starts it.

Users, agents and faults act on injected time. The output is one line of JSON. FILES is the folder
of the database, or '' if the test can't read it. Users and agents share the process on their own
connection, so the memory they use counts as well.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.peak import held
from dolt_watch.controller.loop import ControlLoop
from dolt_watch.core.model import Capacity
from dolt_watch.core.model.target_answers import Busy, Refused, Unknown
from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress, ServerAddress, parse_url
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import DoltWatchError, Unreachable
from dolt_watch.telemetry.health import Health
from dolt_watch.telemetry.log_output import RepeatFilter
from dolt_watch.telemetry.metrics import Metrics
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.lines import Hearing, Service, build

POLL = 2.0
CHANGE = 97
"""Number of polls between two changes by a user, an agent or a fault.

As in practice, most polls find nothing.
"""
KEPT = 300
"""Maximum number of beads. Without it, a growing tracker would look like a leak."""
SAMPLES = 50


class Injected:
    """A clock for decisions. A pause of the process advances it and doesn't wait."""

    def __init__(self) -> None:
        self.clock = ShiftedClock()

    def monotonic(self) -> float:
        return self.clock.offset.total_seconds()

    def wait(self, stop: threading.Event, seconds: float) -> None:
        self.clock.offset += timedelta(seconds=seconds)


class Soak:
    def __init__(self, address: ServerAddress | FileAddress, files: str) -> None:
        self.address, self.files = address, files
        self.dice, self.time, self.lines, self.made, self.away = (
            random.Random(7),
            Injected(),
            0,
            0,
            False,
        )
        self.here = Light(open_engine(address, create=True), max_in_flight=3, max_attempts=3)
        self.here.target.free = Capacity(2)
        changes, log = RepeatFilter(), Hearing(self._hear)
        log.addFilter(changes)

        def make(engine: Engine) -> ControlLoop:
            return build(
                engine,
                self.here.settings,
                lambda name: self.here.target,
                self.time.clock,
                log,
                patient=False,
            )

        self.service = Service(
            self._connect,
            make,
            self._hear,
            Health(Metrics()),
            poll=POLL,
            clock=self.time,
            between=changes.next_tick,
        )

    def _hear(self, line: str) -> None:
        self.lines += 1

    def _connect(self) -> Engine:
        if self.away:
            raise Unreachable("no answer")
        return open_engine(self.address)

    def run(self, polls: int) -> dict[str, Any]:
        memory, errors = list[int](), 0
        for poll in range(polls):
            if poll % CHANGE == 0:
                self._something_happens(poll // CHANGE)
            try:
                self.poll()
            except DoltWatchError:
                errors += 1
            if poll % (polls // SAMPLES) == 0:
                memory.append(held("VmRSS") * 1024)
        sent, tokens = self.here.target.sent, self.here.target.tokens
        return {
            "polls": polls,
            "errors": errors,
            "sent": len(sent),
            "twice": len(tokens) - len(set(tokens)),
            "memory": memory,
            **self._idle(min(2_000, polls // 10)),
        }

    def _idle(self, polls: int) -> dict[str, Any]:
        """Close all beads, and then poll without further changes."""
        self.away = False
        # Create a bead, so that there is one to close.
        self.here.assign("bd-last")
        self.here.sql("UPDATE issues SET status = 'closed' WHERE status <> 'closed'")
        for _ in range(50):
            self.poll()
        before, begun = self._held(), time.process_time()
        for _ in range(polls):
            self.poll()
        took = time.process_time() - begun
        return {"idle ms": took / polls * 1000, "idle": [before, self._held()]}

    def poll(self) -> None:
        self.time.wait(self.service.stop, self.service.step())

    def _held(self) -> dict[str, int]:
        """Return the values that an idle service must not change."""
        return {
            "bytes": sum(file.stat().st_size for file in Path(self.files).rglob("*"))
            if self.files
            else 0,
            "lines": self.lines,
            "descriptors": len(list(Path("/proc/self/fd").iterdir())),
            "connections": len(self._connections()),
        }

    def _connections(self) -> list[int]:
        """Return the server's connections to this database, from the service and the test."""
        if isinstance(self.address, FileAddress):
            return []
        rows = self.here.engine.query("SHOW PROCESSLIST")
        return [row[0] for row in rows if row[3] == self.address.database]

    def _something_happens(self, change: int) -> None:
        self.away = change % 20 == 19  # until the next change
        if self.away:
            self.service._drop()
        elif change % 20 == 9:
            self._cut()
        what, here, dice = self.dice.random(), self.here, self.dice
        if what < 0.35:
            here.assign(f"bd-{self.made}")
            if self.made >= KEPT:
                here.sql(f"DELETE FROM issues WHERE id = 'bd-{self.made - KEPT}'")
            self.made += 1
        elif what < 0.75:
            if here.engine.query("SELECT 1 FROM issues WHERE status = 'in_progress' LIMIT 1"):
                here.sql("UPDATE issues SET status = 'closed' WHERE status = 'in_progress'")
        elif what < 0.9 and len(here.target.answers) < 5:
            here.target.answers.append(
                dice.choice(
                    [Refused("HTTP 500: boom", 500), Busy("HTTP 409", 409), Unknown("no answer")]
                )
            )
        else:
            here.target.free = Capacity(dice.choice([0, 1, 3]), "as the dice fall")

    def _cut(self) -> None:
        """Close the service's connection on the server. The service notices at its next poll."""
        if others := self._connections():
            others.remove(self.here.engine.query("SELECT CONNECTION_ID()")[0][0])
            for connection in others:
                self.here.engine.execute_ddl(f"KILL {connection}")


def main(polls: int, url: str, files: str) -> None:
    address = parse_url(url)
    if isinstance(address, ServerAddress):
        address = replace(address, password=os.environ.get("DOLT_WATCH_TEST_PASSWORD", ""))
    sys.stdout.write(json.dumps(Soak(address, files).run(polls)) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
