"""Worker liveness: whether a worker is alive, and whether work is overdue.

``status``, ``doctor``, and the page use this module.

A `run` holds a database lock, which is visible even if the worker is idle and writes nothing.
Commands of a CronJob hold no lock. Their liveness follows from their last save, and from work that
stays due for longer than twice their interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from dolt_watch.controller.context import StateSurvey
from dolt_watch.core.decisions.policy import IMMEDIATELY, Plan, stale_at
from dolt_watch.core.model import Decision, EntryKind
from dolt_watch.engines import Engine
from dolt_watch.timestamps import format_span, iso, to_utc

DISPATCH_PERIOD = timedelta(minutes=2)
REAP_PERIOD = timedelta(minutes=10)
"""Intervals of the CronJobs in ``cronjobs/``. The interval of a `run` is ``poll``."""
STUCK = timedelta(minutes=5)
"""Maximum time between two queries of a leader. A request takes at most two minutes."""


class Liveness(NamedTuple):
    """The state of the workers of one database."""

    now: datetime
    leads: bool
    """Whether a `run` holds the lock."""
    host: str
    """Host of the leader, or else of the last worker that saved the state. '' if unknown."""
    quiet: timedelta | None
    """Time since the leader's last query. None if the engine can't tell."""
    saved_at: datetime | None
    """When the state was last saved. A tick without changes saves nothing."""
    due: int
    """Number of decisions that a tick would make now."""
    due_since: datetime | None
    """Start of the oldest due work. None if no work is due, or if the time is not known."""
    late: bool
    """Whether work is due for longer than twice the worker's interval, or the leader is stuck."""
    overdue: tuple[str, ...] = ()
    """Running beads that are silent for longer than ``stale_after`` and one reaper interval."""

    @property
    def words(self) -> str:
        """Return the state in one line."""
        host = f" on {self.host}" if self.host else ""
        if self.leads:
            if self.quiet is None:
                return f"leading{host}"
            if self.late:
                return f"leading{host}, but silent for {format_span(self.quiet)}"
            return f"leading{host}, last tick {format_span(self.quiet)} ago"
        last = format_span(self.now - self.saved_at) if self.saved_at is not None else ""
        if self.due_since is not None:
            away = f"no worker for {last}" if last else "no worker has run yet"
            return f"{away} although work is due since {iso(self.due_since)}"
        text = f"no leader; last change saved {last} ago{host}" if last else "no worker has run yet"
        return f"{text}; {'work is due' if self.due else 'nothing is due'}"

    def facts(self) -> dict[str, Any]:
        """Return the JSON form; ``quiet`` is in seconds."""
        facts = self._asdict()
        del facts["now"]
        quiet = self.quiet.total_seconds() if self.quiet is not None else None
        return facts | {"host": self.host or None, "quiet": quiet}


def liveness(engine: Engine, seen: StateSurvey, plan: Plan, poll: timedelta) -> Liveness:
    """Return the state of the workers.

    Args:
        plan: The dispatcher's plan, with the capacity of the targets.
        poll: The interval of a `run`.
    """
    saved: Mapping[str, Any] = seen.poll.shared.get("worker") or {}
    leader, now = engine.leader(), seen.now
    saved_at = to_utc(saved.get("at"))
    runs = saved.get("by") == "run"
    dispatch = _dispatch_since(seen, plan)
    reap = _reap_since(seen)
    # A leader without progress is late. Without a leader, overdue work decides.
    if leader is not None:
        late = leader.quiet is not None and leader.quiet > max(STUCK, 10 * poll)
    else:
        both = (dispatch, poll if runs else DISPATCH_PERIOD), (reap, poll if runs else REAP_PERIOD)
        late = any(since is not None and now - since > 2 * period for since, period in both)
    # The oldest due work defines the begin.
    moments = [since for since in (dispatch, reap) if since is not None]
    rules = {rule.name: rule for rule in seen.policy.rules}
    overdue = [
        bead.id
        for bead in seen.candidates.stale
        if stale_at(bead, rules[bead.rule]) + REAP_PERIOD <= now
    ]
    return Liveness(
        now=now,
        leads=leader is not None,
        host=(leader.host if leader is not None else "") or str(saved.get("host", "")),
        quiet=leader.quiet if leader is not None else None,
        saved_at=saved_at,
        due=len(_due(plan)) + (reap is not None),
        due_since=min(moments, default=None),
        late=late,
        overdue=tuple(sorted(overdue)),
    )


def _due(plan: Plan) -> list[Decision]:
    """Return the decisions that a tick makes, without outages. An outage is not due work."""
    return [one for one in plan.decisions if one.kind is not EntryKind.OUTAGE]


def _dispatch_since(seen: StateSurvey, plan: Plan) -> datetime | None:
    """Return the start of the dispatcher's due work, or None if it is not known.

    A tick ends when no work is left. Due work therefore began after the last save, with a commit or
    at a known time. The time is not known if a target or the working set made the work possible.
    """
    decisions = _due(plan)
    if not decisions:
        return None
    last_poll, settle = seen.poll, seen.policy.settle
    beads = [seen.state.beads[one.bead] for one in decisions if one.bead in seen.state.beads]
    claims = all(one.kind is EntryKind.CLAIM for one in decisions)
    ready = [
        max((bead.matched_at or bead.since) + settle, bead.retry_at or bead.since) for bead in beads
    ]
    earliest = min(ready) if claims else IMMEDIATELY
    if not last_poll.commit:
        return earliest if claims else None
    at = last_poll.due.get("dispatch")
    moments = [at] if at is not None and IMMEDIATELY < at <= seen.now else []
    moments += [seen.now - seen.lag] if last_poll.head != last_poll.commit else []
    return max(min(moments), earliest) if moments else None


def _reap_since(seen: StateSurvey) -> datetime | None:
    """Return the start of the reaper's due work, or None if no bead is silent.

    A spared bead becomes due later.
    """
    at = seen.poll.due.get("reap")
    due = at is not None and IMMEDIATELY < at <= seen.now
    return at if due and seen.candidates.stale else None
