"""The state for read-only commands, and the context of a user's decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from dolt_watch.beads.feed_query import FeedQuery
from dolt_watch.beads.readiness import unready_until_enough
from dolt_watch.checkpoint.poll import PollResult
from dolt_watch.controller.context import StateSurvey
from dolt_watch.controller.observer import read_uncommitted, uncommitted_holds
from dolt_watch.controller.parts import LoopParts
from dolt_watch.core.decisions.candidates import select_candidates, with_queue_order
from dolt_watch.core.decisions.hold_reasons import in_line
from dolt_watch.core.decisions.planner import make_plan
from dolt_watch.core.decisions.policy import Candidates, Observations, Policy, Scope
from dolt_watch.core.model import HoldReason, State
from dolt_watch.engines import Engine
from dolt_watch.errors import MergeInProgress, SchemaChanged
from dolt_watch.ledger.decision_context import DecisionContext
from dolt_watch.ledger.schema import check_database


@dataclass(frozen=True)
class StateReader:
    """Reads with the parts of a loop whose executor writes nothing."""

    parts: LoopParts

    @property
    def engine(self) -> Engine:
        return self.parts.engine

    @property
    def policy(self) -> Policy:
        return self.parts.policy

    @property
    def poll_interval(self) -> timedelta:
        return self.parts.config.poll_interval

    def current_state(self) -> tuple[State, datetime]:
        """Return the state at HEAD, and the time."""
        poll, now = self.poll()
        return self.state_at_head(poll, now), now

    def decision_context(self) -> DecisionContext:
        """Return the context of a user's decision.

        Raises:
            MergeInProgress: Nothing can be written during a merge.
        """
        poll, now = self.poll()
        if poll.merging:
            raise MergeInProgress()
        state = self.state_at_head(poll, now)
        tracker = self.parts.tracker
        return tracker.context(poll, state, now, tracker.feed_query(poll))

    def survey(self, scope: Scope) -> StateSurvey:
        """Return the plan of a tick now, and the holds. Each target counts as free."""
        poll, now = self.poll()
        state = self.state_at_head(poll, now)
        tracker = self.parts.tracker
        feed_query = tracker.feed_query(poll)
        policy = with_queue_order(self.policy, feed_query.rules)
        candidates = select_candidates(state, policy, now, scope)
        holds = self._holds_in_line(poll, state, now, policy, candidates, feed_query)
        observations = Observations(holds=holds)
        dispatch = Scope(dispatch=scope.dispatch)
        plan = make_plan(state, policy, now, dispatch, candidates, observations)
        lag = timedelta(seconds=tracker.lag[1] if poll.head != poll.commit else 0.0)
        return StateSurvey(
            poll=poll,
            state=state,
            now=now,
            plan=plan,
            merging=self.engine.has_unfinished_merge(),
            policy=policy,
            candidates=candidates,
            feed_query=feed_query,
            outside=observations,
            lag=lag,
        )

    def poll(self) -> tuple[PollResult, datetime]:
        """Return the result of one poll, and the time to decide by."""
        poll = self.parts.poller.poll()
        return poll, self.parts.clock.now(poll.now)

    def state_at_head(self, poll: PollResult, now: datetime) -> State:
        """Return the state at the HEAD of a poll."""
        tracker = self.parts.tracker
        check_database(self.engine, self.parts.config.project_id)
        tracker.read_ahead(poll, first=True)
        try:
            state = tracker.state_at_head(poll, now, tracker.feed_query(poll))
        except SchemaChanged:
            tracker.forget_columns()
            state = tracker.state_at_head(poll, now, tracker.feed_query(poll))
        if not isinstance(state, State):
            raise RuntimeError("StateReader needs an executor that writes nothing.")
        return state

    def _holds_in_line(
        self,
        poll: PollResult,
        state: State,
        now: datetime,
        policy: Policy,
        candidates: Candidates,
        feed_query: FeedQuery,
    ) -> dict[str, HoldReason]:
        """Return the holds of all waiting beads. A tick observes only as many as it has slots."""
        tables = self.parts.tracker.table_states(poll, now, feed_query.schema)
        queues = in_line(state, policy, candidates)
        # Uncommitted rows first, because they hold beads regardless of readiness.
        uncommitted = read_uncommitted(self.engine, poll.head, tables, feed_query)
        holds: dict[str, HoldReason] = {}
        if uncommitted.rows:
            names = [rule.name for rule in policy.rules]
            waiting = candidates._replace(queues=queues, stale=())
            waits = {bead.id for queue in queues.values() for bead in queue}
            rows = uncommitted_holds(uncommitted.rows, waiting, names, {}, tables)
            holds = {bead: hold for bead, hold in rows.items() if bead in waits}
        # More than there are, so that each bead is checked.
        ready = [bead.id for rule in policy.rules if rule.ready for bead in queues[rule.name]]
        every = len(ready) + 1
        beside = uncommitted.affects_readiness
        unready = unready_until_enough(
            self.engine, ready, every, holds, feed_query.schema, now, poll.head, beside
        )
        return {**holds, **unready.holds}
