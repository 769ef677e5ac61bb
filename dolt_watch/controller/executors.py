"""The executors: ``LiveExecutor``, and ``DryRunExecutor``, which writes and sends nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dolt_watch.beads.schema import NOT_COMMITTED, uncommitted_migration
from dolt_watch.checkpoint.poll import PollResult, TableState
from dolt_watch.checkpoint.state_store import StateStore, advance_fence
from dolt_watch.controller.messages import tell_holds
from dolt_watch.controller.notifications import RETRY_INTERVAL, Notifier
from dolt_watch.controller.tick_result import Next
from dolt_watch.core.decisions.policy import Plan
from dolt_watch.core.model import GLOBAL, Decision, EntryKind, Phase, Rule, State, entry_payloads
from dolt_watch.core.model.reason_codes import WORDS, ReasonCode
from dolt_watch.core.projection.projection import HELD_REASON
from dolt_watch.engines import Commit
from dolt_watch.errors import MergeInProgress, MigrationInProgress, NothingToCommit
from dolt_watch.log_events import LogEvent, event_fields
from dolt_watch.sanitize import sanitize

if TYPE_CHECKING:
    from dolt_watch.controller.stopping import RunStopper
    from dolt_watch.ledger.decision_context import DecisionContext
    from dolt_watch.ledger.writer import LedgerWriter, Written
    from dolt_watch.targets.protocol import Target

logger = logging.getLogger(__name__)


class LiveExecutor:
    """Writes decisions with the ledger and passes claims to their target."""

    def __init__(
        self,
        open_ledger: Callable[[], LedgerWriter],
        rules: Sequence[Rule],
        targets: Callable[[str], Target],
        notifier: Notifier | None = None,
        stopper: RunStopper | None = None,
    ) -> None:
        """Create the executor.

        Args:
            open_ledger: Returns the writer of entries. Called for the first entry.
            rules: The rules.
            targets: Opens a target by name.
            notifier: Reports failures. None: they are not reported.
            stopper: Stops runs of ended attempts. None: they are not stopped.
        """
        self.stopper = stopper
        self.targets = targets
        self._open_ledger = open_ledger
        self._ledger: LedgerWriter | None = None
        self.notifier = notifier
        self._notify_at: datetime | None = None
        """When the notices that wait are sent again. None: at once."""
        self.rules = {rule.name: rule for rule in rules}

    @property
    def ledger(self) -> LedgerWriter:
        """The writer of entries. Most ticks write none, so they don't import it."""
        if self._ledger is None:
            self._ledger = self._open_ledger()
        return self._ledger

    @property
    def under_way(self) -> Decision | None:
        """The attempt that has begun and is not recorded: its claim, later its outcome entry."""
        return self._ledger.under_way if self._ledger is not None else None

    def execute(self, plan: Plan, context: DecisionContext) -> Written | Next:
        decision = plan.decisions[0]
        if decision.kind is not EntryKind.CLAIM:
            written = self.ledger.append_decision(context, decision)
            if written.warning:
                logger.warning(
                    f"warning: {written.warning}",
                    extra=event_fields(LogEvent.NOTES_FULL, bead=decision.bead),
                )
            if self.stopper is not None and decision.rule in self.rules:
                self.stopper.after(written.entry, self.rules[decision.rule].target)
            return written
        if self.stopper is not None:
            self.stopper.leftovers(context.state, context.poll.saved, decision.bead)
        from dolt_watch.controller.dispatch import (
            dispatch_bead,
        )  # A command that dispatches nothing needs no code of targets.

        rule = self.rules[decision.rule]
        return dispatch_bead(decision, context, rule, self.targets(rule.target), self.ledger)

    def adopt(self, poll: PollResult, tables: Sequence[str], beads: Sequence[str]) -> bool:
        """Commit the uncommitted changes of other writers, so that no decision depends on rows
        outside of history.
        """
        engine = self.ledger.engine
        trailers = "".join(f"\nBead: {sanitize(bead)}" for bead in beads[:50])
        message = (
            "dolt-watch: adopt uncommitted changes\n\nTables:"
            f" {', '.join(sorted(tables))}{trailers}"
        )
        with engine.transaction() as tx:
            if engine.has_unfinished_merge():
                raise MergeInProgress()
            # The migration may have begun since the poll.
            if uncommitted_migration(engine, tx.query):
                raise MigrationInProgress(NOT_COMMITTED)
            advance_fence(tx, poll.fence)
            try:
                tx.dolt_commit(sorted(tables), message, self.ledger.identity.author)
            except NothingToCommit:
                if engine.query("SELECT HASHOF('HEAD')")[0][0] == poll.head:
                    raise  # DOLT_ADD silently skips tables that dolt_ignore excludes.
                return True  # Another writer just committed them.
        words = f"adopted uncommitted changes in {', '.join(sorted(tables))}"
        logger.info(words, extra=event_fields(LogEvent.ADOPTED))
        return True

    def record_rebuild(
        self,
        context: DecisionContext,
        why: ReasonCode,
        missing: Sequence[Decision],
        held: Sequence[str],
    ) -> State | Written:
        """Record one entry at a time, like any decision, so that the next worker that polls finds
        it in history.
        """
        poll, beads = context.poll, len(context.state.beads)
        # Lost attempts are written first. Without them, the rebuilt state would send their beads
        # again.
        if missing:
            decision = missing[0]
            words = f"{decision.bead}: {decision.reason}"
            logger.info(words, extra=event_fields(LogEvent.RESTORING, bead=decision.bead))
        # The rebuild is recorded last, so that its entry follows a complete ledger.
        else:
            reason = f"{WORDS[why]}: state of {beads} beads rebuilt from their rows" + (
                f", {len(held)} held until `dolt_watch resume`" if held else ""
            )
            detail = entry_payloads.Remade(poll.commit, poll.head, beads, tuple(held)).encode()
            decision = Decision(
                kind=EntryKind.RESYNC,
                bead=GLOBAL,
                rule="",
                attempt=0,
                cause=poll.head,
                reason=reason,
                reason_code=why,
                detail=detail,
            )
            logger.info(
                f"rebuild at {poll.head[:8]}: {reason}", extra=event_fields(LogEvent.RESYNC)
            )
        return self.ledger.append_decision(context, decision)

    def record_reprocess(self, context: DecisionContext, commit: Commit, by: str) -> None:
        reason = f"everything after {commit.hash[:8]} is applied again, as {by} requested"
        detail = entry_payloads.Reprocessed(commit.hash, by).encode()
        decision = Decision(
            kind=EntryKind.REPROCESS,
            bead=GLOBAL,
            rule="",
            attempt=0,
            cause=commit.hash,
            reason=reason,
            detail=detail,
            reason_code=ReasonCode.REQUESTED,
        )
        self.ledger.append_decision(context, decision)
        logger.info(reason, extra=event_fields(LogEvent.REPROCESS))

    def save(
        self,
        store: StateStore,
        poll: PollResult,
        seen: Mapping[str, TableState],
        due: Mapping[str, Any],
        *more: Any,
    ) -> None:
        if self.stopper is not None:
            self.stopper.leftovers(store.load(poll), poll.saved)
        if store.outbox:
            now = self.ledger.clock.now(poll.now)
            # A tick with turns saves often, and the others wait until the receiver has answered.
            if self._notify_at is None or self._notify_at <= now:
                rest = self.notifier.flush(store.outbox) if self.notifier is not None else []
                store.keep_notices(rest)
                self._notify_at = now + RETRY_INTERVAL if rest else None
        if store.outbox:
            due = {**due, "dispatch": min(filter(None, (due.get("dispatch"), self._notify_at)))}
        store.save(poll, seen, due, *more)


