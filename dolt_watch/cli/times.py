"""The value TIME of options: a timestamp, a duration, a word for a day, or a commit."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dolt_watch.errors import SettingsError
from dolt_watch.sanitize import sanitize
from dolt_watch.timestamps import iso, parse_foreign

if TYPE_CHECKING:
    from dolt_watch.engines import Engine

EARLIEST = 1970
"""First year of a TIME. No tracker is older, and arithmetic fails near the year 1."""
TIME_FORMS = (
    "Use a timestamp (2026-04-18T22:35:46Z), a duration (2h), 'today', 'yesterday', or a commit."
)
_END_FORMS = "Use a timestamp (2026-04-18T22:35:46Z), a duration from now (2h), or 'tomorrow'."
_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
# Each unit at most once, largest first: "2h" and "1h30m", but not "1d2d3d4d", which may begin the
# hash of a commit.
_DURATION = re.compile(
    r"(?=\d)" + "".join(rf"(?:\d+(?:\.\d+)?{unit})?" for unit in ("w", "d", "h", "m", "s", "ms"))
)
_COMMIT = re.compile(r"HEAD|[0-9a-vA-V]{4,}")


def parse_time(text: str, now: datetime, *, ahead: bool = False) -> datetime | None:
    """Return the moment that a TIME names without the help of history.

    Args:
        text: A timestamp (UTC unless it names a zone), a duration, or a word for a day, whose
            moment is 00:00 UTC.
        now: The moment that durations and days are relative to.
        ahead: Whether a duration counts from now on instead of back from now.

    Returns:
        The moment, or None for any other text, which may name a commit.
    """
    word = text.strip()
    if (days := _DAYS.get(word.lower())) is not None:
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + timedelta(days=days)
    try:
        if _DURATION.fullmatch(word):
            import durationpy  # Late: an idle tick parses no TIME.

            span = durationpy.from_str(word)
            found = parse_foreign(now + span if ahead else now - span)
        else:
            # A hash has no dash, and a date has one.
            found = parse_foreign(word) if "-" in word else None
    except (ValueError, OverflowError):
        return None
    return found if found is not None and found.year >= EARLIEST else None


def absolute(text: str, now: datetime, option: str) -> str:
    """Return a TIME as a timestamp or a commit: the two forms that history can be asked for.

    Args:
        text: The TIME.
        now: The database's clock.
        option: Name of the option, for the error.

    Raises:
        SettingsError: The text is not a TIME.
    """
    word, found = text.strip(), parse_time(text, now)
    if found is not None:
        return found.isoformat() if found.microsecond else iso(found)
    if not _COMMIT.fullmatch(word):
        raise SettingsError(
            f"{sanitize(text, 80)!r} is not a valid time.", where=option, fix=TIME_FORMS
        )
    return word


def resolve_time(engine: Engine, text: str, now: datetime, option: str) -> datetime:
    """Return the moment of a TIME; of a commit, its date.

    The arguments are those of ``absolute``, after the engine in which the commit is looked up.

    Raises:
        SettingsError: The text is not a TIME, or history has no such commit.
    """
    found = parse_time(text, now)
    if found is not None:
        return found
    # Late: only a commit needs history.
    from dolt_watch.history.revisions import head_commit, resolve_revision

    commit = absolute(text, now, option)
    return resolve_revision(engine, commit, head_commit(engine), option).date


def parse_end(text: str, now: datetime, option: str) -> datetime:
    """Return the moment at which something ends: a timestamp, or a duration from now on.

    Raises:
        SettingsError: The text is neither, or the moment is not in the future.
    """
    found = parse_time(text, now, ahead=True)
    if found is None:
        shown = sanitize(text, 80)
        raise SettingsError(
            f"A commit can't be an end time, but {option} is {shown!r}."
            if _COMMIT.fullmatch(text.strip())
            else f"{shown!r} is not a valid time.",
            where=option,
            fix=_END_FORMS,
        )
    if found <= now:
        raise SettingsError(
            f"{option} must be in the future, but {sanitize(text, 80)!r} is not after"
            f" {now:%Y-%m-%dT%H:%M:%SZ}, the time of the database server.",
            where=option,
            fix=_END_FORMS,
        )
    return found
