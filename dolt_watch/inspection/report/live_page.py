"""The report as pages of ``dolt_watch run``: read-only, and never in the way of the loop.

| path | answer |
|---|---|
| ``/``, ``/bead/ID`` | the page |
| ``/data.json`` | all data; ``?after=TAG``: only what changed since the answer with that tag |
| ``/why.json?bead=ID`` | what ``dolt_watch why`` reports of a bead |
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import orjson

from dolt_watch.controller.state_reader import StateReader
from dolt_watch.core.model import Capacity
from dolt_watch.engines import Engine
from dolt_watch.errors import DoltWatchError, SettingsError
from dolt_watch.history.revisions import head_commit
from dolt_watch.inspection.report.bead_view import view_of
from dolt_watch.inspection.report.collector import ReportCollector
from dolt_watch.inspection.report.html import render
from dolt_watch.inspection.report.payload import payload
from dolt_watch.inspection.report.view_model import Place, Report
from dolt_watch.inspection.report.web import Request, Response, Route, plain
from dolt_watch.inspection.why.decision_snapshot import SilentTarget, snapshot_now
from dolt_watch.inspection.why.explanation import explain
from dolt_watch.targets.protocol import Target

SPAN = timedelta(days=7)
AT_MOST_EVERY = 5.0
"""Seconds between two computations, regardless of the number of viewers."""
MAX_CPU_SHARE = 0.05
"""Maximum share of the time that is spent on computing: a long computation is repeated less
often."""
REFRESH = 10
"""Seconds after which an open page asks again."""
CLOCKS = frozenset({"now", "since", "first"})
"""Values that move with the clock. They are part of each answer, and alone no reason for a new
tag."""
MOVING = frozenset({"now", "since"})
HTML = "text/html; charset=utf-8"
JSON = "application/json"


def unasked_target(name: str) -> Target:
    """Return a target that is never asked: a viewer of the page causes no request to a target."""
    return SilentTarget(name, Capacity(None, "not asked by the page"))


class _Part(NamedTuple):
    text: bytes
    changed: int
    """Generation in which the part last changed."""


class Versions:
    """Data in parts, each with the generation in which it last changed."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)
        """Distinguishes this process from earlier ones, whose generations mean nothing here."""
        self.generation = 0
        self._clocks: dict[str, int] = {}
        self._taken: dict[str, int] = {}
        """The clocks of the last data."""
        self._parts: dict[str, _Part] = {}
        self._rows: dict[str, _Part] = {}
        self._gone: dict[str, int] = {}
        """Bead → generation in which its row disappeared."""

    @property
    def tag(self) -> str:
        return f"{self.epoch}.{self.generation}"

    def update(self, data: Mapping[str, Any]) -> None:
        """Take new data: ``rows``, whose first value is the bead, and other parts."""
        next_ = self.generation + 1
        parts = {
            name: self._part(self._parts.get(name), value, next_)
            for name, value in data.items()
            if name not in CLOCKS and name != "rows"
        }
        rows = {row[0]: self._part(self._rows.get(row[0]), row, next_) for row in data["rows"]}
        gone = self._rows.keys() - rows.keys()
        self._gone = {bead: at for bead, at in self._gone.items() if bead not in rows}
        self._gone |= dict.fromkeys(gone, next_)
        self._clocks = self._taken = {name: data[name] for name in data.keys() & CLOCKS}
        self._parts, self._rows = parts, rows
        changed = gone or any(one.changed == next_ for one in (*parts.values(), *rows.values()))
        if changed:
            self.generation = next_

    def advance(self, elapsed: timedelta) -> None:
        """Let time pass since the last data."""
        seconds = round(elapsed.total_seconds())
        moved = {name: self._taken[name] + seconds for name in self._taken.keys() & MOVING}
        self._clocks = {**self._taken, **moved}

    @staticmethod
    def _part(before: _Part | None, value: Any, generation: int) -> _Part:
        text = orjson.dumps(value)
        return before if before is not None and before.text == text else _Part(text, generation)

    def after(self, tag: str) -> bytes:
        """Return the parts that changed after the answer with that tag; all for a foreign tag."""
        epoch, _, number = tag.partition(".")
        # int() refuses thousands of digits.
        since = int(number) if epoch == self.epoch and re.fullmatch("[0-9]{1,18}", number) else -1
        known = 0 <= since <= self.generation
        since = since if known else -1
        answer: dict[str, Any] = {"tag": self.tag, "whole": not known, **self._clocks}
        answer |= {
            name: orjson.Fragment(part.text)
            for name, part in self._parts.items()
            if part.changed > since
        }
        rows = [part.text for part in self._rows.values() if part.changed > since]
        answer["rows"] = [orjson.Fragment(text) for text in rows]
        if known:
            answer["gone"] = [bead for bead, at in self._gone.items() if at > since]
        return orjson.dumps(answer)


