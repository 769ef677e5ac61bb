"""The target ``beadboard``: BeadBoard, which requests a run from claude-agent-service (commit
20f07e9).

BeadBoard doesn't deduplicate. Its 502 can mean that the service refused the bead, or that it
accepted the bead and the answer was lost. So most of its 502s are ``Unknown``.
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
    names_no_bead,
    retry_after,
    valid_job_id,
)
from dolt_watch.targets.service_health import SERVICE, interpret_health
from dolt_watch.targets.settings import BeadBoardSettings
from dolt_watch.targets.validation import check_url, checked_timeout

CREDENTIAL = frozenset({"Invalid token", "Missing bearer token", "Service unauthenticated"})
"""Texts of claude-agent-service for a bearer token that it rejects. BeadBoard passes them on in a
502.
"""
NOT_CONFIGURED = "is not configured"
"""BeadBoard has no URL of its service, or no bearer token, so it can't dispatch any bead."""
SERVICE_AWAY = frozenset(
    {"fetch failed", *(f"Agent service returned HTTP {status}." for status in sorted(GATEWAY))}
)
"""Texts of BeadBoard if its service, or the gateway before the service, can't be reached."""
OUR_FAULT = frozenset({"Invalid JSON body.", "taskId is required."})


class BeadBoard:
    """The default target.

    ``service_url`` (optional) is the URL of claude-agent-service itself. Its ``/health`` has
    numbers, and can prove that nothing runs.
    """

    def __init__(self, settings: BeadBoardSettings) -> None:
        """Raise SettingsError if there is no URL, or if a URL is invalid."""
        name = settings.name
        fix = (
            f"Set BEADBOARD_URL=http://HOST:PORT, or [targets.{name}] url ="
            ' "http://HOST:PORT" in dolt_watch.toml.'
        )
        check_url(settings, "url", settings.url, fix=fix)
        self._service = None
        if settings.service_url:
            fix = (
                f'Set [targets.{name}] service_url = "http://HOST:PORT"'
                " (claude-agent-service), or remove it."
            )
            check_url(settings, "service_url", settings.service_url, fix=fix)
            self._service = HttpClient(settings.service_url)
        self.name, self.timeout = name, checked_timeout(settings)
        self._board = HttpClient(settings.url)

    def capacity(self) -> Capacity:
        """Return one slot or none, by BeadBoard's own ``busy``.

        BeadBoard reports not busy if it can't ask its service.

        With ``service_url``, return the service's numbers.
        """
        limit = min(
            self.timeout, STATUS_TIMEOUT
        )  # If its service hangs, BeadBoard hangs for 301 s.
        if self._service is None:
            return read_status(self._board.exchange("GET", "/api/agent-status", timeout=limit))
        capacity = interpret_health(self._service.exchange("GET", "/health", timeout=limit))
        if not capacity.slots and not capacity.idle:
            return capacity
        # A frozen BeadBoard dispatches its pending requests when it thaws. So an idle service is
        # evidence only if BeadBoard answers too, and a free slot is useless without BeadBoard.
        board = read_status(self._board.exchange("GET", "/api/agent-status", timeout=limit))
        return board if board.down else capacity._replace(proof="both")

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        """Send one POST and return the answer.

        BeadBoard ignores the ``Idempotency-Key``. A proxy or a later version may use it.
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
        """Return an unknown verdict: BeadBoard reports nothing about jobs."""
        return JobReport(Verdict.UNKNOWN)

    def close(self) -> None:
        self._board.close()
        if self._service is not None:
            self._service.close()


# -- POST /api/agent-dispatch
# ------------------------------------------------------------------------------------


def read_answer(exchange: HttpResult) -> Answer:
    """Return the answer to a dispatch.

    By the table in docs/reference/target-answers.md. Raises nothing.
    """
    if exchange.failure is not None:
        return default_answer(exchange)
    match exchange.status:
        case 200:
            job = valid_job_id(exchange.json_field("job_id"))
            # An invalid job id is no proof that nothing runs.
            unknown = Unknown(f"no job_id in {exchange.summary}", 200)
            return Accepted(job, 200) if job else unknown
        case 400:
            return Refused(
                exchange.summary,
                400,
                permanent=_for_good(exchange),
                not_found=names_no_bead(exchange.summary),
            )
        case 500:
            # 'not configured', or an empty body for JSON null. BeadBoard's own 500s are sent before
            # it asks its service.
            error = exchange.json_field("error")
            away = "service" if isinstance(error, str) and NOT_CONFIGURED in error else ""
            return Refused(
                exchange.summary, 500, unreachable=away, not_found=names_no_bead(exchange.summary)
            )
        case 502:
            return _passed_on(exchange)
        case _:
            return default_answer(exchange)


def _for_good(exchange: HttpResult) -> bool:
    """Return whether an unchanged bead would be refused again.

    'Bead X not found.' is temporary: BeadBoard also says it if it can't read Dolt.
    """
    error = exchange.json_field("error")
    return isinstance(error, str) and (
        error in OUR_FAULT or error.endswith("missing acceptance criteria.")
    )


def _passed_on(exchange: HttpResult) -> Answer:
    """Return the answer for a 502. Without the service's own text, the outcome is unknown."""
    error = exchange.json_field("error")
    if error == "Queue full":
        return Busy(exchange.summary, 502, retry_after(exchange))
    if isinstance(error, str) and error in CREDENTIAL:
        return Refused(exchange.summary, 502, halts_rule=True)
    if isinstance(error, list):
        # The service's 422. The service validates a request before anything else.
        return Refused(exchange.summary, 502, not_found=names_no_bead(exchange.summary))
    # Without a text of BeadBoard, a proxy reports that it can't reach BeadBoard.
    is_outage = isinstance(error, str) and error in SERVICE_AWAY
    away = "service" if error is None or is_outage else ""
    return Unknown(exchange.summary, 502, away)


# -- how much it takes --------------------


def read_status(exchange: HttpResult) -> Capacity:
    """Return the capacity from ``GET /api/agent-status``.

    It is never ``idle``: BeadBoard also reports 'not busy' if its service is away.
    """
    busy = exchange.json_field("busy")
    if exchange.failure is not None or exchange.status != 200 or not isinstance(busy, bool):
        return Capacity(0, f"BeadBoard's agent-status: {exchange.summary}", down=True)
    return (
        Capacity(0, "claude-agent-service is busy", proof="target", speaks_for=SERVICE)
        if busy
        else Capacity(1, proof="target")
    )
