"""Reading answers that anybody may have written: none of this raises."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson

from dolt_watch.targets.http import Exchange

LONGEST_REST = 3600.0
"""Seconds for which a target may ask to be left alone; more is taken as this."""


def json_of(exchange: Exchange) -> Any:
    """The body as JSON; None where it is none."""
    try:
        return orjson.loads(exchange.body)
    except ValueError:
        return None


def error_of(exchange: Exchange) -> Any:
    """The ``error`` of an answer ``{"error": …}``, of whatever type; None without one."""
    answer = json_of(exchange)
    return answer.get("error") if isinstance(answer, dict) else None


def retry_after(exchange: Exchange) -> float | None:
    """``Retry-After`` in seconds, from 0 to an hour; None where it is missing or says nothing. A date is read by the answer's own ``Date``."""
    value = exchange.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        # Longer than any sensible number; int() refuses thousands of digits.
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
    from email.utils import parsedate_to_datetime  # seldom needed, and not light

    with suppress(ValueError, TypeError, IndexError, OverflowError):
        moment = parsedate_to_datetime(value)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return None
