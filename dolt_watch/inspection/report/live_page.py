"""The report as a page of ``dolt_watch run``: read-only, and never in the poll's way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from dolt_watch.controller.state_reader import StateReader
from dolt_watch.engines import Engine
from dolt_watch.errors import DoltWatchError
from dolt_watch.inspection.report.collector import ReportCollector
from dolt_watch.inspection.report.html import render

HttpResponse = tuple[int, str, bytes]

SPAN = timedelta(days=1)
AT_MOST_EVERY = 5.0
"""Seconds between two computations, however many look."""
MAX_CPU_SHARE = 0.05
"""No more than this part of the time is spent on computing: what takes long is computed more
seldom.
"""
REFRESH = 10
"""Seconds after which an open page asks again."""


class _Live:
    """Computed by whoever asks, in their thread, on a connection of its own: nobody asks,
    nothing is read.
    """

    def __init__(
        self, connect: Callable[[], Engine], make: Callable[[Engine], StateReader]
    ) -> None:
        self.connect, self.make = connect, make
        self._gatherer: ReportCollector | None = None
        self._lock = threading.Lock()
        self._answer: HttpResponse = (503, "text/plain; charset=utf-8", b"starting\n")
        self._next = 0.0

    def __call__(self) -> HttpResponse:
        with self._lock:
            begun = time.monotonic()
            if begun >= self._next:
                self._answer = self._computed()
                ended = time.monotonic()
                self._next = ended + max(AT_MOST_EVERY, (ended - begun) / MAX_CPU_SHARE)
            return self._answer

    def _computed(self) -> HttpResponse:
        # Imported when somebody looks: a service that nobody looks at does without jinja2.

        gatherer = self._gatherer = self._gatherer or ReportCollector()
        try:
            engine = self.connect()
            try:
                report = gatherer.report(self.make(engine), engine, lambda now: now - SPAN)
            finally:
                engine.close()
        except DoltWatchError as error:
            return 503, "text/plain; charset=utf-8", f"{error.message}\n".encode()
        gatherer.prune(report)
        return 200, "text/html; charset=utf-8", render("report", report, refresh=REFRESH).encode()


def pages(
    connect: Callable[[], Engine], make: Callable[[Engine], StateReader]
) -> Mapping[str, Callable[[], HttpResponse]]:
    """Path → page, as ``telemetry.health.Server`` serves them.

    ``make``: reads the state over an engine.
    """
    return {"/": _Live(connect, make)}
