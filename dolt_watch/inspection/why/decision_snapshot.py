"""The inputs of a decision about one bead: now, as the loop sees it, or at an earlier moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from dolt_watch.beads.feed_query import FeedQuery
from dolt_watch.beads.leases import read_leases
from dolt_watch.beads.readiness import readiness_at
from dolt_watch.beads.schema import NOT_COMMITTED
from dolt_watch.controller.observer import read_uncommitted
from dolt_watch.controller.state_reader import StateReader
from dolt_watch.core.decisions.candidates import select_candidates
from dolt_watch.core.decisions.hold_reasons import Reasons, in_line, reasons
from dolt_watch.core.decisions.planner import make_plan
from dolt_watch.core.decisions.policy import BOTH, Candidates, Observations, Plan, Policy
from dolt_watch.core.model import Capacity, JobReport, LedgerEntry, State, Verdict
from dolt_watch.core.model.recorded_inputs import RecordedInputs
from dolt_watch.core.model.target_answers import Answer, Refused
from dolt_watch.engines import Engine
from dolt_watch.errors import DoltWatchError
from dolt_watch.replay.replayer import HistoryReplayer, SettingsVersion
from dolt_watch.targets.protocol import BeadTask, Target
from dolt_watch.timestamps import iso

UNSEEN = "Rows that were uncommitted then can't be seen."
NO_EVENTS = "No commit contains bd's events (dolt_ignore names them): WHO is the commit's author."
NEVER = "No decision was ever made here: the state follows from the row and the current rules."


@dataclass(frozen=True)
class DecisionSnapshot:
    """The loop's own state, clock, observations and plan."""

    commit: str
    now: datetime
    state: State
    policy: Policy
    outside: Observations
    plan: Plan
    feed_query: FeedQuery
    """The rules, compiled, and the columns of issues."""
    merging: bool = False
    notes: tuple[str, ...] = ()

    @cached_property
    def reasons(self) -> Reasons:
        """Why each waiting bead waits, as in ``status``, on the page and in the log."""
        return reasons(self.state, self.policy, self.plan)


@dataclass
class FaultTolerantTargets:
    """Targets by name. One that can't be opened has no free slot, and says why."""

    targets: Callable[[str], Target]

    def __call__(self, name: str) -> Target:
        try:
            return self.targets(name)
        except DoltWatchError as error:
            return SilentTarget(name, Capacity(0, error.message, down=True), error.message)

    def capacity(self, name: str) -> Capacity:
        return self(name).capacity()


@dataclass
class SilentTarget:
    """A target that can't be opened, or that is not asked."""

    name: str
    free: Capacity
    error: str = ""
    """The error of each job report."""
    timeout: float = 0.0

    def capacity(self) -> Capacity:
        return self.free

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        return Refused(self.free.why)

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        return JobReport(Verdict.UNKNOWN, error=self.error)

    def close(self) -> None: ...


def snapshot_now(reader: StateReader, bead: str) -> DecisionSnapshot:
    """Return the loop's state at HEAD, with gates, target and working set read now.

    Raises:
        NotMigrated: The database has no state of the loop.
    """
    seen = reader.survey(BOTH)
    tracker, observer = reader.parts.tracker, reader.parts.observer
    candidates = _limited(seen.candidates, bead)
    tables = tracker.table_states(seen.poll, seen.now, seen.feed_query.schema)
    uncommitted = read_uncommitted(reader.engine, seen.poll.head, tables, seen.feed_query)
    context = tracker.context(seen.poll, seen.state, seen.now, seen.feed_query)
    outside = observer.observe(
        context, candidates, tables, uncommitted, after_conflict=False
    ).answers
    state = seen.state.beads.get(bead)
    names = {rule.target for rule in seen.policy.rules if state is None or rule.name == state.rule}
    # The capacity is shown for a bead that does not wait, too.
    more = {
        name: observer.targets(name).capacity() for name in sorted(names - outside.capacity.keys())
    }
    holds = {**seen.outside.holds, **outside.holds}
    outside = outside._replace(capacity={**outside.capacity, **more}, holds=holds)
    if bead not in outside.leases:
        outside = outside._replace(
            leases=read_leases(reader.engine.query, seen.feed_query.schema, [bead])
        )
    notes = (NOT_COMMITTED,) * bool(uncommitted.migration) + tuple(
        f"{row.table} has an uncommitted change of this bead: {row.kind}"
        for row in uncommitted.rows
        if row.bead == bead
    )
    if not seen.feed_query.schema.events_in_history:
        notes = (*notes, NO_EVENTS)
    return DecisionSnapshot(
        commit=seen.poll.head,
        now=seen.now,
        state=seen.state,
        policy=seen.policy,
        outside=outside,
        plan=make_plan(seen.state, seen.policy, seen.now, BOTH, candidates, outside),
        feed_query=seen.feed_query,
        merging=seen.merging,
        notes=notes,
    )


def snapshot_at(
    engine: Engine,
    policy: Policy,
    until: str,
    now: datetime,
    bead: str,
    capacity: Callable[[str], Capacity] | None,
) -> DecisionSnapshot:
    """Return the state that history has at ``until``.

    Args:
        now: the time at which gates are checked.
        capacity: asks a target now; None: its capacity as last recorded.
    """
    replayer = HistoryReplayer(engine, policy, until)
    state, (policy, compiled), notes = _replayed(replayer)
    candidates = _limited(select_candidates(state, policy, now, BOTH), bead)
    queues = in_line(state, policy, candidates)
    ready = [one.id for rule in policy.rules if rule.ready for one in queues[rule.name]]
    holds = readiness_at(engine, ready, replayer.schema, now, until).holds if ready else {}
    names = dict.fromkeys(rule.target for rule in policy.rules)
    known = (
        {name: capacity(name) for name in names}
        if capacity is not None
        else _recorded(replayer.entries, names)
    )
    outside = Observations(known, holds)
    return DecisionSnapshot(
        commit=until,
        now=now,
        state=state,
        policy=policy,
        outside=outside,
        plan=make_plan(state, policy, now, BOTH, candidates, outside),
        feed_query=FeedQuery(compiled, list(replayer.columns)),
        notes=notes if engine.columns("events", until) else (*notes, NO_EVENTS),
    )


def _replayed(replayer: HistoryReplayer) -> tuple[State, SettingsVersion, tuple[str, ...]]:
    """Replay from the last rebuild. Before the first decision, derive the state from the rows."""
    since = replayer.last_rebuild_before(replayer.until)
    if since is not None:
        state, under, _ = replayer.replay_from(since)
        return state, under, ()
    state = replayer.projection_at(replayer.until, replayer.current).state()
    return state, replayer.current, () if replayer.entries else (NEVER,)


def _recorded(entries: Iterable[LedgerEntry], names: Iterable[str]) -> dict[str, Capacity]:
    """Return each target's last capacity that a decision recorded."""
    found: dict[str, Capacity] = {}
    for entry in entries:
        for name, one in RecordedInputs.decode(entry.detail).capacity.items():
            found[name] = one._replace(why=f"{one.why or 'asked'} (as recorded {iso(entry.at)})")
    return {name: found.get(name, Capacity(None, "never recorded")) for name in names}


def _limited(candidates: Candidates, bead: str) -> Candidates:
    """Limit job reports to one bead: each is a request."""
    return candidates._replace(
        stale=tuple(one for one in candidates.stale if one.id == bead),
        unknown=tuple(one for one in candidates.unknown if one.id == bead),
    )
