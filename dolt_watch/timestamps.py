"""Read and write times.

All times inside dolt_watch are aware datetimes in UTC. ``datetime.now`` is never called: the clock
is that of the database server, as each poll returns it. So workers on several machines agree, and
tests and ``--now`` can set the time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any


def to_utc(value: Any) -> datetime | None:
    """Return a database value as aware UTC, or None for NULL and ''.

    Args:
        value: A datetime, or the text that DoltLite and JSON contain.

    Raises:
        ValueError: The value is not a date and time.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise ValueError(f"{value!r} is not a date and time.")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def as_utc(value: Any) -> datetime:
    """Return a database value as aware UTC. Raises ValueError if it is not a date and time."""
    moment = to_utc(value)
    if moment is None:
        raise ValueError(f"{value!r} is not a date and time.")
    return moment


MAX_YEAR = 9000
"""First year of times that are never intended. Adding to them could overflow."""


def parse_any(value: Any) -> datetime | None:
    """Return the time that another program wrote, or None if the value is not a time.

    Only compare the result: arithmetic with a time near the maximum overflows.
    """
    try:
        return to_utc(value)
    except (ValueError, OverflowError):
        return None


def parse_foreign(value: Any) -> datetime | None:
    """Return the time that another program wrote, or None if it is no time or after MAX_YEAR."""
    moment = parse_any(value)
    return moment if moment is not None and moment.year < MAX_YEAR else None


LATEST = datetime(MAX_YEAR, 1, 1, tzinfo=UTC)
"""Latest date that a commit counts as."""


def clamp_commit_date(moment: datetime) -> datetime:
    """Return the date of a commit, at most LATEST. The author of a commit can choose its date."""
    return moment if moment.year < MAX_YEAR else LATEST


def iso(moment: datetime) -> str:
    """Return a time as 2026-04-18T22:35:46Z: whole seconds, as in the original's notes."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_STAMP = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
"""A time as ``iso`` writes it."""


def local_time(moment: datetime, now: datetime | None = None) -> str:
    """Return a time in the zone of this process, for a terminal.

    Args:
        moment: The time.
        now: A time of the same day is '22:35:46', and of the same year '04-18 22:35'. None: always
            with date and seconds.
    """
    local = moment.astimezone()
    if now is None:
        return f"{local:%Y-%m-%d %H:%M:%S}"
    today = now.astimezone()
    if local.date() == today.date():
        return f"{local:%H:%M:%S}"
    return f"{local:%m-%d %H:%M}" if local.year == today.year else f"{local:%Y-%m-%d}"


def localize(text: str, now: datetime | None = None) -> str:
    """Return a sentence with its times as ``local_time`` writes them.

    Sentences contain times as ``iso`` writes them, because files, JSON and the ledger contain the
    same sentences. Only a terminal and a browser show local times.
    """
    return _STAMP.sub(lambda found: _local(found[0], now), text)


def _local(text: str, now: datetime | None) -> str:
    moment = parse_foreign(text)  # the text of another program may only look like a time
    return text if moment is None else local_time(moment, now)


def whole_minutes(span: timedelta) -> int:
    """Return whole minutes, rounded down and never negative, as in the reaper's notes."""
    return max(0, int(span.total_seconds() // 60))


def format_span(span: timedelta) -> str:
    """Return a duration for people: '45s', '12m', '3h 5m' or '2d 4h'."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m"
    if seconds < 86400:
        return f"{seconds // 3600}h {seconds % 3600 // 60}m"
    return f"{seconds // 86400}d {seconds % 86400 // 3600}h"


def exact(span: timedelta) -> str:
    """Return a duration to the second up to one hour ('12s', '5m12s'), then like format_span()."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60 or seconds >= 3600:
        return format_span(span)
    return f"{seconds // 60}m" + (f"{seconds % 60}s" if seconds % 60 else "")
