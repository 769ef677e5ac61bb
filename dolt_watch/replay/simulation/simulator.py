"""The simulation of ticks over a recorded timeline.

The planner and the projection are those of the loop. The simulator replaces the clock, the ledger,
and the target.

A tick is skipped if the interval since the previous tick contains no event and no due time of
``Candidates.due``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from itertools import count
from typing import NamedTuple

from dolt_watch.core.decisions.candidates import select_candidates
from dolt_watch.core.decisions.circuit_breaker import postpone_tries
from dolt_watch.core.decisions.planner import make_plan, settle_wait
from dolt_watch.core.decisions.policy import (
    ATTEMPTED,
    BOTH,
    Candidates,
    Observations,
    Plan,
    Policy,
    sets_status,
)
from dolt_watch.core.decisions.settlement import health_of
from dolt_watch.core.model import (
    GLOBAL,
    Bead,
    Capacity,
    Decision,
    EntryEffects,
    EntryKind,
    Event,
    EventKind,
    HoldReason,
    JobReport,
    LedgerEntry,
    Phase,
    RuleMatch,
    State,
    entry_payloads,
)
from dolt_watch.core.model.observations import Health
from dolt_watch.core.projection.projection import Projection
from dolt_watch.replay.past_readiness import HistoricalReadiness
from dolt_watch.replay.simulation.attempt_log import AttemptLog
from dolt_watch.replay.simulation.queue_depth import QueueDepthRecorder
from dolt_watch.replay.simulation.recorded_history import RecordedHistory
from dolt_watch.replay.simulation.recorded_timeline import AgentRun, ExternalAction, in_flight
from dolt_watch.replay.simulation.row_views import RowView
from dolt_watch.replay.simulation.run_allocation import RunAllocator, report_of_run, span
from dolt_watch.replay.simulation.schedule import TickSchedule

NONE = timedelta()


class SimulatedRow(NamedTuple):
    """A bead's row in the simulation: a recorded row with a simulated status."""

    view: RowView
    status: str
    touched: datetime | None = None
    """Time of the last write; None if it is the recorded time."""
    place: int = 0
    """Position of its last recorded change."""


