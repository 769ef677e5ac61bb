"""The time at which a usage limit resets, from the text of an agent. Pure.

A text names it after a word such as 'resets' or 'again': as seconds since 1970, in ISO 8601, as a
duration, or as a time of day with or without a date. Each agent, and each of its releases, has its
own words, so this module accepts all forms of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

LONGEST_REST = timedelta(days=1)
"""Longest time until a reset. A later one is tried after a day."""
JUST_PASSED = timedelta(minutes=15)
"""A time of day that passed this recently is that of today, and the limit has reset."""
WINDOW = 100
"""Number of characters after the word 'resets' in which its time is searched."""

_WORD = re.compile(
    r"(?<![a-z])(?:resets?|resetting|renews?|refresh(?:es)?|again|until|retry|wait|available)",
    re.IGNORECASE,
)
_EPOCH = re.compile(r"(?<!\d)(1[6-9]\d{8}|2\d{9})(?:\d{3})?(?!\d)")
_BARE_EPOCH = re.compile(rf"\|\s*{_EPOCH.pattern}")
"""As Claude Code prints it: ``usage limit reached|1749924000``."""
_ISO = re.compile(
    r"(?<!\d)\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?(?!\d)"
)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_QUANTITY = (
    r"(?:\d+(?:\.\d+)?|an?|one)\s*(?:weeks?|w|days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?"
    r"|s)(?![a-z])"
)
_SPAN = re.compile(
    r"(?:\b(?:in|after|for|wait|within)|delay|^s?)[\s\"':=]*"
    r"(?:about|around|approximately|approx\.?|another|the next|up to|~)?\s*"
    rf"({_QUANTITY}(?:[\s,]*(?:and\s+)?{_QUANTITY})*)",
    re.IGNORECASE,
)
_PART = re.compile(r"(\d+(?:\.\d+)?|an?\b|one\b)\s*([wdhms])", re.IGNORECASE)
_COUNTDOWN = re.compile(r"\bin\s+(\d{1,2}):(\d\d)(?::(\d\d))?(?!\s*[ap]\.?m)\b", re.IGNORECASE)
_SECONDS = re.compile(
    r"^(?:[-_ ]?after|s?[-_ ]?in[-_ ]?seconds)[\s\"':=]{1,4}(\d+(?:\.\d+)?)"
    r"(?![\d:.]*\s*[a-z\d:/-])",
    re.IGNORECASE,
)
"""The rest of ``Retry-After: 120`` and ``"resets_in_seconds": 120`` after its first word."""

_CLOCK = re.compile(
    r"(?<![\d:.])(?:(?:(\d{1,2})(?::(\d\d))?(?::\d\d)?\s*([ap])\.?m\b\.?)"
    r"|(?:(\d{1,2}):(\d\d)(?::\d\d(?:\.\d+)?)?(?!\d))|\b(noon|midnight)\b)",
    re.IGNORECASE,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTH = (
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sep(?:t(?:ember)?)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_MONTH_DAY = re.compile(
    rf"\b{_MONTH}\s+(\d{{1,2}})(?:st|nd|rd|th)?(?![\d:])(?:,?\s+(\d{{4}})(?![\d:]))?", re.IGNORECASE
)
_DAY_MONTH = re.compile(
    rf"\b(\d{{1,2}})(?:st|nd|rd|th|\.)?\s+(?:of\s+)?{_MONTH}(?:,?\s+(\d{{4}})(?![\d:]))?",
    re.IGNORECASE,
)
_WEEKDAY = re.compile(
    r"\b(?:(mon|fri|sun)(?:day)?|(tue)s?(?:day)?|(wed)(?:nesday)?|(thu)(?:rs?)?(?:day)?"
    r"|(sat)(?:urday)?)\b",
    re.IGNORECASE,
)
_TOMORROW = re.compile(r"\btomorrow\b", re.IGNORECASE)

_ZONE = re.compile(
    r"[\s,(\[]*(?:([A-Za-z_]+(?:/[A-Za-z0-9_+-]+)+)|(?:(?:UTC|GMT)\s?)?([+-])(\d{1,2}):?(\d\d)?(?!\d)"
    r"|(Z|UTC|GMT)\b|([A-Z]{2,4})\b|(Pacific|Mountain|Central|Eastern)\b)"
)
_NAMED_ZONES = {
    **dict.fromkeys(("PT", "Pacific"), "America/Los_Angeles"),
    **dict.fromkeys(("MT", "Mountain"), "America/Denver"),
    **dict.fromkeys(("CT", "Central"), "America/Chicago"),
    **dict.fromkeys(("ET", "Eastern"), "America/New_York"),
}
_ABBREVIATIONS: dict[float, tuple[str, ...]] = {
    -8: ("PST",),
    -7: ("PDT", "MST"),
    -6: ("MDT", "CST"),
    -5: ("CDT", "EST"),
    -4: ("EDT",),
    0: ("WET",),
    1: ("WEST", "BST", "CET"),
    2: ("CEST", "EET"),
    3: ("EEST", "MSK"),
    5.5: ("IST",),
    9: ("JST", "KST"),
    10: ("AEST",),
    11: ("AEDT",),
}
"""Hours east of UTC. Abbreviations aren't unique. These are the usual ones of messages in
English.
"""
_OFFSETS = {short: hours for hours, names in _ABBREVIATIONS.items() for short in names}


def reset_time(text: str, now: datetime, local: tzinfo) -> datetime | None:
    """Return when a limit resets according to a message, at most a day from ``now``.

    A time of day without a zone is in ``local``. ``now`` is aware.

    Returns:
        The time. None if the message has none, or one that has passed.
    """
    for found in _times(text, now, local):
        if found > now:
            return min(found, now + LONGEST_REST)
    return None


def _times(text: str, now: datetime, local: tzinfo) -> Iterator[datetime]:
    """Yield the times that a message names, the one after its last 'resets' first."""
    for word in reversed(list(_WORD.finditer(text))):
        found = _time_in(text[word.end() : word.end() + WINDOW], now, local)
        if found is not None:
            yield found
    if bare := _BARE_EPOCH.search(text):
        yield datetime.fromtimestamp(int(bare[1]), UTC)


def _time_in(text: str, now: datetime, local: tzinfo) -> datetime | None:
    """Return the time in the text after the word 'resets'."""
    if epoch := _EPOCH.search(text):
        return datetime.fromtimestamp(int(epoch[1]), UTC)
    if iso := _ISO.search(text):
        return _iso_time(iso[0], text[iso.end() :], local)
    seconds = _span_seconds(text)
    if seconds is not None:
        return now + timedelta(seconds=min(seconds, LONGEST_REST.total_seconds()))
    return _calendar_time(text, now, local)


def _iso_time(text: str, rest: str, local: tzinfo) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=_zone(rest, local))


def _span_seconds(text: str) -> float | None:
    if span := _SPAN.search(text):
        return sum(
            (float(number) if number[0].isdigit() else 1.0) * _UNITS[unit.lower()]
            for number, unit in _PART.findall(span[1])
        )
    if countdown := _COUNTDOWN.search(text):
        hours, minutes, seconds = (int(part or 0) for part in countdown.groups())
        return hours * 3600.0 + minutes * 60 + seconds
    if bare := _SECONDS.search(text):
        return float(bare[1])
    return None


def _calendar_time(text: str, now: datetime, local: tzinfo) -> datetime | None:
    """Return the next time that a time of day, a date, or both name."""
    clock = next((each for each in _CLOCK.finditer(text) if _hour_minute(each)), None)
    zone = _zone(text[clock.end() :], local) if clock is not None else local
    here = now.astimezone(zone)
    day, again = _day_in(text, here)
    if clock is None and day is None:
        return None
    hour, minute = (_hour_minute(clock) if clock is not None else None) or (0, 0)
    found = (day or here).replace(hour=hour, minute=minute, second=0, microsecond=0)
    return found + again if found <= here - JUST_PASSED else found


def _hour_minute(clock: re.Match[str]) -> tuple[int, int] | None:
    """Return the time of day of a match. None if there is no such time."""
    if clock[6]:
        return (12 if clock[6].lower() == "noon" else 0), 0
    hour, minute = int(clock[1] or clock[4]), int(clock[2] or clock[5] or 0)
    if clock[3]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if clock[3].lower() == "p" else 0)
    return (hour, minute) if hour < 24 and minute < 60 else None


def _day_in(text: str, here: datetime) -> tuple[datetime | None, timedelta]:
    """Return the next day that a text names, and the time after which it comes again.

    Without a day, every day is meant. A date does not come again.
    """
    if _TOMORROW.search(text):
        return here + timedelta(days=1), timedelta(0)
    if month_day := _MONTH_DAY.search(text):
        return _date(here, month_day[1], month_day[2], month_day[3]), timedelta(0)
    if day_month := _DAY_MONTH.search(text):
        return _date(here, day_month[2], day_month[1], day_month[3]), timedelta(0)
    if weekday := _WEEKDAY.search(text):
        ahead = (_DAYS.index(weekday[weekday.lastindex or 1].lower()) - here.weekday()) % 7
        return here + timedelta(days=ahead), timedelta(days=7)
    return None, timedelta(days=1)


def _date(here: datetime, month: str, day: str, year: str | None) -> datetime | None:
    try:
        found = here.replace(
            year=int(year or here.year), month=_MONTHS.index(month[:3].lower()) + 1, day=int(day)
        )
        if not year and found < here - timedelta(days=180):
            found = found.replace(year=here.year + 1)
    except ValueError:  # No such day.
        return None
    return found


def _zone(rest: str, local: tzinfo) -> tzinfo:
    """Return the zone at the beginning of a text. ``local`` if it is missing or unknown."""
    found = _ZONE.match(rest)
    if found is None:
        return local
    name, sign, hours, minutes, universal, short, us = found.groups()
    if universal:
        return UTC
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        if offset >= timedelta(days=1):
            return local
        return timezone(-offset if sign == "-" else offset)
    if short in _OFFSETS:
        return timezone(timedelta(hours=_OFFSETS[short]))
    try:
        return ZoneInfo(name or _NAMED_ZONES[short or us])
    except (OSError, ValueError, KeyError):  # No such zone, or no database of zones.
        return local
