"""Reading of answers, which may contain anything. Nothing here raises."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from dolt_watch.core.model.target_answers import Answer, Busy, Refused, Unknown
from dolt_watch.targets.http_client import AWAY, NOTHING_SENT, HttpResult

STATUS_TIMEOUT = 10.0
"""Seconds for a question about the capacity or about a job."""
LONGEST_JOB = 255
"""Maximum number of characters of a job id: the width of the column."""
NOT_FOUND = "not found."
"""Text of BeadBoard ('Bead X not found.') and of similar services."""
GATEWAY = frozenset({502, 503, 504})
"""Status codes of a gateway that can't reach the service behind it."""
LONGEST_REST = 3600.0
"""Longest cooldown in seconds that a target may request. A longer one is shortened."""


def default_answer(exchange: HttpResult) -> Answer:
    """Return the answer to a dispatch for which the service has no own meaning.

    It is never ``Accepted``.
    """
    if exchange.failure is not None or exchange.status is None:
        away = "target" if exchange.failure in AWAY else ""
        if exchange.failure in NOTHING_SENT:
            return Refused(exchange.reason, unreachable=away)
        return Unknown(exchange.reason or "no answer", exchange.status, away)
    status, shown = exchange.status, exchange.summary
    match status:
        case 401 | 403:
            return Refused(shown, status, halts_rule=True)
        case 409 | 429:
            return Busy(shown, status, retry_after(exchange))
        case 503 if (rest := retry_after(exchange)) is not None:
            return Busy(shown, status, rest)
        case _ if status in GATEWAY and retry_after(exchange) is None:
            return Unknown(shown, status, "service")
        case 408:
            return Unknown(shown, status)
        case _ if 300 <= status < 500:
            return Refused(shown, status, not_found=names_no_bead(shown))
        case _:
            return Unknown(shown, status)


def names_no_bead(text: str) -> bool:
    """Return whether an answer or an error output says that the bead was not found."""
    return NOT_FOUND in text


def valid_job_id(value: Any) -> str:
    """Return ``value`` if it is a valid job id, otherwise ''."""
    good = (
        isinstance(value, str)
        and value.strip() == value
        and len(value) <= LONGEST_JOB
        and value.isprintable()
    )
    return value if good else ""


def parse_json(exchange: HttpResult) -> Any:
    """Return the body as JSON. None if it isn't JSON."""
    return exchange.json_field()


def error_field(exchange: HttpResult) -> Any:
    """Return ``error`` of an answer ``{"error": …}``, of any type. None if it is missing."""
    return exchange.json_field("error")


def retry_after(exchange: HttpResult) -> float | None:
    """Return ``Retry-After`` in seconds, from 0 to an hour. None if it is missing or invalid.

    A date is relative to the answer's own ``Date``.
    """
    value = exchange.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        # Longer than any sensible number. int() refuses thousands of digits.
        return LONGEST_REST if len(value.lstrip("0")) > 9 else min(float(value), LONGEST_REST)
    until = _http_date(value)
    if until is None:
        return None
    now = _http_date(exchange.headers.get("date", ""))
    start = now.timestamp() if now is not None else exchange.at
    return min(max(0.0, until.timestamp() - start), LONGEST_REST)


def _http_date(value: str) -> datetime | None:
    if not value:
        return None
    from email.utils import parsedate_to_datetime  # Rarely needed, and slow to import.

    with suppress(ValueError, TypeError, IndexError, OverflowError):
        moment = parsedate_to_datetime(value)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return None