def under_way(executor: object) -> Decision | None:
    """Return the attempt that ``executor`` has begun and not recorded yet: its claim, later its
    outcome entry.
    """
    return executor.under_way if isinstance(executor, LiveExecutor) else None


class Reading:
    """The executor of a read-only command. It logs, writes and sends nothing."""

    def execute(self, plan: Plan, context: DecisionContext) -> Written | Next:
        return Next.DONE

    def adopt(self, poll: PollResult, tables: Sequence[str], beads: Sequence[str]) -> bool:
        return False

    def record_rebuild(
        self,
        context: DecisionContext,
        why: ReasonCode,
        missing: Sequence[Decision],
        held: Sequence[str],
    ) -> State | Written:
        # Late: few ticks rebuild the state.
        from dolt_watch.history.rebuild import preview_restored

        state, now = context.state, context.now
        beads = dict(state.beads)
        for bead in held:
            beads[bead] = beads[bead]._replace(phase=Phase.HELD, since=now, reason=HELD_REASON)
        return state._replace(beads=preview_restored(beads, missing, state.commit, now))

    def record_reprocess(self, context: DecisionContext, commit: Commit, by: str) -> None:
        return None

    def save(self, store: StateStore, poll: PollResult, *more: Any) -> None:
        return None


class DryRunExecutor(Reading):
    """The executor of a dry run. It only logs what a live executor would do."""

    def execute(self, plan: Plan, context: DecisionContext) -> Written | Next:
        for decision in plan.decisions:
            verb = "dispatch" if decision.kind is EntryKind.CLAIM else decision.kind.value
            detail = f": {decision.reason}" if decision.reason else f" under rule {decision.rule}"
            subject = decision.bead or entry_payloads.OutageChange.decode(decision.detail).target
            self._log(f"would {verb} {subject}{detail}", bead=decision.bead)
        tell_holds(context.state, plan)
        for bead in context.state.beads.values():
            if bead.phase is Phase.RUNNING and bead.id in plan.holds:
                self._log(f"holding {bead.id}: {plan.holds[bead.id].why}", bead=bead.id)
        return Next.DONE

    def adopt(self, poll: PollResult, tables: Sequence[str], beads: Sequence[str]) -> bool:
        named = f" ({', '.join(beads[:10])})" if beads else ""
        self._log(f"would first adopt uncommitted changes in {', '.join(sorted(tables))}{named}")
        return False

    def record_rebuild(
        self,
        context: DecisionContext,
        why: ReasonCode,
        missing: Sequence[Decision],
        held: Sequence[str],
    ) -> State | Written:
        for decision in missing:
            self._log(f"would write the attempt of {decision.bead} again: {decision.reason}")
        self._log(f"would record a resync: {WORDS[why]}")
        return super().record_rebuild(context, why, missing, held)

    def record_reprocess(self, context: DecisionContext, commit: Commit, by: str) -> None:
        self._log(f"would apply everything after {commit.hash[:8]} again")

    def _log(self, words: str, **fields: Any) -> None:
        logger.info(words, extra=event_fields(LogEvent.DRY_RUN, **fields))
