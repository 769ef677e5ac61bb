"""The present: the state at HEAD, folded on from where it was saved, or made anew.

``replay.replayer`` does the same over all of history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from dolt_watch import __version__
from dolt_watch.beads.feed_query import FeedQuery
from dolt_watch.beads.schema import TrackerSchema, tracker_schema
from dolt_watch.checkpoint.poll import Poller, PollResult, TableState
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.controller.executor import Executor
from dolt_watch.controller.notifications import build_notice
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import LedgerEntry, Phase, State, entry_payloads
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.projection.projection import Projection
from dolt_watch.core.projection.target_outages import is_unreachable
from dolt_watch.core.rules.compiled_rule import CompiledRule, compile_for, fingerprint
from dolt_watch.engines import WORKING, Engine
from dolt_watch.errors import SettingsError
from dolt_watch.history.reader import HistoryReader, find_line
from dolt_watch.ledger.decision_context import DecisionContext


class StateTracker:
    """What the loop stands on. The actor records where the state had to be made anew."""

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        rule_hashes: Mapping[str, str],
        looker: Poller,
        actor: Executor,
        store: StateStore,
        *,
        notified: frozenset[str] = frozenset(),
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        """``notified``: kinds of decisions that are reported; ``on_progress``: called for each
        folded commit.
        """
        self.engine, self.policy, self.rule_hashes = engine, policy, dict(rule_hashes)
        self.looker, self.actor, self.store = looker, actor, store
        self.notified = notified
        self.recompile_rules = False
        """The cursor row's columns turned out to be of an older schema of beads."""
        self._lag = (0, 0.0)
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

    @property
    def lag(self) -> tuple[int, float]:
        """Commits folded last time, and the age of the oldest of them in seconds."""
        return self._lag

    def begin(self) -> None:
        """Forget the shape of the tables: bd may have migrated them since the last tick."""
        self._schema = None

    def forget_columns(self) -> None:
        """Look up the columns again: a statement has named one that does not exist."""
        self.recompile_rules, self._schema = True, None

    def feed_query(self, look: PollResult) -> FeedQuery:
        """Compiled text from the cursor row, so that a tick need not import sqlglot; compiled
        anew where it is of other rules.
        """
        schema = self.schema()
        cache = self._fresh or look.compiled  # the row has it only when the tick is done
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
        self, look: PollResult, state: State, now: datetime, lens: FeedQuery
    ) -> DecisionContext:
        """Return the value that decisions on this state are made on."""
        ready = frozenset(rule.name for rule in self.policy.rules if rule.ready)
        return DecisionContext(look, state, now, lens, ready)

    def state_at_head(self, look: PollResult, now: datetime, lens: FeedQuery) -> State | None:
        """The state at HEAD: folded on from where it stands, or made anew. None: look again."""
        why = self._rebuild_reason(look)
        if why is None:
            state = self._fast_forward(look, now, lens)
            if state is not None and not (
                look.has_unsaved_claims and self.store.has_lost_claim(state)
            ):
                return state
            why = ReasonCode.HISTORY_REWRITTEN
        return self._rebuild(why, look, now, lens)

    def _fast_forward(self, look: PollResult, now: datetime, lens: FeedQuery) -> State | None:
        """Folded on from where it stands; None where history does not lead from there to HEAD."""
        state = self.store.load(look)
        if state.commit == look.head:
            return state
        line = find_line(self.engine, state.commit, look.head)
        if line is None:
            return None
        self._lag = (len(line), (now - line[0].date).total_seconds()) if line else (0, 0.0)
        projection = Projection(state)
        reader = HistoryReader(self.engine, lens, self.policy.rules, self.looker.tables)
        for _, changes, events in reader.read(line, page=None, fit_columns=False):
            self.on_progress()
            projection.apply(events)
            self.store.add_notices(
                build_notice(entry) for entry in changes.entries if self._told(entry)
            )
        projection.move_to(look.head)
        self.store.stage(look, projection.state(), projection.touched)
        return projection.state()

    def _told(self, entry: LedgerEntry) -> bool:
        """A try that fails while its target's outage lasts says nothing new."""
        again = is_unreachable(entry) and entry_payloads.Ended.decode(entry.detail).tries != 1
        return entry.kind in self.notified and not again

    def _rebuild(
        self, why: ReasonCode, look: PollResult, now: datetime, lens: FeedQuery
    ) -> State | None:
        """The state made anew, which is a decision; None where something went into history for
        it: look again.
        """
        from dolt_watch.history.rebuild import lost_attempts, rebuild_state  # seldom

        commit = self.engine.commit_of(look.head)
        date = commit.date if commit is not None else now
        found = rebuild_state(
            self.engine, look.head, date, self.policy.rules, lens.rules, lens.columns
        )
        if why is ReasonCode.FIRST_START and not found.entries:
            self.store.stage(look, found.state, None)
            # At once, and not when the tick is done: who starts here meanwhile would take our
            # first decisions for a ledger from elsewhere. No table counts as seen yet, so nobody
            # takes it for an idle moment.
            self.actor.save(self.store, look, {}, {}, self.rules(look, now), self.cache(look))
            return found.state if self.store.has_unsaved(look) else None
        missing = lost_attempts(self.store.local_attempts(look), found)
        held = (
            [bead.id for bead in found.state.beads.values() if bead.phase is Phase.WAITING]
            if why is ReasonCode.FIRST_START
            else []
        )
        state = self.actor.record_rebuild(
            self.context(look, found.state, now, lens), why, missing, held
        )
        if state is not None or not missing:
            self.store.stage(look, state or found.state, None)
            self._anew_since = look.saved
        return state

    def _rebuild_reason(self, look: PollResult) -> ReasonCode | None:
        if self.store.has_unsaved(look) or self._anew_since == look.saved:
            return None
        if not look.commit:
            return ReasonCode.FIRST_START
        if look.rules.get("now") != self.rule_hashes:
            if self.rule_hashes in [was for was, _ in look.rules.get("was", [])]:
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

    def table_states(self, look: PollResult, now: datetime) -> dict[str, TableState]:
        """Each table's working hash, since when it is seen, and whether it stands uncommitted."""
        if look.unchanged:
            kept = self._kept_out.items() & {(table, one.hash) for table, one in look.seen.items()}
            return {
                **look.seen,
                **{table: look.seen[table]._replace(dirty=False) for table, _ in kept},
            }
        changed = self.engine.changed(look.head, WORKING)
        dirty = changed.data | changed.schema
        hashes = {t: hash for t, hash in look.hashes.items() if t not in self.schema().unversioned}
        self._kept_out = dict(
            self._kept_out.items() & {(table, look.hashes.get(table, "")) for table in dirty}
        )
        seen = {}
        for table, hash in hashes.items():
            before = look.seen.get(table)
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

    def rules(self, look: PollResult, now: datetime) -> dict[str, Any]:
        """What the cursor row keeps of the rules that the state was folded by, and of those
        before.
        """
        was = look.rules.get("was", [])
        if look.rules.get("now") not in (None, self.rule_hashes):
            was = [*was, [look.rules["now"], now.isoformat()]][-5:]
        return {"now": self.rule_hashes, "was": was, "settings": self.policy.settings_hash}

    def cache(self, look: PollResult) -> Mapping[str, Any]:
        """The compiled text for the cursor row, which has it from here on."""
        self.recompile_rules = False
        return self._fresh or look.compiled
