"""Usage limits of agents, recognized by the last output, with the time of the reset. Pure.

The patterns follow messages of the agents that users reported. Each agent may change its text with
any release. ``rest_on`` also takes a user's own patterns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

LONGEST_REST = timedelta(days=1)
"""Longest time until a reset. A later one is likely misread."""
LAST_CHARACTERS = 2000
"""Number of characters of the last output that are searched."""
AT_ONCE = timedelta(minutes=1)
"""An agent that reports success is searched for a limit only if it ended within this time."""

PRESETS: dict[str, tuple[str, ...]] = {
    "claude": (
        r"usage limit reached",
        r"\blimit reached\b.{0,40}\bresets?\b",
        r"(?:you've|you have) (?:hit|reached) your .{0,30}\blimit\b",
        r"your (?:account|organization) has (?:hit|reached) .{0,40}\blimit\b",
    ),
    "codex": (
        r"(?:you've|you have) (?:hit|reached) your usage limit",
        r"rate limit reached for\b",
        r"\busage_limit_reached\b",
    ),
    "gemini": (
        r"quota exceeded\b",
        r"\bRESOURCE_EXHAUSTED\b",
        r"exhausted your (?:daily|capacity|quota)",
        r"\bquota will reset\b",
    ),
}
"""Name in ``rest_on`` → regular expressions, ignoring case."""

_EXIT = re.compile(r"exit (\d{1,3})")
_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_QUANTITY = (
    r"\d+(?:\.\d+)?\s*(?:days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)(?![A-Za-z])"
)
_SPAN = re.compile(
    rf"\b(?:in|after|retry-after:?)\s+({_QUANTITY}(?:[\s,]*(?:and\s+)?{_QUANTITY})*)", re.IGNORECASE
)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([dhms])", re.IGNORECASE)
_EPOCH = re.compile(r"(?<!\d)(1[6-9]\d{8}|2\d{9})(\d{3})?(?!\d)")
_ISO = re.compile(r"\b(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)")
_CLOCK = re.compile(
    r"\b(?:resets?|again|until|at|reset)\b(?:\s+at)?\s+(?:[A-Z][a-z]{2,8}\.?\s+\d{1,2}(?:st|nd|rd|th)?,?\s+"
    r"(?:\d{4},?\s+)?(?:at\s+)?)?"
    r"(?:(\d{1,2})(?::(\d\d))?\s*([ap])\.?m\b\.?|(\d{1,2}):(\d\d)(?!\d))\s*(?:\(([A-Za-z_]+(?:/[A-Za-z_+-]+)*)\)"
    r"|(UTC)\b)?",
    re.IGNORECASE,
)


class InvalidPattern(ValueError):
    """An entry of ``rest_on`` that is neither a preset, an exit code nor a regular expression."""


class UsageLimits:
    """The entries of one ``rest_on``.

    An entry is the name of a preset, ``exit N``, or a regular expression.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        """Compile the entries. Raises InvalidPattern."""
        self.codes: set[int] = set()
        self.patterns: list[re.Pattern[str]] = []
        for entry in entries:
            code = _EXIT.fullmatch(entry)
            if code and int(code[1]) > 255:
                raise InvalidPattern(f"the exit code of {entry!r} must be at most 255")
            if code:
                self.codes.add(int(code[1]))
                continue
            if not entry:
                raise InvalidPattern("an empty pattern matches every output")
            for text in PRESETS.get(entry, (entry,)):
                try:
                    self.patterns.append(re.compile(text, re.IGNORECASE))
                except re.error as error:
                    raise InvalidPattern(f"{entry!r} isn't a regular expression: {error}") from None

    def match(self, tail: str, code: int | None, lasted: timedelta) -> str:
        """Return the line of the last output that names a limit. Returns '' if it is missing.

        The output of an agent that exits with 0 after a longer run is not searched, since its
        answer may quote such a message.

        Args:
            tail: The last output.
            code: The exit code. None if a signal ended the agent.
            lasted: How long the run took.
        """
        if code is None:
            return ""
        lines = [line.strip() for line in tail[-LAST_CHARACTERS:].splitlines() if line.strip()]
        if code in self.codes:
            return next(
                (line for line in reversed(lines) if self._matches(line)), f"exit code {code}"
            )
        if code == 0 and lasted > AT_ONCE:
            return ""
        return next((line for line in reversed(lines) if self._matches(line)), "")

    def _matches(self, line: str) -> bool:
        return any(pattern.search(line) for pattern in self.patterns)


def reset_time(line: str, now: datetime, local: tzinfo) -> datetime | None:
    """Return when a limit resets according to a message, at most a day from ``now``.

    The message may contain an epoch (``|1749924000``), an ISO 8601 time, a duration (``in 3 hours 4
    minutes``) or a time of day (``6pm``, ``18:00``). The time of day is in the zone in parentheses,
    else in ``local``. ``now`` is aware.

    Returns:
        The time. None if the message has none, or one that has passed.
    """
    found = _absolute(line, local) or _after_span(line, now) or _next_clock(line, now, local)
    if found is None or found <= now:
        return None
    return min(found, now + LONGEST_REST)


def _absolute(line: str, local: tzinfo) -> datetime | None:
    if epoch := _EPOCH.search(line):
        return datetime.fromtimestamp(int(epoch[1]), local)
    if iso := _ISO.search(line):
        try:
            found = datetime.fromisoformat(iso[1])
        except ValueError:
            return None
        return found if found.tzinfo else found.replace(tzinfo=local)
    return None


def _after_span(line: str, now: datetime) -> datetime | None:
    span = _SPAN.search(line)
    if span is None:
        return None
    seconds = sum(float(value) * _UNIT[unit.lower()] for value, unit in _PART.findall(span[1]))
    return now + timedelta(seconds=min(seconds, LONGEST_REST.total_seconds()))


def _next_clock(line: str, now: datetime, local: tzinfo) -> datetime | None:
    clock = _CLOCK.search(line)
    if clock is None:
        return None
    hour, minute = int(clock[1] or clock[4]), int(clock[2] or clock[5] or 0)
    if clock[3]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if clock[3].lower() == "p" else 0)
    if hour > 23 or minute > 59:
        return None
    zone = _zone(clock[6] or clock[7] or "", local)
    here = now.astimezone(zone)
    found = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return found if found > here else found + timedelta(days=1)


def _zone(name: str, local: tzinfo) -> tzinfo:
    try:
        return ZoneInfo(name) if name else local
    except (OSError, ValueError, KeyError):  # No such zone, or no database of zones.
        return local
