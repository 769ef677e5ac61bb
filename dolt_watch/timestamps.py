"""Time: one clock, injected, and the few ways in which times are read and written.

Every time inside dolt_watch is an aware datetime in UTC. ``datetime.now`` is called nowhere: the
clock is the database's, as the look brings it, so that workers on several machines agree, and a
test or ``--now`` moves it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any


def to_utc(value: Any) -> datetime | None:
    """A database's date and time (datetime, or text as DoltLite and JSON give it) as aware UTC;
    None for NULL and ''.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise ValueError(f"not a date and time: {value!r}")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


MAX_YEAR = 9000
"""From this year on a time is nobody's: sums with it would pass the last one that there is."""


def parse_any(value: Any) -> datetime | None:
    """A time that somebody else wrote, however far it is: only to be compared with.

    None where it is none.
    """
    try:
        return to_utc(value)
    except (ValueError, OverflowError):
        return None


def parse_foreign(value: Any) -> datetime | None:
    """A time that somebody else wrote, in a row or in an import:

    None where it is none, or one that nobody can mean.
    """
    moment = parse_any(value)
    return moment if moment is not None and moment.year < MAX_YEAR else None


LATEST = datetime(MAX_YEAR, 1, 1, tzinfo=UTC)


def clamp_commit_date(moment: datetime) -> datetime:
    """The date of a commit, which whoever makes it may choose: never later than sums with it can
    be.
    """
    return moment if moment.year < MAX_YEAR else LATEST


def iso(moment: datetime) -> str:
    """2026-04-18T22:35:46Z: whole seconds, the form of the original's notes."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def whole_minutes(span: timedelta) -> int:
    """Whole minutes, rounded down, never negative: the <N> of the reaper's notes."""
    return max(0, int(span.total_seconds() // 60))


def format_span(span: timedelta) -> str:
    """A span for people: '45s', '12m', '3h 5m', '2d 4h'."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m"
    if seconds < 86400:
        return f"{seconds // 3600}h {seconds % 3600 // 60}m"
    return f"{seconds // 86400}d {seconds % 86400 // 3600}h"


def exact(span: timedelta) -> str:
    """A span to the second up to an hour ('12s', '5m12s', '6m'), else as ``ago`` has it."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60 or seconds >= 3600:
        return format_span(span)
    return f"{seconds // 60}m" + (f"{seconds % 60}s" if seconds % 60 else "")
