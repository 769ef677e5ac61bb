"""The loop.

``dispatch``, ``reap``, ``tick`` and their dry runs are this loop with parts exchanged: which
kinds of decision are taken, whose clock, who acts.

A round: look, feed, derive, fold, decide, handle the first decision; its commit comes back
through the feed on the next round. When nothing is left to do, cursor and state are saved in one
transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from dolt_watch.beads import feed_query
from dolt_watch.beads.migration import NOT_COMMITTED
from dolt_watch.beads.queue_readiness import other_matching_rules, unready_until_enough
from dolt_watch.beads.uncommitted import uncommitted
from dolt_watch.checkpoint.poll import Poller, PollResult, TableState, is_idle, log_idle
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.clock import Clock
from dolt_watch.controller.context import StateSurvey
from dolt_watch.controller.executor import Executor
from dolt_watch.controller.messages import log_entry, log_holds
from dolt_watch.controller.observer import (
    Observer,
    has_uncommitted_readiness_rows,
    read_uncommitted,
)
from dolt_watch.controller.reap_table import reap_table
from dolt_watch.controller.state_tracker import StateTracker
from dolt_watch.controller.tick_result import TickResult
from dolt_watch.core.decisions.circuit_breaker import OUTAGE, postpone_tries
from dolt_watch.core.decisions.hold_reasons import in_line
from dolt_watch.core.decisions.planner import make_plan, select_candidates, settle_wait
from dolt_watch.core.decisions.policy import Candidates, Observations, Policy, Scope
from dolt_watch.core.model import EMPTY, EntryKind, HoldReason, State
from dolt_watch.engines import Commit, Engine
from dolt_watch.errors import (
    Conflict,
    MergeInProgress,
    MigrationInProgress,
    NothingToCommit,
    SchemaChanged,
)
from dolt_watch.ledger.decision_context import DecisionContext
from dolt_watch.ledger.schema import check_database
from dolt_watch.log_events import LogEvent, event_fields, log_condition

if TYPE_CHECKING:
    from dolt_watch.targets.protocol import Target

logger = logging.getLogger(__name__)

MAX_CONFLICTS = 40
"""Conflicts in a row, each since somebody else got ahead, before a tick leaves the rest to them."""

CONFLICTS_BEFORE_CHECK = 5
"""Conflicts in a row before a tick asks whether anything moved.

