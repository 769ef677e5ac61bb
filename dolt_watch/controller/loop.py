"""The control loop: poll, read changes, derive events, apply, select candidates, observe, plan,
execute, record.

All commands use the same loop. They differ in the decision kinds that they allow, the clock, and
the executor. An iteration carries out one decision, whose commit comes back with the next poll.
When no decision is left, cursor and state are saved in one transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from dolt_watch.beads.schema import NOT_COMMITTED
from dolt_watch.checkpoint.poll import PollResult, TableState, is_idle, log_idle
from dolt_watch.controller.conflict_policy import ConflictPolicy, Reaction
from dolt_watch.controller.executor import Executor
from dolt_watch.controller.messages import log_entry, log_holds
from dolt_watch.controller.observer import Uncommitted, read_uncommitted
from dolt_watch.controller.parts import LoopParts
from dolt_watch.controller.reap_table import ReapCandidate, reap_table
from dolt_watch.controller.tick_result import Conflicted, Iteration, Next, TickResult, Wait
from dolt_watch.core.decisions.candidates import select_candidates, with_queue_order
from dolt_watch.core.decisions.circuit_breaker import OUTAGE, postpone_tries
from dolt_watch.core.decisions.planner import make_plan, settle_wait
from dolt_watch.core.decisions.policy import Candidates, Observations, Plan, Policy, Scope
from dolt_watch.core.model import EntryKind, HoldReason, RowChange, State
from dolt_watch.engines import Engine
from dolt_watch.errors import (
    Conflict,
    MergeInProgress,
    MigrationInProgress,
    NothingToCommit,
    SchemaChanged,
)
from dolt_watch.ledger.decision_context import DecisionContext
from dolt_watch.log_events import LogEvent, log_condition

logger = logging.getLogger(__name__)


class Progress(NamedTuple):
    """The result of a tick's earlier iterations, as input of the next iteration."""

    scope: Scope
    may_wait: bool
    """Whether the tick can wait for a bead to settle. A tick waits only once."""
    first: bool = True
    after_conflict: bool = False
    attempted: frozenset[str] = frozenset()
    """Beads that this tick has already attempted. A tick attempts a bead once."""
    stuck: Collection[str] = ()
    """Beads about which no entry can be written."""


class Proposal(NamedTuple):
    """A plan and its inputs."""

    context: DecisionContext
    policy: Policy
    candidates: Candidates
    observations: Observations
    plan: Plan
    target_down: bool


