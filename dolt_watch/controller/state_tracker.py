"""The state at HEAD, moved on from where it was saved, or rebuilt.

``replay.replayer`` does the same over all of history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from dolt_watch import __version__
from dolt_watch.beads.feed_query import FeedQuery
from dolt_watch.beads.schema import TrackerSchema, tracker_schema
from dolt_watch.checkpoint.poll import Poller, PollResult, TableState
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.controller.executor import Executor
from dolt_watch.controller.notifications import build_notice
from dolt_watch.controller.tick_result import Next
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import LedgerEntry, Phase, State, entry_payloads
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.projection.projection import Projection
from dolt_watch.core.projection.target_outages import is_unreachable
from dolt_watch.core.rules.compiled_rule import CompiledRule, compile_for, fingerprint
from dolt_watch.engines import WORKING, Commit, Engine
from dolt_watch.errors import SettingsError
from dolt_watch.history.reader import HistoryReader, find_line
from dolt_watch.ledger.decision_context import DecisionContext


class StateTracker:
    """What the loop is based on. The executor records each rebuild of the state."""

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        rule_hashes: Mapping[str, str],
        poller: Poller,
        executor: Executor,
        store: StateStore,
        *,
        notified: frozenset[str] = frozenset(),
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        """``notified``: kinds of decisions that are reported; ``on_progress``: called for each
        commit whose changes are read.
        """
        # Parts and settings, for the life of the loop.
        self.engine, self.policy, self.rule_hashes = engine, policy, dict(rule_hashes)
        self.poller, self.executor, self.store = poller, executor, store
        self.notified = notified
        self.recompile_rules = False
        """The cursor row's columns turned out to be of an older schema of beads."""
        self.lag = (0, 0.0)
        """Commits that were applied last, and the age of the oldest of them in seconds."""
        self.on_progress = on_progress
        """After days off there are many commits, and health checks must not take that for
        silence.
        """
        self._schema: TrackerSchema | None = None
        self._fresh: Mapping[str, Any] | None = None
        self._anew_since: str | None = None
        """The save on top of which the state was made anew, and that recorded: in a quiet
        tracker nothing else tells it from the saved one.
        """
        self._kept_out: Mapping[str, str] = {}
        """Table → the working hash with which it could not be committed: `dolt_ignore` names it."""

    def schema(self) -> TrackerSchema:
        """Return the shape of beads' tables: looked up once a tick, and again after a column was
        missing.

        Raises UnsupportedSchema.
        """
        if self._schema is None:
            self._schema = tracker_schema(self.engine)
            self._schema.require()
        return self._schema

    def begin(self) -> None:
        """Forget the shape of the tables: bd may have migrated them since the last tick."""
        self._schema = None

    def forget_columns(self) -> None:
        """Look up the columns again: a statement has named one that does not exist."""
        self.recompile_rules, self._schema = True, None

    def feed_query(self, poll: PollResult) -> FeedQuery:
        """Compiled text from the cursor row, so that a tick need not import sqlglot; compiled
        anew where it is of other rules.
        """
        schema = self.schema()
        cache = self._fresh or poll.compiled  # the row has it only when the tick is done
        columns = dict(schema.tables["issues"])
        key = fingerprint(self.policy.rules, columns, self.engine.dialect, __version__)
        unversioned = sorted(schema.unversioned)
        if cache.get("key") == key and not self.recompile_rules:
            if cache.get("unversioned", []) != unversioned:
                self._fresh = {**cache, "unversioned": unversioned}
            rules = [
                CompiledRule.from_json(cache["rules"][rule.name]) for rule in self.policy.rules
            ]
            return FeedQuery(rules, list(columns), schema=schema)
        rules = [compile_for(rule, columns, self.engine.dialect) for rule in self.policy.rules]
        self._fresh = {
            "key": key,
            "columns": columns,
            "unversioned": unversioned,
            "rules": {rule.rule: rule.to_json() for rule in rules},
        }
        return FeedQuery(rules, list(columns), schema=schema)

    def context(
        self, poll: PollResult, state: State, now: datetime, feed_query: FeedQuery
    ) -> DecisionContext:
        """Return the value that decisions on this state are made on."""
        ready = frozenset(rule.name for rule in self.policy.rules if rule.ready)
        compiled = {rule.rule: rule for rule in feed_query.rules}
        return DecisionContext(poll, state, now, feed_query, ready, compiled)

    def state_at_head(self, poll: PollResult, now: datetime, feed_query: FeedQuery) -> State | Next:
        """The state at HEAD: moved on from where it is, or rebuilt.

        ``Next.AGAIN``: the rebuild wrote into history. Raises Conflict.
        """
        # The saved state can't be used, whatever history says.
        reason = self._rebuild_reason(poll)
        if reason is not None:
            return self._rebuild(reason, poll, now, feed_query)
        # Nothing was committed since, or this tick has applied it.
        state = self.store.load(poll)
        if state.commit != poll.head:
            path = find_line(self.engine, state.commit, poll.head)
            if path is None:
                return self._rebuild(ReasonCode.HISTORY_REWRITTEN, poll, now, feed_query)
            state = self._apply(path, state, poll, now, feed_query)
        # History was set back to before a claim, and grew again: it leads to HEAD, but without it.
        if poll.has_unsaved_claims and self.store.has_lost_claim(state):
            return self._rebuild(ReasonCode.HISTORY_REWRITTEN, poll, now, feed_query)
        return state

    def _apply(
        self,
        path: Sequence[Commit],
        state: State,
        poll: PollResult,
        now: datetime,
        feed_query: FeedQuery,
    ) -> State:
        """Apply the commits of ``path`` to the state, and keep the result until it is saved."""
        self.lag = (len(path), (now - path[0].date).total_seconds()) if path else (0, 0.0)
        projection = Projection(state)
        notices: list[Mapping[str, Any]] = []
        # The reader holds a page of commits in memory at once, however long the path is.
        reader = HistoryReader(self.engine, feed_query, self.policy.rules, self.poller.tables)
        for _, changes, events in reader.read(path, fit_columns=False):
            self.on_progress()
            projection.apply(events)
            notices += [build_notice(one) for one in changes.entries if self._is_notified(one)]
        # Kept only now: a column that is gone ends the reading, and all of it is read again.
        projection.move_to(poll.head)
        state = projection.state()
        self.store.add_notices(notices)
        self.store.stage(poll, state, projection.touched)
        return state

    def _is_notified(self, entry: LedgerEntry) -> bool:
        """A try that fails while its target's outage lasts says nothing new."""
        again = is_unreachable(entry) and entry_payloads.Ended.decode(entry.detail).tries != 1
        return entry.kind in self.notified and not again

    def _rebuild(
        self, reason: ReasonCode, poll: PollResult, now: datetime, feed_query: FeedQuery
    ) -> State | Next:
        """Rebuild the state from the rows at HEAD, which is a decision of its own."""
        from dolt_watch.history.rebuild import lost_attempts, rebuild_state  # seldom

        commit = self.engine.commit_of(poll.head)
        date = commit.date if commit is not None else now
        found = rebuild_state(
            self.engine, poll.head, date, self.policy.rules, feed_query.rules, feed_query.columns
        )
        if reason is ReasonCode.FIRST_START and not found.entries:
            return self._begin_ledger(found.state, poll, now)
        # What other sources than history know of attempts: those are written again, and a state
        # that begins in the middle of a ledger lets no bead go by itself.
        missing = lost_attempts(self.store.local_attempts(poll), found)
        held = (
            [bead.id for bead in found.state.beads.values() if bead.phase is Phase.WAITING]
            if reason is ReasonCode.FIRST_START
            else []
        )
        context = self.context(poll, found.state, now, feed_query)
        recorded = self.executor.record_rebuild(context, reason, missing, held)
        # While attempts are missing, the next poll rebuilds once more, until all are written.
        if isinstance(recorded, State) or not missing:
            state = recorded if isinstance(recorded, State) else found.state
            self.store.stage(poll, state, None)
            self._anew_since = poll.saved
        return recorded

    def _begin_ledger(self, state: State, poll: PollResult, now: datetime) -> State | Next:
        """The first start on a tracker without a ledger: there is nothing to record.

        The state is saved at once, and not when the tick is done: another worker that starts
        meanwhile would take the first decisions for a ledger from elsewhere. No table counts as
        seen yet, so that is no idle moment.
        """
        self.store.stage(poll, state, None)
        self.executor.save(self.store, poll, {}, {}, self.rules(poll, now), self.cache(poll))
        # An executor that writes nothing has saved nothing: the state goes on in memory.
        return state if self.store.has_unsaved(poll) else Next.AGAIN

    def _rebuild_reason(self, poll: PollResult) -> ReasonCode | None:
        """Return why the saved state can't be moved on; None if it can.

        Raises SettingsError: another process took over with other rules.
        """
        if self.store.has_unsaved(poll) or self._anew_since == poll.saved:
            return None
        if not poll.commit:
            return ReasonCode.FIRST_START
        if poll.rules.get("now") != self.rule_hashes:
            if self.rule_hashes in [was for was, _ in poll.rules.get("was", [])]:
                raise SettingsError(
                    "another process runs with other rules on this database, and took over from"
                    " these",
                    where="`when`, `running` or `order_by` of a rule",
                    fix=(
                        "give all processes the same dolt_watch.toml, then run `dolt_watch init`"
                        " with it"
                    ),
                )
            return ReasonCode.RULES_CHANGED
        return None

    def table_states(self, poll: PollResult, now: datetime) -> dict[str, TableState]:
        """Each table's working hash, since when it is seen, and whether it stands uncommitted."""
        if poll.unchanged:
            kept = self._kept_out.items() & {(table, one.hash) for table, one in poll.seen.items()}
            return {
                **poll.seen,
                **{table: poll.seen[table]._replace(dirty=False) for table, _ in kept},
            }
        changed = self.engine.changed(poll.head, WORKING)
        dirty = changed.data | changed.schema
        hashes = {t: hash for t, hash in poll.hashes.items() if t not in self.schema().unversioned}
        self._kept_out = dict(
            self._kept_out.items() & {(table, poll.hashes.get(table, "")) for table in dirty}
        )
        seen = {}
        for table, hash in hashes.items():
            before = poll.seen.get(table)
            since = before.since if before is not None and before.hash == hash else now
            seen[table] = TableState(hash, since, table in dirty and table not in self._kept_out)
        return seen

    def mark_uncommittable(self, tables: Mapping[str, str]) -> None:
        """These cannot be committed as they are.

        No look says so in advance: DOLT_DIFF_SUMMARY and dolt_status name them as any other.

        Until their hash changes they count as not dirty, else a tick would try again without
        end; as many processes as look try once.
        """
        self._kept_out = {**self._kept_out, **tables}

    def rules(self, poll: PollResult, now: datetime) -> dict[str, Any]:
        """What the cursor row keeps of the rules that the state was folded by, and of those
        before.
        """
        was = poll.rules.get("was", [])
        if poll.rules.get("now") not in (None, self.rule_hashes):
            was = [*was, [poll.rules["now"], now.isoformat()]][-5:]
        return {"now": self.rule_hashes, "was": was, "settings": self.policy.settings_hash}

    def cache(self, poll: PollResult) -> Mapping[str, Any]:
        """The compiled text for the cursor row, which has it from here on."""
        self.recompile_rules = False
        return self._fresh or poll.compiled