Where nothing did, it is this bead: the others go on, and the tick fails.
"""

MAX_BACKOFF_SECONDS = 0.5
"""Seconds that a worker which lost a race waits at most: a round may have been long because a
target was slow to answer.
"""


class ControlLoop:
    """One engine, one policy, the targets by name, one actor."""

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        rule_hashes: Mapping[str, str],
        targets: Callable[[str], Target],
        actor: Executor,
        clock: Clock,
        *,
        looker: Poller | None = None,
        adopt: bool = True,
        patient: bool = True,
        project_id: str | None = None,
        poll: timedelta = timedelta(seconds=2),
        worker: Mapping[str, Any] = EMPTY,
        notified: frozenset[str] = frozenset(),
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        """Build the loop.

        Args:
            engine: The connection to the database.
            policy: The rules and thresholds that are decided by.
            rule_hashes: Rule to the hash of its expressions.
            targets: Opens a target by its name.
            actor: Handles the decisions.
            clock: The time that is decided by.
            looker: Reads the poll query; None: the loop makes its own.
            adopt: Commit what others left uncommitted.
            patient: Wait at most ``settle``, once, if a decision depends on it.
            project_id: The tracker's id; None: any.
            poll: Interval of a `run` on these settings. Work may stay due for twice that long.
            worker: ``host`` and ``by``, the command, saved with the state for liveness checks.
            notified: Kinds of decisions that are reported to the notification target.
            on_progress: Called for each folded commit.
        """
        self.engine, self.policy = engine, policy
        self.actor, self.clock = actor, clock
        self.adopt = adopt
        self.wait_for_settle = patient
        self.project_id = project_id
        self.looker = looker or Poller(engine)
        self.store = StateStore(engine, worker, clock)
        self.present = StateTracker(
            engine,
            policy,
            rule_hashes,
            self.looker,
            actor,
            self.store,
            notified=notified,
            on_progress=on_progress,
        )
        self.world = Observer(engine, policy, targets)
        self.poll = poll
        self._checked = False
        self._deciding = ""
        """The bead of the decision under way."""
        self.state = State()
        """As the last round with something in it had it."""
        self.now: datetime | None = None
        """The clock of the last look."""
        self._due: Mapping[str, datetime | None] = {}

    def tick(
        self,
        scope: Scope,
        first: PollResult | None = None,
        stop: Callable[[], bool] = lambda: False,
        thorough: bool = False,
    ) -> TickResult:
        """Run the loop until nothing is left to do.

        ``first``: a look that was had already. ``stop``: asked before each round. ``thorough``:
        have a round even where nothing is due.
        """
        outcome, skip, stuck = TickResult(), set[str](), dict[str, Conflict]()
        patient, conflicts = self.wait_for_settle, 0
        while not stop():
            self._deciding = ""
            look, first = first or self.looker.poll(), None
            self.now = now = self.clock.now(look.now)
            self._due = look.due
            if (
                not thorough
                and not self.store.has_unsaved(look)
                and is_idle(
                    look,
                    now,
                    self.policy.settings_hash,
                    scope.kinds,
                    self.policy.settle,
                    self.adopt,
                )
            ):
                if not outcome.rounds:
                    outcome.down |= log_idle(look, scope.kinds)
                return outcome
            if not outcome.rounds:
                self.present.begin()
            outcome.rounds, thorough, begun = outcome.rounds + 1, False, time.monotonic()
            try:
                more, wait = self._iterate(look, now, scope, outcome, skip, stuck, patient)
            except MergeInProgress as error:
                log_condition(
                    logger, logging.INFO, f"{error.message} — skipping tick", LogEvent.MERGING
                )
                return outcome
            except MigrationInProgress as error:
                log_condition(logger, logging.INFO, error.message, LogEvent.MIGRATING)
                return outcome
            except SchemaChanged:
                if self.present.recompile_rules:
                    raise
                self.present.forget_columns()
                continue
            except Conflict as error:
                conflicts += 1
                outcome.add_conflict()
                if conflicts % CONFLICTS_BEFORE_CHECK == 0 and not self._others_committed(look):
                    if not self._deciding:
                        raise _no_way(error) from error
                    stuck[self._deciding], conflicts = error, 0
                    skip.add(self._deciding)
                    continue
                if conflicts > MAX_CONFLICTS:
                    words = (
                        f"others got ahead {MAX_CONFLICTS} times in a row — leaving the rest to"
                        " them"
                    )
                    log_condition(logger, logging.INFO, words, LogEvent.OVERTAKEN)
                    return outcome
                from random import uniform  # 1 ms of every tick that meets nobody

                # Theirs takes about as long as ours did: several workers that come again at once
                # would only lose to one another.
                self.clock.sleep(
                    uniform(
                        0,
                        min(
                            (time.monotonic() - begun) * 2 ** min(conflicts, 3), MAX_BACKOFF_SECONDS
                        ),
                    )
                )
                continue
            conflicts = 0
            if wait:
                patient = False
                self.clock.sleep(wait)
            elif not more:
                break
        for bead, why in stuck.items():
            raise _no_way(why, bead) from why
        return outcome

    def seconds_until_due(self) -> float | None:
        """Seconds from the last look until time alone will make a difference; None where it will
        not. What is due already waits for the next poll.
        """
        now = self.now
        ahead = [at for at in self._due.values() if at is not None and now is not None and at > now]
        return (min(ahead) - now).total_seconds() if ahead and now is not None else None

    def _others_committed(self, look: PollResult) -> bool:
        """Did somebody else decide or commit since?"""
        now = self.looker.poll()
        return (now.head, now.fence) != (look.head, look.fence)

    def current_state(self) -> tuple[State, datetime]:
        """The state at HEAD, and the time: for commands that only read."""
        look = self.looker.poll()
        now = self.clock.now(look.now)
        return self._at_head(look, now), now

    def decision_context(self) -> DecisionContext:
        """Return the context of a person's decision.

        Raises MergeInProgress: nothing can be written then.
        """
        look = self.looker.poll()
        if look.merging:
            raise MergeInProgress()
        now = self.clock.now(look.now)
        return self.present.context(
            look, self._at_head(look, now), now, self.present.feed_query(look)
        )

    def _at_head(self, look: PollResult, now: datetime) -> State:
        check_database(self.engine, self.project_id)
        self.present.begin()
        try:
            state = self.present.state_at_head(look, now, self.present.feed_query(look))
        except SchemaChanged:
            self.present.forget_columns()
            state = self.present.state_at_head(look, now, self.present.feed_query(look))
        if state is None:
            raise RuntimeError("a command that only reads was given somebody who acts")
        return state

    def survey(self, scope: Scope) -> StateSurvey:
        """What would be decided now, and why not the rest; the targets' capacity taken as free."""
        look = self.looker.poll()
        now = self.clock.now(look.now)
        state = self._at_head(look, now)
        lens = self.present.feed_query(look)
        policy = self._with_queue_order(lens)
        asked = select_candidates(state, policy, now, scope)
        outside = Observations(holds=self._gates(look, state, now, policy, asked, lens))
        plan = make_plan(state, policy, now, Scope(dispatch=scope.dispatch), asked, outside)
        merging = self.engine.has_unfinished_merge()
        lag = timedelta(seconds=self.present.lag[1] if look.head != look.commit else 0.0)
        return StateSurvey(
            look=look,
            state=state,
            now=now,
            plan=plan,
            merging=merging,
            policy=policy,
            asked=asked,
            lens=lens,
            outside=outside,
            lag=lag,
        )

    def _gates(
        self,
        look: PollResult,
        state: State,
        now: datetime,
        policy: Policy,
        asked: Candidates,
        lens: feed_query.FeedQuery,
    ) -> dict[str, HoldReason]:
        """What the rows say of every bead in line: a tick asks only as far as it has slots."""
        seen, queues = self.present.table_states(look, now), in_line(state, policy, asked)
        loose = read_uncommitted(self.engine, look.head, seen, lens).rows
        names = [rule.name for rule in policy.rules]
        since = {table: one.since for table, one in seen.items()}
        waiting = asked._replace(queues=queues, stale=())
        waits = {bead.id for queue in queues.values() for bead in queue}
        rows = uncommitted(loose, waiting, names, {}, since)
        holds = {bead: hold for bead, hold in rows.items() if bead in waits}
        ready = [bead.id for rule in policy.rules if rule.ready for bead in queues[rule.name]]
        every, beside = len(ready) + 1, has_uncommitted_readiness_rows(seen)
        return holds | unready_until_enough(
            self.engine, ready, every, holds, lens.schema, now, look.head, beside
        )

    def reprocess_from(self, commit: Commit, by: str) -> None:
        """Reprocess: the cursor goes back to a commit of HEAD's history, with the state made
        anew there, so that the next tick folds everything after it again and acts on what is due
        and undecided. What was decided comes back through the feed, and is not done again.
        Raises Conflict.
        """
        look = self.looker.poll()
        now = self.clock.now(look.now)
        check_database(self.engine, self.project_id)
        if look.merging:
            raise MergeInProgress()
        # Late: few ticks rebuild the state.
        from dolt_watch.history.rebuild import rebuild_state

        lens = self.present.feed_query(look)
        found = rebuild_state(
            self.engine, commit.hash, commit.date, self.policy.rules, lens.rules, lens.columns
        )
        context = self.present.context(look, found.state, now, lens)
        self.actor.record_reprocess(context, commit, by)
        look = self.looker.poll()
        self.store.stage(look, found.state, None)
        self._save(look, now, {}, Candidates())

    # -- one round --------------------

    def _iterate(
        self,
        look: PollResult,
        now: datetime,
        scope: Scope,
        outcome: TickResult,
        skip: set[str],
        stuck: Collection[str],
        patient: bool,
    ) -> tuple[bool, float]:
        """(go on, seconds to wait first).

        ``stuck``: beads about whom nothing can be written. Raises Conflict.
        """
        if not self._checked:
            check_database(self.engine, self.project_id)
            self._checked = True
        if look.merging:
            raise MergeInProgress()
        lens = self.present.feed_query(look)
        state = self.present.state_at_head(look, now, lens)
        if state is None:
            return True, 0
        if outcome.rounds == 1:
            outcome.lag = self.present.lag
        self.state = state
        seen = self.present.table_states(look, now)
        policy = self._with_queue_order(lens)
        dirty, migration, loose = read_uncommitted(self.engine, look.head, seen, lens)
        if migration:
            log_condition(logger, logging.INFO, NOT_COMMITTED, LogEvent.MIGRATING)
        elif dirty and self.adopt:
            settled = max(seen[table].since for table in dirty) + policy.settle
            if settled <= now:
                try:
                    if self.actor.adopt(look, dirty, sorted({row.bead for row in loose})):
                        return True, 0
                except NothingToCommit:
                    self.present.mark_uncommittable({table: seen[table].hash for table in dirty})
                    words = (
                        f"warning: {', '.join(dirty)}: dolt_ignore keeps it out of history, so"
                        " nothing in it counts"
                    )
                    log_condition(logger, logging.WARNING, words, LogEvent.IGNORED_TABLE)
                    return True, 0
            elif patient and self._affects_a_decision(loose, state):
                self._save(look, now, seen, Candidates())
                return True, (settled - now).total_seconds()
        asked = select_candidates(state, policy, now, scope, skip)
        self._due = asked.due
        outside = self.world.observe(look, asked, now, lens, seen, loose, outcome)
        plan = make_plan(state, policy, now, scope, asked, outside)
        moved = (
            postpone_tries(state, policy, now, asked, outside)
            if scope.dispatch and not plan.decisions
            else None
        )
        if moved is not None:  # tried in vain, which history need not hold
            self.store.stage(look, moved, ())
            self.state = state = moved
            asked = select_candidates(state, policy, now, scope, skip)
            self._due = asked.due
            plan = make_plan(state, policy, now, scope, asked, outside)
        if stuck:
            plan = plan._replace(
                decisions=tuple(one for one in plan.decisions if one.bead not in stuck)
            )
        if migration.intersection(
            ("issues", "events")
        ):  # a decision's commit takes these two along
            held = {one.bead: HoldReason("migration", NOT_COMMITTED) for one in plan.decisions}
            plan = plan._replace(decisions=(), holds={**plan.holds, **held})
        outcome.holds = plan.holds
        if scope.reap:
            outcome.reap_table = reap_table(state, plan, outside.verdicts, now)
        if not plan.decisions:
            wait = settle_wait(asked, policy, now) if patient and scope.dispatch else 0.0
            if not wait:
                outcome.stopped_rules += "stopped" in plan.gates
                whole = (hold for holds in plan.rules.values() for hold in holds)
                down = {hold.why for hold in whole if hold.gate == OUTAGE}
                self.store.set_down(down)
                outcome.down |= scope.dispatch and bool(down)
                self._save(look, now, seen, asked)
                log_holds(state, plan, self.policy, now, scope, outside.capacity)
            return bool(wait), wait
        self._deciding = plan.decisions[0].bead
        written = self.actor.execute(plan, self.present.context(look, state, now, lens))
        if written is None:
            return False, 0
        if plan.decisions[0].kind is EntryKind.CLAIM:
            outcome.kinds[EntryKind.CLAIM] += 1  # what is written is what became of it
            bead, rule = plan.decisions[0].bead, plan.decisions[0].rule
            if too := other_matching_rules(self.engine.query, lens.rules, bead, rule, look.head):
                logger.info(too, extra=event_fields(LogEvent.ALSO_MATCHES, bead=bead))
        skip.add(written.entry.bead)
        outcome.count(written.entry.kind)
        log_entry(written)
        return True, 0

    def _with_queue_order(self, lens: feed_query.FeedQuery) -> Policy:
        return self.policy._replace(descending={one.rule: one.descending for one in lens.rules})

    def _affects_a_decision(self, loose: Sequence[Any], state: State) -> bool:
        """Would a decision depend on what stands uncommitted?"""
        return any(
            row.bead in state.beads or any(answer.matches for answer in row.answers)
            for row in loose
        )

    def _save(
        self, look: PollResult, now: datetime, seen: Mapping[str, TableState], asked: Candidates
    ) -> None:
        self.actor.save(
            self.store,
            look,
            seen,
            asked.due,
            self.present.rules(look, now),
            self.present.cache(look),
        )


def _no_way(error: Conflict, bead: str = "") -> Conflict:
    where = f" to {bead}" if bead else ""
    return Conflict(
        f"no way through{where} in {CONFLICTS_BEFORE_CHECK} tries, though nobody got ahead:"
        f" {error.message}",
        fix="run it again",
    )
