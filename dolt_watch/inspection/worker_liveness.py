"""Is a worker alive, and has work been due for too long?

``status``, ``doctor`` and the page ask here.

A `run` holds a lock of the database, so an idle one needs to write nothing to be seen. Commands
of a CronJob hold none: their last save tells of them, and work that stays due for longer than
twice their period.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from dolt_watch.controller.context import StateSurvey
from dolt_watch.core.decisions.policy import IMMEDIATELY, Plan
from dolt_watch.core.decisions.reap_policy import stale_at
from dolt_watch.core.model import Decision, EntryKind
from dolt_watch.engines import Engine
from dolt_watch.timestamps import format_span, iso, to_utc

DISPATCH_PERIOD = timedelta(minutes=2)
REAP_PERIOD = timedelta(minutes=10)
"""Of the CronJobs in ``cronjobs/``. A `run` looks at each ``poll``."""
STUCK = timedelta(minutes=5)
"""A leader that asks the database nothing for so long hangs: a request takes a minute or two at
most.
"""


class Liveness(NamedTuple):
    """What is known of the workers of one database."""

    now: datetime
    leads: bool
    """A `run` holds the lock."""
    host: str
    """Of the last worker that saved anything, which the leader does first; '' where none did."""
    quiet: timedelta | None
    """Since the leader's last query; None where the engine cannot tell."""
    saved_at: datetime | None
    """When the state was last saved; a tick that finds nothing saves nothing."""
    due: int
    """Decisions that a tick would take now."""
    due_since: datetime | None
    """None: nothing is due, or since when is not known."""
    late: bool
    """Work has been due for longer than twice the worker's period, or the leader hangs."""
    overdue: tuple[str, ...] = ()
    """Beads that run and have been silent for longer than ``stale_after`` and one reaper's
    period.
    """

    @property
    def words(self) -> str:
        """In one line."""
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
            return f"{away} although work is due since {_clock(self.due_since, self.now)}"
        said = (
            f"none leads; the last change was saved {last} ago{host}"
            if last
            else "none has run yet"
        )
        return f"{said}; {'work is due' if self.due else 'nothing is due'}"

    def facts(self) -> dict[str, Any]:
        """As JSON has it: ``quiet`` in seconds."""
        quiet = self.quiet.total_seconds() if self.quiet is not None else None
        return {
            "leads": self.leads,
            "host": self.host or None,
            "quiet": quiet,
            "saved_at": self.saved_at,
            "due": self.due,
            "due_since": self.due_since,
            "late": self.late,
            "overdue": list(self.overdue),
        }


def liveness(engine: Engine, seen: StateSurvey, plan: Plan, poll: timedelta) -> Liveness:
    """``plan``: the dispatcher's, given what the targets say; ``poll``: of a `run`."""
    saved: Mapping[str, Any] = seen.look.shared.get("worker") or {}
    leader, now = engine.leader(), seen.now
    saved_at = to_utc(saved.get("at"))
    runs = saved.get("by") == "run"
    dispatch = _dispatch_since(seen, plan)
    reap = _reap_since(seen)
    if leader is not None:
        late = leader.quiet is not None and leader.quiet > max(STUCK, 10 * poll)
    else:
        periods = (poll, poll) if runs else (DISPATCH_PERIOD, REAP_PERIOD)
        both = zip((dispatch, reap), periods, strict=True)
        late = any(since is not None and now - since > 2 * period for since, period in both)
    moments = [since for since in (dispatch, reap) if since is not None]
    rules = {rule.name: rule for rule in seen.policy.rules}
    overdue = [
        bead.id
        for bead in seen.asked.stale
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
    """The decisions that a tick would take, without outages: that a target is away is no work
    left undone.
    """
    return [one for one in plan.decisions if one.kind is not EntryKind.OUTAGE]


def _dispatch_since(seen: StateSurvey, plan: Plan) -> datetime | None:
    """Since when the dispatcher has had something to do.

    A tick ends only when nothing is left to do, so what is due came after the last save: by a
    commit, or by time alone. What only the target or the working set allowed since is dated by
    nothing.
    """
    decisions = _due(plan)
    if not decisions:
        return None
    look, settle = seen.look, seen.policy.settle
    beads = [seen.state.beads[one.bead] for one in decisions if one.bead in seen.state.beads]
    claims = all(one.kind is EntryKind.CLAIM for one in decisions)
    ready = [
        max((bead.matched_at or bead.since) + settle, bead.retry_at or bead.since) for bead in beads
    ]
    earliest = min(ready) if claims else IMMEDIATELY
    if not look.commit:
        return earliest if claims else None
    at = look.due.get("dispatch")
    moments = [at] if at is not None and IMMEDIATELY < at <= seen.now else []
    moments += [seen.now - seen.lag] if look.head != look.commit else []
    return max(min(moments), earliest) if moments else None


def _reap_since(seen: StateSurvey) -> datetime | None:
    """Since when a running bead has been silent for too long, unlooked at: a bead that is spared
    is due later.
    """
    at = seen.look.due.get("reap")
    due = at is not None and IMMEDIATELY < at <= seen.now
    return at if due and seen.asked.stale else None


def _clock(at: datetime, now: datetime) -> str:
    """'19:10' within a day, else the whole moment. UTC."""
    return f"{at:%H:%M}" if now - at < timedelta(days=1) else iso(at)
