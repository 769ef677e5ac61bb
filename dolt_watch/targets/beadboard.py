"""BeadBoard: asks ``claude-agent-service`` for a run on our behalf, and tells us a job id.

Its answers were asked of BeadBoard 20f07e9.

It is not idempotent, and its 502 is both 'refused' and 'accepted, but the answer was lost': most
of its 502s are ``Unknown``.
"""

from __future__ import annotations

import json
from datetime import datetime

from dolt_watch.core.model import Capacity, JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.targets.http_client import HttpClient, HttpResult
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.responses import (
    GATEWAY,
    STATUS_TIMEOUT,
    default_answer,
    error_field,
    names_no_bead,
    parse_json,
    retry_after,
    valid_job_id,
)
from dolt_watch.targets.service_health import SERVICE, interpret_health
from dolt_watch.targets.settings import BeadBoardSettings
from dolt_watch.targets.validation import check_url, checked_timeout

DEFAULT_TIMEOUT = 30.0

CREDENTIAL = frozenset({"Invalid token", "Missing bearer token", "Service unauthenticated"})
"""claude-agent-service's words for a bearer that it does not take, passed on by BeadBoard in a
502.
"""
NOT_CONFIGURED = "is not configured"
"""BeadBoard has no URL of its service, or no bearer: no bead can be sent."""
SERVICE_AWAY = frozenset(
    {"fetch failed", *(f"Agent service returned HTTP {status}." for status in sorted(GATEWAY))}
)
"""BeadBoard's words where its service, or the gateway before it, cannot be reached."""
OUR_FAULT = frozenset({"Invalid JSON body.", "taskId is required."})


class BeadBoard:
    """The default target.

    ``service_url`` (optional) is claude-agent-service itself: its ``/health`` has numbers, and
    can say that nothing runs.
    """

    def __init__(
        self, name: str, url: str, service_url: str = "", timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self.name = name
        self.timeout = timeout
        self._board = HttpClient(url)
        self._service = HttpClient(service_url) if service_url else None

    def capacity(self) -> Capacity:
        """One slot or none by BeadBoard's own ``busy``, which fails open: a courtesy.

        With ``service_url``, the service's numbers.
        """
        look = min(self.timeout, STATUS_TIMEOUT)  # BeadBoard hangs for 301 s where its service does
        if self._service is None:
            return read_status(self._board.exchange("GET", "/api/agent-status", timeout=look))
        capacity = interpret_health(self._service.exchange("GET", "/health", timeout=look))
        if not capacity.slots and not capacity.idle:
            return capacity
        # A frozen BeadBoard dispatches what it holds when it thaws. So an idle service is
        # evidence only beside a BeadBoard that answers, and a free slot is of no use without
        # one.
        board = read_status(self._board.exchange("GET", "/api/agent-status", timeout=look))
        return board if board.down else capacity._replace(proof="both")

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        """One POST.

        BeadBoard knows nothing of the ``Idempotency-Key``; a proxy or a later version may.
        """
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


def create(settings: BeadBoardSettings) -> BeadBoard:
    """Raises SettingsError: no URL, or one that is none."""
    name = settings.name
    fix = (
        f'set BEADBOARD_URL=http://HOST:PORT, or [targets.{name}] url = "http://HOST:PORT" in'
        " dolt_watch.toml"
    )
    check_url(settings, "url", settings.url, fix=fix)
    if settings.service_url:
        fix = (
            f'[targets.{name}] service_url = "http://HOST:PORT" (claude-agent-service), or leave'
            " it out"
        )
        check_url(settings, "service_url", settings.service_url, fix=fix)
    return BeadBoard(name, settings.url, settings.service_url, checked_timeout(settings))


# -- POST /api/agent-dispatch
# ------------------------------------------------------------------------------------


def read_answer(exchange: HttpResult) -> Answer:
    """What an answer to a dispatch means: the table of docs/targets.md. Raises nothing."""
    if exchange.failure is not None:
        return default_answer(exchange)
    match exchange.status:
        case 200:
            return _accepted(exchange)
        case 400:
            return Refused(
                exchange.summary,
                400,
                permanent=_for_good(exchange),
                not_found=names_no_bead(exchange.summary),
            )
        case 500:
            # 'not configured', or an empty body for JSON null: BeadBoard's own 500s come before
            # it asks its service.
            error = error_field(exchange)
            away = "service" if isinstance(error, str) and NOT_CONFIGURED in error else ""
            return Refused(
                exchange.summary, 500, unreachable=away, not_found=names_no_bead(exchange.summary)
            )
        case 502:
            return _passed_on(exchange)
        case _:
            return default_answer(exchange)


def _accepted(exchange: HttpResult) -> Answer:
    answer = parse_json(exchange)
    job = valid_job_id(answer.get("job_id")) if isinstance(answer, dict) else ""
    # What cannot be a job id is no proof that nothing runs.
    return Accepted(job, 200) if job else Unknown(f"no job_id in {exchange.summary}", 200)


def _for_good(exchange: HttpResult) -> bool:
    """'Bead X not found.' is not for good: BeadBoard says it too when it cannot read Dolt."""
    error = error_field(exchange)
    return isinstance(error, str) and (
        error in OUR_FAULT or error.endswith("missing acceptance criteria.")
    )


def _passed_on(exchange: HttpResult) -> Answer:
    """A 502 holds what the service said where it said something; else nobody knows what it did."""
    error = error_field(exchange)
    if error == "Queue full":
        return Busy(exchange.summary, 502, retry_after(exchange))
    if isinstance(error, str) and error in CREDENTIAL:
        return Refused(exchange.summary, 502, halts_rule=True)
    if isinstance(error, list):
        # The service's 422: validation comes before anything else there.
        return Refused(exchange.summary, 502, not_found=names_no_bead(exchange.summary))
    # Without a word of BeadBoard's own, a proxy says that it cannot reach BeadBoard.
    told = isinstance(error, str) and error in SERVICE_AWAY
    away = "service" if error is None or told else ""
    return Unknown(exchange.summary, 502, away)


# -- how much it takes --------------------


def read_status(exchange: HttpResult) -> Capacity:
    """``GET /api/agent-status``.

    Never ``idle``: it says 'not busy' as well when its service is away.
    """
    answer = parse_json(exchange) if exchange.failure is None and exchange.status == 200 else None
    busy = answer.get("busy") if isinstance(answer, dict) else None
    if not isinstance(busy, bool):
        return Capacity(0, f"BeadBoard's agent-status: {exchange.summary}", down=True)
    return (
        Capacity(0, "claude-agent-service is busy", proof="target", speaks_for=SERVICE)
        if busy
        else Capacity(1, proof="target")
    )
