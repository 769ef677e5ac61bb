"""The verdict on a run, from its record. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any

from dolt_watch.core.model import JobReport, Verdict
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.local.runs import Run
from dolt_watch.targets.local.usage_limits import UsageLimits, reset_near
from dolt_watch.targets.start_failures import QUICK

LAST_LINES = 3
"""Number of last lines of output that a reason quotes."""


def report_end(run: Run, limits: UsageLimits, local: tzinfo) -> JobReport:
    """Return the report of a run that no longer lives.

    Its word is 'completed', 'failed', 'killed', 'timeout', 'stopped', 'lost', 'not started' or
    'usage limit'. ``local`` is the zone of a reset time without a zone.
    """
    end = run.end
    # Runs without an agent.
    if run.state in ("abandoned", "refused"):
        why = sanitize(str(end.get("refused", "its agent was never started")))
        return JobReport(Verdict.LOST, "not started", why, dead=True, started=False)
    if run.state == "lost":
        return JobReport(Verdict.LOST, "lost", sanitize(str(end.get("why", ""))), dead=True)
    # Runs with an agent: the cause that ended it wins over its exit code.
    lasted = timedelta(seconds=number(end.get("seconds")))
    tail = str(end.get("tail", ""))
    code, stopped, timed_out = end.get("exit"), end.get("stopped"), bool(end.get("timed_out"))
    resets_at = None
    if isinstance(stopped, Mapping):
        text = " ".join(f"{stopped.get('by', '')}: {stopped.get('reason', '')}".split())
        word, error = "stopped", f"by {text}".rstrip(": ")
    elif line := limits.match_last(tail) if timed_out else limits.match(tail, code, lasted):
        word, error = "usage limit", line
        ended_at = datetime.fromtimestamp(number(end.get("ended_at")), local)
        resets_at = reset_near(tail, line, ended_at, local)
    elif timed_out:
        limit = _span(run.record.get("run_timeout"))
        word, error = "timeout", _quote(f"it exceeded run_timeout ({limit})", tail)
    # A usage limit was checked first: it also has an exit code, but it isn't a failure of the bead.
    elif code == 0:
        word, error = "completed", ""
    elif isinstance(code, int):
        word, error = "failed", _quote(f"exit code {code}", tail)
    else:
        word, error = "killed", _quote(f"killed by {_signal_name(end.get('signal'))}", tail)
    return JobReport(
        Verdict.FINISHED,
        word,
        sanitize(error),
        dead=not end.get("survivors"),
        limited=word == "usage limit",
        resets_at=resets_at,
        # The agent itself failed within seconds.
        failed_at_start=word in ("failed", "killed") and lasted <= QUICK,
    )


def _quote(what: str, tail: str) -> str:
    """Return a reason with the last non-empty lines of output, joined to one line of text."""
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return f"{what}: {' / '.join(lines[-LAST_LINES:])}" if lines else what


def _signal_name(number: Any) -> str:
    try:
        return f"signal {int(number)} ({signal.Signals(int(number)).name})"
    except (TypeError, ValueError):
        return "a signal"


def _span(value: Any) -> str:
    seconds = number(value)
    return f"{seconds / 60:g}m" if seconds >= 60 else f"{seconds:g}s"


def number(value: Any) -> float:
    """Return a number of a record. 0 if it is missing."""
    return float(value) if isinstance(value, int | float) else 0.0