class LivePage:
    """Computed by the thread of a request, on a connection of its own: without viewers, nothing
    is read.

    Args:
        connect: Opens a connection.
        make: Returns a loop that only reads, with ``unasked_target``.
        place: The tracker.
    """

    def __init__(
        self,
        connect: Callable[[], Engine],
        make: Callable[[Engine], StateReader],
        place: Place | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connect, self.make, self.clock = connect, make, clock
        self.collector = ReportCollector(place)
        self.versions = Versions()
        self._lock = threading.Lock()
        self._next = 0.0
        self._error: Response | None = None
        self.report: Report | None = None
        """The last one."""
        self._mark: object = None
        """The input of the last report: commit, working set, saved state, minute."""
        self._html: tuple[str, bytes] = ("", b"")
        """Tag of the data, and the page that contains them."""
        self._views: dict[str, tuple[float, Response]] = {}

    def routes(self) -> Mapping[str, Route]:
        """Return the routes of the live page, as ``telemetry.health.Server`` serves them."""
        return {"/": self.page, "/bead/": self.page, "/data.json": self.data, "/why.json": self.why}

    def page(self, request: Request) -> Response:
        with self._lock:
            if error := self._refresh():
                return error
            tag = self.versions.tag
            if self._html[0] != tag and self.report is not None:
                whole = self.versions.after("")
                html = render("report", self.report, refresh=REFRESH, data=whole)
                self._html = (tag, html.encode())
            return Response(200, HTML, self._html[1], tag)

    def data(self, request: Request) -> Response:
        """Answer with the data. An answer that continues another one has no tag: the time in it
        is new.
        """
        with self._lock:
            if error := self._refresh():
                return error
            after = request.query.get("after", "")
            tag = "" if after else self.versions.tag
            return Response(200, JSON, self.versions.after(after), tag)

    def why(self, request: Request) -> Response:
        """Answer with a bead's conditions and life; 404 if there is no such bead."""
        bead = request.query.get("bead", "")
        with self._lock:
            now = self.clock()
            self._views = {one: kept for one, kept in self._views.items() if kept[0] > now}
            if bead not in self._views:
                answer = self._explained(bead)
                self._views[bead] = self._due_again(now), answer
            return self._views[bead][1]

    def _refresh(self) -> Response | None:
        """Compute again if that is due. Return the error of the last computation."""
        begun = self.clock()
        if begun >= self._next:
            self._error = self._computed()
            self._next = self._due_again(begun)
        return self._error

    def _due_again(self, begun: float) -> float:
        """Return when a computation that ends now is due again."""
        ended = self.clock()
        return ended + max(AT_MOST_EVERY, (ended - begun) / MAX_CPU_SHARE)

    def _computed(self) -> Response | None:
        try:
            with closing(self.connect()) as engine:
                reader = self.make(engine)
                # One query tells whether a row changed. Without a change, only the time of day can
                # change the report: once a minute is often enough.
                polled, now = reader.poll()
                minute = now.replace(second=0, microsecond=0)
                mark = (polled.head, polled.hashes, polled.saved, polled.merging, minute)
                if self.report is not None and mark == self._mark:
                    self.versions.advance(now - self.report.now.now)
                    return None
                report = self.collector.report(reader, lambda now: now - SPAN)
                self._mark = mark
        except DoltWatchError as error:
            return plain(503, error.message)
        self.collector.prune(report)
        self.report = report
        self.versions.update(payload(report))
        return None

    def _explained(self, bead: str) -> Response:
        try:
            with closing(self.connect()) as engine:
                take = partial(snapshot_now, self.make(engine), bead)
                found = explain(engine, bead, head_commit(engine), take)
            return Response(200, JSON, orjson.dumps(view_of(found)))
        except SettingsError as error:
            return plain(404, error.message)
        except DoltWatchError as error:
            return plain(503, error.message)
