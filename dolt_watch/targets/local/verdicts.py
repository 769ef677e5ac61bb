"""The verdict on a run, from its record. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from dolt_watch.targets.local.runs import Run
from dolt_watch.targets.local.usage_limits import UsageLimits, reset_near
from dolt_watch.targets.start_failures import QUICK

LAST_LINES = 3
"""Number of last lines of output that a reason quotes."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a run.

    ``word`` is 'completed', 'failed', 'killed', 'timeout', 'stopped', 'lost', 'not started',
    'refused' or 'usage limit'. ``dead``: no process of the run is left.
    """

    word: str
    error: str
    dead: bool
    at: datetime
    lasted: timedelta = timedelta()
    resets_at: datetime | None = None
    """When the usage limit resets. None if the agent named no time."""

    @property
    def failed_quickly(self) -> bool:
        """Return whether the agent itself failed within seconds."""
        return self.word in ("failed", "killed") and self.lasted <= QUICK


def ending(run: Run, limits: UsageLimits, local: tzinfo) -> Ending:
    """Return the end of a run that no longer lives.

    ``local`` is the zone of a reset time without a zone.
    """
    end = run.end
    at = _moment(end.get("ended_at"))
    # Runs without an agent.
    if run.state == "abandoned":
        return Ending("not started", "its agent was never started", True, at)
    if run.state == "refused":
        return Ending("not started", str(end.get("refused", "")), True, at)
    if run.state == "lost":
        return Ending("lost", str(end.get("why", "")), True, at)
    # Runs with an agent: the cause that ended it wins over its exit code.
    lasted = timedelta(seconds=_number(end.get("seconds")))
    dead = not end.get("survivors")
    tail = str(end.get("tail", ""))
    last = last_lines(tail)
    code, number = end.get("exit"), end.get("signal")
    stopped = end.get("stopped")
    if isinstance(stopped, Mapping):
        text = " ".join(f"{stopped.get('by', '')}: {stopped.get('reason', '')}".split())
        return Ending("stopped", f"by {text}".rstrip(": "), dead, at, lasted)
    timed_out = bool(end.get("timed_out"))
    if line := limits.match_last(tail) if timed_out else limits.match(tail, code, lasted):
        resets_at = reset_near(tail, line, at.astimezone(local), local)
        return Ending("usage limit", line, dead, at, lasted, resets_at)
    if timed_out:
        limit = _span(run.record.get("run_timeout"))
        error = _quote(f"it exceeded run_timeout ({limit})", last)
        return Ending("timeout", error, dead, at, lasted)
    # A usage limit was checked first: it also has an exit code, but it isn't a failure of the bead.
    if code == 0:
        return Ending("completed", "", dead, at, lasted)
    if isinstance(code, int):
        return Ending("failed", _quote(f"exit code {code}", last), dead, at, lasted)
    return Ending("killed", _quote(f"killed by {_signal_name(number)}", last), dead, at, lasted)


def last_lines(tail: str) -> str:
    """Return the last non-empty lines of output, joined to one line of text."""
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return " / ".join(lines[-LAST_LINES:])


def _quote(what: str, output: str) -> str:
    return f"{what}: {output}" if output else what


def _signal_name(number: Any) -> str:
    try:
        return f"signal {int(number)} ({signal.Signals(int(number)).name})"
    except (TypeError, ValueError):
        return "a signal"


def _span(value: Any) -> str:
    seconds = _number(value)
    return f"{seconds / 60:g}m" if seconds >= 60 else f"{seconds:g}s"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _moment(value: Any) -> datetime:
    return datetime.fromtimestamp(_number(value), UTC)