@dataclass(eq=False, repr=False)
class ControlLoop:
    """Runs ticks on one connection."""

    parts: LoopParts
    state: State = field(default_factory=State)
    """The state after the last iteration that read changes."""
    now: datetime | None = None
    """The time of the last poll."""
    _due: Mapping[str, datetime | None] = field(default_factory=dict)
    _database_checked: bool = False

    @property
    def engine(self) -> Engine:
        return self.parts.engine

    @property
    def executor(self) -> Executor:
        return self.parts.executor

    def tick(
        self,
        scope: Scope,
        first: PollResult | None = None,
        stop: Callable[[], bool] = lambda: False,
        thorough: bool = False,
    ) -> TickResult:
        """Run the loop until the plan contains no decision.

        Args:
            scope: The decision kinds that are allowed.
            first: The result of a poll that the caller made.
            stop: Checked before each iteration.
            thorough: Iterate even if nothing is due.
        """
        parts, result = self.parts, TickResult()
        conflicts = ConflictPolicy(parts.poller)
        progress = Progress(scope, parts.config.wait_for_settle)
        policy, adopt, kinds = parts.policy, parts.config.adopt, scope.kinds
        waited = False
        try:
            while not stop():
                poll, first = first or parts.poller.poll(), None
                parts.turns.on_poll(poll.fence)
                self.now = now = parts.clock.now(poll.now)
                self._due = poll.due
                # An idle tick ends after its one query.
                if (
                    not thorough
                    and not parts.store.has_unsaved(poll)
                    and is_idle(poll, now, policy.settings_hash, kinds, policy.settle, adopt)
                ):
                    if progress.first:
                        result.down |= log_idle(poll, kinds)
                    return result
                # A worker that competes with others polls again in its turn, or after its wait.
                if progress.first and not waited and parts.turns.are_taken:
                    waited = True
                    parts.turns.begin()
                    continue
                thorough, begun = False, time.monotonic()
                iteration = self._run_iteration(poll, now, progress)
                result.add(iteration)
                # Only the result of the iteration decides how the tick continues.
                match iteration.next:
                    case Conflicted() as conflicted:
                        reaction = conflicts.on_conflict(conflicted, poll, result.rounds)
                        if reaction is Reaction.GIVE_UP:
                            return result
                        # The next try waits for this worker's turn, or at random if the server has
                        # no turns.
                        parts.turns.end()
                        parts.turns.on_conflict()
                        if reaction is Reaction.RETRY and not parts.turns.begin():
                            parts.clock.sleep(conflicts.backoff(time.monotonic() - begun))
                    case Wait(seconds):
                        parts.turns.end()
                        progress = progress._replace(may_wait=False)
                        parts.clock.sleep(seconds)
                    case Next.LEAVE:
                        return result
                    case Next.DONE:
                        break
                progress = progress._replace(
                    first=False,
                    after_conflict=result.conflicts > 0,
                    attempted=progress.attempted.union((iteration.attempted,)),
                    stuck=conflicts.stuck.keys(),
                )
                # ``stop`` is checked before and after the wait: no attempt follows a signal.
                if not stop():
                    parts.turns.begin()
        finally:
            parts.turns.end_tick()
        if conflicts.stuck:
            conflicts.raise_stuck()
        return result

    def seconds_until_due(self) -> float | None:
        """Return the seconds from the last poll until the next due time, or None.

        Work that is already due waits for the next poll.
        """
        now = self.now
        ahead = [at for at in self._due.values() if at is not None and now is not None and at > now]
        return (min(ahead) - now).total_seconds() if ahead and now is not None else None

    # -- one iteration --------------------

    def _run_iteration(self, poll: PollResult, now: datetime, progress: Progress) -> Iteration:
        """Run one iteration. Errors after which a tick can continue are results."""
        try:
            return self._iterate(poll, now, progress)
        except MergeInProgress as error:
            words = f"{error.clause} — skipping tick"
            log_condition(logger, logging.INFO, words, LogEvent.MERGING)
            return Iteration(Next.LEAVE)
        except MigrationInProgress as error:
            log_condition(logger, logging.INFO, error.message, LogEvent.MIGRATING)
            return Iteration(Next.LEAVE)
        except SchemaChanged:
            if self.parts.tracker.recompile_rules:
                raise
            self.parts.tracker.forget_columns()
            return Iteration(Next.AGAIN)
        except Conflict as error:
            return Iteration(Conflicted(error))

    def _iterate(self, poll: PollResult, now: datetime, progress: Progress) -> Iteration:
        """Run the steps of one iteration.

        Raises Conflict, MergeInProgress, MigrationInProgress, SchemaChanged.
        """
        parts, tracker = self.parts, self.parts.tracker
        if poll.merging:
            raise MergeInProgress()
        # The line from the saved state to HEAD, and the tables that changed on it.
        ahead = tracker.read_ahead(poll, first=progress.first)
        # Checked once in the life of a loop, and after a change: the tables exist, and the tracker
        # is the configured one.
        if not self._database_checked or ahead.must_be_checked:
            if not ahead.is_checked:
                # Late: an earlier tick has checked nearly every database.
                from dolt_watch.ledger.schema import check_database

                check_database(parts.engine, parts.config.project_id)
            self._database_checked = True
        # Read changes, derive events, apply them: the state at HEAD. A rebuild that wrote an entry
        # starts over, so that the entry is applied like any other.
        feed_query = tracker.feed_query(poll)
        state = tracker.state_at_head(poll, now, feed_query)
        if not isinstance(state, State):
            return Iteration(state)
        self.state = state
        lag = tracker.lag if ahead.line else (0, 0.0)
        # No decision depends on rows outside of history: they are committed first, or awaited.
        tables = tracker.table_states(poll, now, feed_query.schema)
        context = tracker.context(poll, state, now, feed_query, tables)
        uncommitted = read_uncommitted(parts.engine, poll.head, tables, feed_query)
        if uncommitted.tables:
            adoption = self._adopt(context, tables, uncommitted, progress.may_wait)
            if adoption is not Next.PROCEED:
                return Iteration(adoption, lag=lag)
        # The next worker in turn reads this state, and decides at once.
        if parts.turns.is_over:
            tracker.save(poll, now, tables, {"dispatch": now, "reap": now})
            parts.turns.end()
            return Iteration(Next.AGAIN, lag=lag)
        # Select candidates, observe, plan.
        proposal = self._propose(context, tables, uncommitted, progress)
        self.state, self._due = proposal.context.state, proposal.candidates.due
        # Execute and record the first decision. Without a decision, the tick ends.
        if proposal.plan.decisions:
            done = self._execute(proposal)
        else:
            done = self._finish(proposal, tables, progress)
        reap_rows: Sequence[ReapCandidate] = ()
        if progress.scope.reap:
            verdicts = proposal.observations.verdicts
            reap_rows = reap_table(proposal.context.state, proposal.plan, verdicts, now)
        return done._replace(
            plan=proposal.plan,
            reap_table=reap_rows,
            target_down=done.target_down or proposal.target_down,
            lag=lag,
        )

    def _adopt(
        self,
        context: DecisionContext,
        tables: Mapping[str, TableState],
        uncommitted: Uncommitted,
        may_wait: bool,
    ) -> Next | Wait:
        """Commit changes of other writers that were uncommitted for ``settle``, or wait for that
        time.

        Returns ``Next.PROCEED`` if they are left alone. Raises Conflict.
        """
        parts, dirty = self.parts, uncommitted.tables
        if uncommitted.migration:
            log_condition(logger, logging.INFO, NOT_COMMITTED, LogEvent.MIGRATING)
            return Next.PROCEED
        if not parts.config.adopt:
            return Next.PROCEED
        settled = max(tables[table].since for table in dirty) + parts.policy.settle
        # The other writer may still be working. A one-shot command waits once if a decision depends
        # on it. The time of the first sight is saved for the next command.
        if settled > context.now:
            if not (may_wait and _affects_a_decision(uncommitted.rows, context.state)):
                return Next.PROCEED
            parts.tracker.save(context.poll, context.now, tables, {})
            return Wait((settled - context.now).total_seconds())
        beads = sorted({row.bead for row in uncommitted.rows})
        try:
            adopted = parts.executor.adopt(context.poll, dirty, beads)
        except NothingToCommit:
            parts.tracker.mark_uncommittable({table: tables[table].hash for table in dirty})
            words = (
                f"warning: {', '.join(dirty)}: dolt_ignore excludes it from history,"
                " so its rows are ignored"
            )
            log_condition(logger, logging.WARNING, words, LogEvent.IGNORED_TABLE)
            return Next.AGAIN
        return Next.AGAIN if adopted else Next.PROCEED

    def _propose(
        self,
        context: DecisionContext,
        tables: Mapping[str, TableState],
        uncommitted: Uncommitted,
        progress: Progress,
    ) -> Proposal:
        """Select candidates, observe, and plan."""
        scope, now = progress.scope, context.now
        skip = progress.attempted.union(progress.stuck)
        policy = with_queue_order(self.parts.policy, context.feed_query.rules)
        candidates = select_candidates(context.state, policy, now, scope, skip)
        observations, target_down, unsure = self.parts.observer.observe(
            context, candidates, tables, uncommitted, after_conflict=progress.after_conflict
        )
        context = context._replace(unversioned_readiness=unsure)
        plan = make_plan(context.state, policy, now, scope, candidates, observations)
        # The targets were tried in vain, which history need not contain. The next try is saved with
        # the state, and the plan is made for that state.
        moved = None
        if scope.dispatch and context.state.outages and not plan.decisions:
            moved = postpone_tries(context.state, policy, now, candidates, observations)
        if moved is not None:
            self.parts.store.stage(context.poll, moved, ())
            context = context._replace(state=moved)
            candidates = select_candidates(moved, policy, now, scope, skip)
            plan = make_plan(moved, policy, now, scope, candidates, observations)
        if progress.stuck:
            plan = _without_beads(plan, progress.stuck)
        if uncommitted.migration:
            plan = _without_migrating(plan, uncommitted.migration)
        return Proposal(context, policy, candidates, observations, plan, target_down)

    def _execute(self, proposal: Proposal) -> Iteration:
        decision = proposal.plan.decisions[0]
        try:
            written = self.parts.executor.execute(proposal.plan, proposal.context)
        except (MergeInProgress, MigrationInProgress):
            raise
        except Conflict as error:
            return Iteration(Conflicted(error, decision.bead))
        if isinstance(written, Next):
            return Iteration(written)
        log_entry(written)
        entry = written.entry
        # A dispatch writes two entries: its claim and its outcome entry.
        claims = (EntryKind.CLAIM,) if decision.kind is EntryKind.CLAIM else ()
        return Iteration(Next.AGAIN, kinds=(*claims, entry.kind), attempted=entry.bead)

    def _finish(
        self, proposal: Proposal, tables: Mapping[str, TableState], progress: Progress
    ) -> Iteration:
        """End a tick without decisions: wait for a bead to settle, or save, and log why beads
        wait.
        """
        context, scope, plan = proposal.context, progress.scope, proposal.plan
        if progress.may_wait and scope.dispatch and proposal.candidates.settles:
            seconds = settle_wait(proposal.candidates, proposal.policy, context.now)
            if seconds:
                return Iteration(Wait(seconds))
        # Idle ticks report the saved outages.
        shared = [hold for holds in plan.rules.values() for hold in holds]
        outages = {hold.why for hold in shared if hold.gate == OUTAGE}
        due = proposal.candidates.due
        self.parts.tracker.save(context.poll, context.now, tables, due, outages)
        log_holds(
            context.state,
            plan,
            self.parts.policy,
            context.now,
            scope,
            proposal.observations.capacity,
        )
        return Iteration(
            Next.DONE,
            target_down=scope.dispatch and bool(outages),
            halted=any(hold.gate == "stopped" for hold in shared),
        )


def _affects_a_decision(loose: Sequence[RowChange], state: State) -> bool:
    """Return whether a decision depends on uncommitted rows."""
    return any(
        row.bead in state.beads or any(answer.matches for answer in row.answers) for row in loose
    )


def _without_beads(plan: Plan, beads: Collection[str]) -> Plan:
    kept = tuple(one for one in plan.decisions if one.bead not in beads)
    return plan._replace(decisions=kept)


def _without_migrating(plan: Plan, migration: Collection[str]) -> Plan:
    """Hold each decision whose commit would include a part of bd's migration."""
    if "issues" not in migration and "events" not in migration:
        return plan
    held = {one.bead: HoldReason("migration", NOT_COMMITTED) for one in plan.decisions}
    return plan._replace(decisions=(), holds={**plan.holds, **held})
