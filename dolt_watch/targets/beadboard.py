"""BeadBoard: asks ``claude-agent-service`` for a run on our behalf, and tells us a job id. Its answers were asked of BeadBoard 20f07e9.

It is not idempotent, and its 502 is both 'refused' and 'accepted, but the answer was lost': most of its 502s are ``Unknown``.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from dolt_watch.model import Verdict
from dolt_watch.targets import Accepted, Answer, Busy, Capacity, JobReport, Refused, Task, Unknown
from dolt_watch.targets.http import NOTHING_SENT, Caller, Exchange
from dolt_watch.targets.reading import error_of, json_of, retry_after

DEFAULT_TIMEOUT = 30.0
LOOK_TIMEOUT = 10.0
"""Seconds that a look at the capacity may take: BeadBoard hangs for 301 s where its service does."""
LONGEST_JOB = 255
"""Characters of a job id: the column's width."""
MOST = 100_000
"""A service that counts more jobs than this is not believed."""

CREDENTIAL = frozenset({"Invalid token", "Missing bearer token", "Service unauthenticated"})
"""claude-agent-service's words for a bearer that it does not take, passed on by BeadBoard in a 502."""
OUR_FAULT = frozenset({"Invalid JSON body.", "taskId is required."})


class BeadBoard:
    """The default target. ``service_url`` (optional) is claude-agent-service itself: its ``/health`` has numbers, and can say that nothing runs."""

    deduplicates = False

    def __init__(self, name: str, url: str, service_url: str = "", timeout: float = DEFAULT_TIMEOUT) -> None:
        self.name = name
        self.timeout = timeout
        self._board = Caller(url)
        self._service = Caller(service_url) if service_url else None

    def capacity(self) -> Capacity:
        """One slot or none by BeadBoard's own ``busy``, which fails open: a courtesy. With ``service_url``, the service's numbers."""
        look = min(self.timeout, LOOK_TIMEOUT)
        if self._service is None:
            return read_status(self._board.exchange("GET", "/api/agent-status", timeout=look))
        capacity = read_health(self._service.exchange("GET", "/health", timeout=look))
        if not capacity.slots and not capacity.idle:
            return capacity
        # A frozen BeadBoard dispatches what it holds when it thaws. So an idle service is evidence only beside a BeadBoard that answers,
        # and a free slot is of no use without one.
        board = read_status(self._board.exchange("GET", "/api/agent-status", timeout=look))
        return board if board.down else capacity

    def dispatch(self, task: Task, token: str) -> Answer:
        """One POST. BeadBoard knows nothing of the ``Idempotency-Key``; a proxy or a later version may."""
        return read_answer(
            self._board.exchange(
                "POST",
                "/api/agent-dispatch",
                timeout=self.timeout,
                headers={"content-type": "application/json", "idempotency-key": token},
                body=json.dumps({"taskId": task.bead}).encode(),
            )
        )

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        """BeadBoard tells nothing about jobs."""
        return JobReport(Verdict.UNKNOWN)

    def close(self) -> None:
        self._board.close()
        if self._service is not None:
            self._service.close()


# -- POST /api/agent-dispatch ------------------------------------------------------------------------------------


def read_answer(exchange: Exchange) -> Answer:
    """What an answer to a dispatch means: the table of docs/targets.md. Raises nothing."""
    if exchange.trouble is not None or exchange.status is None:
        if exchange.trouble in NOTHING_SENT:
            return Refused(exchange.why)
        return Unknown(exchange.why or "no answer", exchange.status)
    status, shown = exchange.status, exchange.shown
    match status:
        case 200:
            return _accepted(exchange)
        case 400:
            return Refused(shown, status, for_good=_for_good(exchange))
        case 401 | 403:
            return Refused(shown, status, credential=True)
        case 409 | 429:
            return Busy(shown, status, retry_after(exchange))
        case 502:
            return _passed_on(exchange)
        case 503 if (rest := retry_after(exchange)) is not None:
            return Busy(shown, status, rest)
        case 500:
            # 'not configured', or an empty body for JSON null: BeadBoard's own 500s come before it asks its service.
            return Refused(shown, status)
        case 408:
            return Unknown(shown, status)
        case _ if 300 <= status < 500:
            return Refused(shown, status)
        case _:
            return Unknown(shown, status)


def _accepted(exchange: Exchange) -> Answer:
    answer = json_of(exchange)
    job = answer.get("job_id") if isinstance(answer, dict) else None
    # What cannot be a job id is no proof that nothing runs.
    if isinstance(job, str) and job.strip() == job != "" and len(job) <= LONGEST_JOB and job.isprintable():
        return Accepted(job, 200)
    return Unknown(f"no job_id in {exchange.shown}", 200)


def _for_good(exchange: Exchange) -> bool:
    """'Bead X not found.' is not for good: BeadBoard says it too when it cannot read Dolt."""
    error = error_of(exchange)
    return isinstance(error, str) and (error in OUR_FAULT or error.endswith("missing acceptance criteria."))


def _passed_on(exchange: Exchange) -> Answer:
    """A 502 holds what the service said where it said something; else nobody knows what it did."""
    error = error_of(exchange)
    if error == "Queue full":
        return Busy(exchange.shown, 502, retry_after(exchange))
    if isinstance(error, str) and error in CREDENTIAL:
        return Refused(exchange.shown, 502, credential=True)
    if isinstance(error, list):
        # The service's 422: validation comes before anything else there.
        return Refused(exchange.shown, 502)
    return Unknown(exchange.shown, 502)


# -- how much it takes -------------------------------------------------------------------------------------------


def read_status(exchange: Exchange) -> Capacity:
    """``GET /api/agent-status``. Never ``idle``: it says 'not busy' as well when its service is away."""
    answer = json_of(exchange) if exchange.trouble is None and exchange.status == 200 else None
    busy = answer.get("busy") if isinstance(answer, dict) else None
    if not isinstance(busy, bool):
        return Capacity(0, f"BeadBoard's agent-status: {exchange.shown}", down=True)
    return Capacity(0, "claude-agent-service is busy") if busy else Capacity(1)


def read_health(exchange: Exchange) -> Capacity:
    """``GET /health`` of claude-agent-service, new shape or old. The old one tells nothing of its queue, so it is never ``idle``."""
    answer = json_of(exchange) if exchange.trouble is None and exchange.status == 200 else None
    if not isinstance(answer, dict):
        return Capacity(0, f"claude-agent-service's health: {exchange.shown}", down=True)
    # Half of the numbers is not the old shape: it is an answer of something else.
    if not {"active", "queued", "capacity"} & answer.keys():
        busy = answer.get("busy")
        if not isinstance(busy, bool):
            return Capacity(0, f"claude-agent-service's health: {exchange.shown}", down=True)
        return Capacity(0, "claude-agent-service is busy") if busy else Capacity(1)
    active, queued, most = (_count(answer.get(key)) for key in ("active", "queued", "capacity"))
    if active is None or queued is None or most is None:
        return Capacity(0, f"claude-agent-service's numbers make no sense: {exchange.shown}", down=True)
    slots = max(0, most - active - queued)
    why = "" if slots else f"claude-agent-service is busy (active {active}, queued {queued}, capacity {most})"
    return Capacity(slots, why, idle=active == 0 and queued == 0)


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST else None
