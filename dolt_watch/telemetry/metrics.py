"""Prometheus metrics, in a registry of their own.

Names and words are an interface: dashboards and alerts are checked against them by a test.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter as Count
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    write_to_textfile,
)

from dolt_watch import __version__
from dolt_watch.controller.tick_result import TickResult
from dolt_watch.core.model import EntryKind, Phase, State

POSTED = {
    EntryKind.DISPATCHED: "accepted",
    EntryKind.FAILED: "refused",
    EntryKind.QUARANTINED: "refused",
    EntryKind.STOPPED: "stopped",
    EntryKind.BUSY: "busy",
    EntryKind.UNKNOWN: "unknown",
}
"""Reports of a request to a target → its outcome."""


class Metrics:
    def __init__(self) -> None:
        self._succeeded = False
        """A good tick was counted here: else the last one is that of the file."""
        self._known_outages: set[str] = set()
        """Targets that had an outage: their gauge goes back to 0, so that an alert ends."""
        self.registry = CollectorRegistry()
        gauge = partial(Gauge, registry=self.registry)
        counter = partial(Counter, registry=self.registry)
        # Names and labels are public: docs/reference/metrics.md is generated from them.
        gauge("dolt_watch_info", "Which program this is", ["version"]).labels(__version__).set(1)
        self.ticks = counter(
            "dolt_watch_ticks",
            "Ticks, idle ones included: ok (good ones), failed, error (broken off)",
            ["result"],
        )
        self.seconds = Histogram(
            "dolt_watch_tick_seconds",
            "Duration of a tick",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
            registry=self.registry,
        )
        self.lag_commits = gauge(
            "dolt_watch_lag_commits", "Commits that the last tick had to apply"
        )
        self.lag_seconds = gauge(
            "dolt_watch_lag_seconds", "Age of the oldest of these commits when it was applied"
        )
        self.beads = gauge("dolt_watch_beads", "Beads in a phase", ["phase", "rule"])
        self.held = gauge("dolt_watch_held_beads", "Waiting beads that are held, by gate", ["gate"])
        self.outages = gauge(
            "dolt_watch_target_outage",
            "1 while a target cannot be reached, 0 once it answers again",
            ["target"],
        )
        self.oldest = gauge(
            "dolt_watch_oldest_waiting_seconds", "Time since the oldest waiting bead matched"
        )
        self.decisions = counter("dolt_watch_decisions", "Entries of the ledger", ["kind"])
        self.posts = counter("dolt_watch_posts", "Requests to targets", ["outcome"])
        self.conflicts = counter(
            "dolt_watch_conflicts", "Transactions that conflicted with another worker"
        )
        self.leads = gauge("dolt_watch_leader", "1 if this process leads, 0 if it is a standby")
        self.success = gauge(
            "dolt_watch_last_success_timestamp_seconds", "End of the last successful tick"
        )

    def record_tick(
        self, outcome: TickResult, state: State, now: datetime | None, seconds: float
    ) -> None:
        """Record a tick. One that did not succeed leaves the time of the last success unchanged."""
        self.ticks.labels("failed" if outcome.exit_code else "ok").inc()
        self.seconds.observe(seconds)
        self.lag_commits.set(outcome.lag[0])
        self.lag_seconds.set(max(0.0, outcome.lag[1]))
        self.leads.set(1)
        for kind, number in outcome.kinds.items():
            self.decisions.labels(kind.value).inc(number)
            if kind in POSTED:
                self.posts.labels(POSTED[kind]).inc(number)
        self.conflicts.inc(outcome.conflicts)
        if outcome.exit_code == 0:
            self._succeeded = True
            self.success.set(time.time())
        # An idle tick reads no state, so its gauges stay as they are.
        if outcome.rounds:
            beads = Count((bead.phase.value, bead.rule) for bead in state.beads.values())
            self._gauge(self.beads, beads)
            self._gauge(self.held, Count((hold.gate,) for hold in outcome.holds.values()))
            self._known_outages |= state.outages.keys()
            outages = {(name,): int(name in state.outages) for name in self._known_outages}
            self._gauge(self.outages, outages)
        # The age of the queue grows without any change.
        waits = [
            bead.matched_at or bead.since
            for bead in state.beads.values()
            if bead.phase is Phase.WAITING
        ]
        self.oldest.set((now - min(waits)).total_seconds() if waits and now is not None else 0)

    def record_error(self) -> None:
        self.ticks.labels("error").inc()

    def clear_leader_gauges(self) -> None:
        """Clear the gauges, because another process may lead: a sum over replicas would count
        them twice.
        """
        self.beads.clear()
        self.held.clear()
        self.outages.clear()
        for gauge in (self.leads, self.oldest, self.lag_commits, self.lag_seconds):
            gauge.set(0)

    @staticmethod
    def _gauge(gauge: Gauge, values: Mapping[Any, int]) -> None:
        gauge.clear()
        for labels, number in values.items():
            gauge.labels(*labels).set(number)

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def write(self, path: str) -> None:
        """Write a file for node_exporter's textfile collector, atomically.

        After a tick that did not succeed, the file keeps the time of the last success. A pipe or a
        device, such as /dev/null, is written directly: a new file in its place would replace it.
        """
        file = Path(path)
        if not is_replaced(file):
            file.write_bytes(self.text())
            return
        if not self._succeeded:
            self.success.set(_last_success(path))
        write_to_textfile(os.path.realpath(path), self.registry)  # A symbolic link stays one.


def is_replaced(file: Path) -> bool:
    """Return whether a new file takes this file's place. A pipe or a device stays."""
    return not file.exists() or file.is_file()


def _last_success(path: str) -> float:
    """Return the time of the last success in the file; 0 if it has none."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            if line.startswith("dolt_watch_last_success_timestamp_seconds "):
                return float(line.split()[1])
    return 0.0
