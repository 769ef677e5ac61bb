"""Usage limits of agents, recognized by the last output. Pure.

The patterns follow messages of the agents that users reported. Each agent may change its text with
any release. ``rest_on`` also takes a user's own patterns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo

LAST_CHARACTERS = 2000
"""Number of characters of the last output that are searched."""
AT_ONCE = timedelta(minutes=1)
"""An agent that reports success is searched for a limit only if it ended within this time."""
NEAR_LINES = 2
"""Number of lines before and after the message of a limit in which its reset time is searched."""

PRESETS: dict[str, tuple[str, ...]] = {
    "claude": (
        r"usage limit reached",
        r"\blimit reached\b.{0,40}\bresets?\b",
        r"(?:you've|you have) (?:hit|reached) your .{0,30}\blimit\b",
        r"your (?:account|organization) has (?:hit|reached) .{0,40}\blimit\b",
        r"\blimit will reset\b",
        r"\brate_limit_error\b",
        r"\bcredit balance is too low\b",
    ),
    "codex": (
        r"(?:you've|you have) (?:hit|reached) your usage limit",
        r"rate limit reached for\b",
        r"\brate limit exceeded\b.{0,60}\b(?:again|retry)\b",
        r"\busage_limit_reached\b",
        r"exceeded retry limit, last status: 429\b",
        r"\binsufficient_quota\b",
        r"exceeded your current quota",
    ),
    "gemini": (
        r"quota exceeded\b",
        r"\bRESOURCE_EXHAUSTED\b",
        r"exhausted your (?:daily|capacity|quota)",
        r"\bquota will reset\b",
        r"(?:hit|reached|exceeded) your .{0,30}\bquota\b",
    ),
}
"""Name in ``rest_on`` → regular expressions, ignoring case."""

_EXIT = re.compile(r"exit (\d{1,3})")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
"""Sequences that color a terminal's text or set its title (ECMA-48)."""


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
                    pattern = re.compile(text, re.IGNORECASE)
                except re.error as error:
                    raise InvalidPattern(f"{entry!r} isn't a regular expression: {error}") from None
                if pattern.search(""):
                    raise InvalidPattern(f"{entry!r} matches every output")
                self.patterns.append(pattern)

    def match(self, tail: str, code: int | None, lasted: timedelta) -> str:
        """Return the line of the last output that names a limit. Returns '' if it is missing.

        The output of an agent that exits with 0 after a longer run is not searched, since its
        answer may quote such a message.

        Args:
            tail: The last output.
            code: The exit code. None if a signal ended the agent.
            lasted: How long the run took.
        """
        limited = code in self.codes
        if code is None or (code == 0 and lasted > AT_ONCE and not limited):
            return ""
        otherwise = f"exit code {code}" if limited else ""
        return next((line for line in reversed(_lines(tail)) if self._matches(line)), otherwise)

    def match_last(self, tail: str) -> str:
        """Return the last line of the output if it names a limit. Returns '' if it doesn't.

        An agent may try again and again until its time is over. Its last line is then the limit.
        """
        last = _lines(tail)[-1:]
        return last[0] if last and self._matches(last[0]) else ""

    def _matches(self, line: str) -> bool:
        return any(pattern.search(line) for pattern in self.patterns)


def reset_near(tail: str, line: str, now: datetime, local: tzinfo) -> datetime | None:
    """Return when the limit in a line of the output resets.

    The time may be in the lines after or before it. If the line isn't part of the output, the time
    is searched in the last lines. Other parameters and the result: as for ``reset_time``.
    """
    # Late: its patterns take 5 ms to compile, and few runs meet a limit.
    from dolt_watch.targets.local.reset_times import reset_time

    lines = _lines(tail)
    place = max((number for number, each in enumerate(lines) if each == line), default=len(lines))
    after = lines[place + 1 : place + 1 + NEAR_LINES]
    before = reversed(lines[max(place - NEAR_LINES, 0) : place])
    for each in (line, *after, *before):
        if found := reset_time(each, now, local):
            return found
    return None


def _lines(tail: str) -> list[str]:
    """Return the last lines without colors, with straight apostrophes, and without empty lines."""
    text = _CONTROL.sub("", tail[-LAST_CHARACTERS:]).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return [line.strip() for line in text.splitlines() if line.strip()]