class Simulator:
    """Simulates ticks over a recorded timeline."""

    def __init__(
        self,
        policy: Policy,
        history: RecordedHistory,
        ready: HistoricalReadiness,
        schedule: TickSchedule,
        run_time: timedelta | None,
        depths: QueueDepthRecorder,
    ) -> None:
        """Begin at the start of the history, and schedule the runs that are in progress.

        Args:
            run_time: Assumed duration of runs that were not recorded; None if it is not known.
        """
        script, state = history.script, history.initial.state()
        rows = history.views.at(history.begins.hash, state.beads)
        self.policy, self.views, self.ready = policy, history.views, ready
        self.schedule = schedule
        self.runs = RunAllocator(script.runs, run_time)
        self.projection = Projection(state)
        self.journal = AttemptLog(in_flight(state.beads))
        self.depths = depths
        self.ticks = 0
        self.plan = Plan()
        """The plan of the last tick."""
        self._rows = {bead: SimulatedRow(view, view.status) for bead, view in rows.items()}
        self._active_runs: dict[str, AgentRun] = {}
        self._answers: set[str] = set()
        """Targets whose recorded outage ended."""
        self._people = iter(script.people)
        self._next = next(self._people, None)
        """The next recorded action of a user; None after the last."""
        self._order = count()
        self._planned: list[tuple[datetime, int, str, ExternalAction | Decision]] = []
        """Heap of scheduled results of runs: time, order, token of the claim, action or report."""
        for run in script.under_way:
            self._active_runs[run.bead] = run
            self._resume_run(run)

    # -- time --------------------

    def run(
        self,
        begins: datetime,
        ends: datetime,
        attempted: Collection[str] | None = None,
        report_progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
    ) -> None:
        """Run all ticks.

        Args:
            attempted: If the history begins during a tick, the beads that this tick already
                attempted. None: the history begins between ticks.
            report_progress: Progress callback. Its arguments are the phase, the simulated seconds,
                and the seconds of the history.
        """
        at = begins if attempted is not None else self.schedule.at_or_after(begins)
        total = int((ends - begins).total_seconds())
        while at <= ends:
            report_progress("simulating", int((at - begins).total_seconds()), total)
            self._advance(at)
            now, wakes = self._tick(at, attempted or ())
            attempted = None
            moments = [moment for moment in (wakes, self._coming()) if moment is not None]
            if not moments:
                break
            at = self.schedule.at_or_after(max(self.schedule.after(at), now, min(moments)))
        self._advance(ends)

    def _coming(self) -> datetime | None:
        moments = [self._next.at] if self._next is not None else []
        return min((*moments, *(planned[0] for planned in self._planned[:1])), default=None)

    def _advance(self, until: datetime) -> None:
        """Apply all actions up to and including a time. Actions of users come first."""
        while (at := self._coming()) is not None and at <= until:
            if (act := self._next) is not None and act.at == at:
                self._next = next(self._people, None)
                self._others(act, at)
                continue
            _, _, token, what = heapq.heappop(self._planned)
            if isinstance(what, Decision):
                self._write(what, at)
            elif self._playing_by(what.event.bead) == token:
                self._others(what, at)

    # -- a tick --------------------

    def _tick(self, now: datetime, attempted: Collection[str]) -> tuple[datetime, datetime | None]:
        """Run a tick like ``ControlLoop.tick``. Return its end, and the next due time or None."""
        self.ticks += 1
        patient, skip = True, set(attempted)
        while True:
            state = self.projection.state()
            candidates = self._asked(now, skip)
            outside = self._outside(candidates, now)
            plan = self.plan = make_plan(state, self.policy, now, BOTH, candidates, outside)
            if plan.decisions:
                skip.add(plan.decisions[0].bead)
                now = self._handle(plan.decisions[0], now)
            elif patient and (wait := settle_wait(candidates, self.policy, now)):
                patient = False
                now += timedelta(seconds=wait)
            else:
                self._postpone(candidates, now)
                return now, self._wakes(self.projection.state(), self._asked(now, skip), plan, now)
            self._advance(now)

    def _asked(self, now: datetime, skip: Collection[str]) -> Candidates:
        return select_candidates(self.projection.state(), self.policy, now, BOTH, skip)

    def _postpone(self, candidates: Candidates, now: datetime) -> None:
        """Postpone the next try of each target with an outage, as the loop does.

        History contains no failed tries.
        """
        outages = self.projection.targets.outages
        tried = Observations({target: Capacity(None) for target in outages})
        moved = postpone_tries(self.projection.state(), self.policy, now, candidates, tried)
        if moved is not None:
            outages.update(moved.outages)

    def _wakes(
        self, state: State, candidates: Candidates, plan: Plan, now: datetime
    ) -> datetime | None:
        gates = plan.gates
        if gates & {ATTEMPTED, "verdict"}:
            return now  # Run the next tick.
        held = [bead.id for queue in candidates.queues.values() for bead in queue]
        due = candidates.due
        # Held beads are due now, which hides later due times. Read those without the held beads.
        if held or "stopped" in gates:
            beads = {id: bead for id, bead in state.beads.items() if id not in held}
            rest, settings = state._replace(beads=beads), self.policy.settings_hash
            halted = {name for name, by in state.halted_rules.items() if by == settings}
            rules = [rule for rule in self.policy.rules if rule.name not in halted]
            others = select_candidates(rest, self.policy._replace(rules=rules), now, BOTH).due
            due = {"dispatch": others["dispatch"], "reap": candidates.due["reap"]}
        moments = [*due.values(), self.ready.next_change_at(held, now) if held else None]
        moments += [failed[0] for bead in candidates.jobs if (failed := self._failed(bead))]
        return min((at for at in moments if at is not None and at > now), default=None)

    def _outside(self, candidates: Candidates, now: datetime) -> Observations:
        """Return the recorded observations.

        Readiness follows history, capacity is limited by ``max_in_flight``, and verdicts are those
        that decisions recorded.
        """
        holds: dict[str, HoldReason] = {}
        capacity: dict[str, Capacity] = {}
        verdicts: dict[str, JobReport] = {}
        # Readiness follows from history alone.
        for rule in self.policy.rules:
            queue = candidates.queues.get(rule.name, ())
            if rule.ready and queue:
                holds |= self.ready.holds([bead.id for bead in queue], now)
        # An idle target proves that an attempt doesn't run, as it did when it was recorded.
        for bead in candidates.unknown:
            rule_ = self.policy.rule(bead.rule)
            run = self._active_runs.get(bead.id)
            away = rule_ is not None and rule_.target in self.projection.targets.outages
            if rule_ is not None and not away and run is not None and run.idle:
                capacity[rule_.target] = Capacity(None, idle=True)
        for target in self.projection.targets.outages:
            if target not in capacity and self._tries(target, candidates):
                capacity[target] = Capacity(None)
        # Verdicts are those that decisions recorded: a simulation can't ask a target.
        for bead in candidates.stale:
            run = self._active_runs.get(bead.id) if bead.token else None
            report = run.verdict(now - (bead.sent_at or now)) if run is not None else None
            if report is not None:
                verdicts[bead.id] = report
        for bead in candidates.jobs:
            failed = self._failed(bead)
            if failed is not None and failed[0] <= now:
                verdicts[bead.id] = failed[1]
        return Observations(capacity, holds, verdicts)

    def _tries(self, target: str, candidates: Candidates) -> bool:
        """Return whether a candidate's recorded dispatch tried the target."""
        rules = [rule.name for rule in self.policy.rules if rule.target == target]
        queued = [bead for name in rules for bead in candidates.queues.get(name, ())]
        unknown = [bead for bead in candidates.unknown if bead.rule in rules]
        return target in self._answers or any(
            self.runs.tries(bead.id) for bead in (*unknown, *queued)
        )

    def _failed(self, bead: Bead) -> tuple[datetime, JobReport] | None:
        """Return the time and report of the bead's recorded job failure, or None."""
        run = self._active_runs.get(bead.id)
        if run is None or bead.sent_at is None:
            return None
        return next(
            ((bead.sent_at + after, report) for after, report in run.verdicts if report.failed),
            None,
        )

    # -- the target --------------------

    def _handle(self, decision: Decision, now: datetime) -> datetime:
        """Write a decision, and for a claim also its outcome. Return the time of the last write."""
        if decision.kind is not EntryKind.CLAIM:
            self._write(decision, now)
            return now
        before = self.projection.beads[decision.bead]
        was = self._rows[decision.bead].status
        rule = self.policy.rule(decision.rule)
        assert rule is not None
        run = self.runs.next(decision.bead) or self.runs.synthesize_run(
            decision.bead, rule, self._rows[decision.bead].view, now
        )
        run.token = token = f"{decision.bead}#{next(self._order)}"
        claimed = entry_payloads.Claimed(deadline=now + span(run))
        claim = decision._replace(token=token, detail={**decision.detail, **claimed.encode()})
        self._active_runs[decision.bead] = run
        self._write(claim, now, assumed=run.assumed)
        attempt = before._replace(attempt=decision.attempt, token=token, sent_at=now)
        self._play(run, now - run.begun, now)
        health = health_of(self.projection.state(), rule.target, decision.bead, now)
        report = report_of_run(run, attempt, rule, was, now, health)
        if report is None:
            return now
        at = now + max(NONE, run.answer.at - run.begun) if run.answer is not None else now
        self._advance(at)
        self._write(report, at, assumed=run.assumed)
        return at

    def _play(self, run: AgentRun, shift: timedelta, now: datetime) -> None:
        """Schedule the actions of a run, shifted like its claim."""
        for act in run.acts:
            self._schedule(max(now, act.at + shift), run.token, act)

    def _resume_run(self, run: AgentRun) -> None:
        """Schedule a run that was in progress at the start, at its recorded times."""
        self._play(run, NONE, run.begun)
        bead = self.projection.beads[run.bead]
        rule = self.policy.rule(bead.rule)
        if bead.phase is Phase.CLAIMED and run.answer is not None and rule is not None:
            report = report_of_run(run, bead, rule, "", run.begun, Health())
            if report is not None:
                self._schedule(run.answer.at, run.token, report)

    # -- the ledger --------------------

    def _write(self, decision: Decision, at: datetime, assumed: bool = False) -> None:
        """Apply a decision or report as an entry that returns through the feed."""
        # An outage begins or ends. Recorded entries already use the versions of this stream.
        if decision.bead == GLOBAL:
            entry = _entry(decision, self.projection.version, self.policy.settings_hash, at)
            self.projection.apply_global(entry, at)
            return
        row, bead = self._rows.get(decision.bead), self.projection.beads.get(decision.bead)
        facts = None
        if row is not None and (decision.status or decision.note):
            status = decision.status if sets_status(decision, row.status) else row.status
            row = self._rows[decision.bead] = row._replace(status=status, touched=at)
            facts = self._facts(decision.bead, row)
        entry = _entry(
            decision, bead.version + 1 if bead is not None else 1, self.policy.settings_hash, at
        )
        cause = row.view.commit if row is not None else ""
        self._fold(
            Event(EventKind.LEDGER, decision.bead, cause, at, facts=facts, entry=entry),
            assumed=assumed,
        )

    # -- other writers --------------------

    def _others(self, act: ExternalAction, at: datetime) -> None:
        event = act.event
        if event.bead == GLOBAL:
            if not self._dispatches_tell(event):
                self.projection.apply([event])
            self.depths.reset(at, self.projection.beads)
            return
        if event.what is EventKind.RENAMED:
            self._renamed(event, act, at)
            return
        shift = at - act.at
        facts: RuleMatch | None = None
        status = ""
        if act.is_deletion:
            self._rows.pop(event.bead, None)
            facts = RuleMatch()
        elif act.view is not None:
            row = self._rows[event.bead] = self._changed(act, act.view, at)
            facts, status = self._facts(event.bead, row), row.status
        sign = event.sign._replace(at=event.sign.at + shift) if event.sign is not None else None
        before, after = self._fold(event._replace(facts=facts, at=at, sign=sign), status)
        waits = after is not None and after.phase is Phase.WAITING
        if waits and (before is None or before.phase is not Phase.WAITING):
            self.runs.entered[event.bead] = act.place

    def _dispatches_tell(self, event: Event) -> bool:
        """Return whether the event is an outage change that followed from a dispatch.

        The simulation derives such a change from the run of that dispatch.
        """
        entry = event.entry
        if entry is None or entry.kind not in (EntryKind.OUTAGE, EntryKind.RECOVERED):
            return False
        outage = entry_payloads.OutageChange.decode(entry.detail)
        target = outage.target
        if entry.kind is EntryKind.RECOVERED:
            self._answers.add(target)
            return outage.by == "dispatch"
        self._answers.discard(target)
        return outage.part != "capacity"

    def _renamed(self, event: Event, act: ExternalAction, at: datetime) -> None:
        """Rename a bead. Its simulated status and its run are kept."""
        assert act.view is not None
        row = self._rows.pop(event.other, None) or SimulatedRow(act.view, act.view.status)
        self._rows[event.bead] = row._replace(view=act.view, place=act.place)
        run = self._active_runs.pop(event.other, None)
        if run is not None:
            self._active_runs[event.bead] = run
        self.projection.apply([event])
        self.journal.renamed(event.other, event.bead)
        for bead in (event.other, event.bead):
            self.depths.record(at, bead, self.projection.beads.get(bead))

    def _changed(self, act: ExternalAction, view: RowView, at: datetime) -> SimulatedRow:
        """Return the row after an action.

        A run that writes earlier than recorded must not apply later changes of users.
        """
        row, touched = self._rows.get(act.event.bead), None if at == act.at else at
        if row is None:
            return SimulatedRow(view, view.status, touched, act.place)
        status = act.status or row.status
        if act.changes_content or (at >= act.at and act.place > row.place):
            return SimulatedRow(view, status, touched, act.place)
        return row._replace(status=status, touched=at)

    def _facts(self, bead: str, row: SimulatedRow) -> RuleMatch:
        return self.views.facts(bead, row.view, row.status, row.touched)

    def _fold(
        self, event: Event, status: str = "", assumed: bool = False
    ) -> tuple[Bead | None, Bead | None]:
        before = self.projection.beads.get(event.bead)
        self.projection.apply([event])
        after = self.projection.beads.get(event.bead)
        self.journal.apply(event, before, after, status, assumed)
        self.depths.record(
            event.entry.at if event.entry is not None else event.at, event.bead, after
        )
        return before, after

    def _playing_by(self, bead: str) -> str:
        run = self._active_runs.get(bead)
        return run.token if run is not None else ""

    def _schedule(self, at: datetime, token: str, what: ExternalAction | Decision) -> None:
        heapq.heappush(self._planned, (at, next(self._order), token, what))


def _entry(decision: Decision, version: int, settings_hash: str, at: datetime) -> LedgerEntry:
    return LedgerEntry(
        bead=decision.bead,
        version=version,
        kind=decision.kind,
        attempt=decision.attempt,
        rule=decision.rule,
        token=decision.token,
        cause=decision.cause,
        observed="",
        at=at,
        job=decision.job,
        reason=decision.reason,
        bead_hash="",
        settings_hash=settings_hash,
        actor="",
        detail=decision.detail,
        wrote=EntryEffects(),
        reason_code=decision.reason_code,
    )
