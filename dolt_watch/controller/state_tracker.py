"""The state at HEAD: the saved state with later commits applied, or rebuilt.

``replay.replayer`` does the same for all of history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from dolt_watch import __version__
from dolt_watch.beads.feed_query import FeedQuery
from dolt_watch.beads.schema import KNOWN_TABLES, TrackerSchema, cached_schema, tracker_schema
from dolt_watch.checkpoint.poll import Poller, PollResult, TableState
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.controller.executor import Executor
from dolt_watch.controller.notifications import build_notice
from dolt_watch.controller.tick_result import Next
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import EMPTY, LedgerEntry, Phase, State, entry_payloads
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.projection.projection import Projection
from dolt_watch.core.projection.target_outages import is_unreachable
from dolt_watch.core.rules.compiled_rule import CompiledRule, compile_for, fingerprint
from dolt_watch.engines import WORKING, Changed, Commit, Edge, Engine
from dolt_watch.errors import SettingsError
from dolt_watch.history.change_feed import read_differences
from dolt_watch.history.reader import HistoryReader, find_line
from dolt_watch.ledger.decision_context import DecisionContext

CHECKED = ("watch_migration", "metadata")
"""The tables that ``check_database`` reads."""

IGNORE = "dolt_ignore"
"""The table whose rows say which tables no commit takes."""


class ReadAhead(NamedTuple):
    """The line from the state's commit to HEAD, and the tables that changed on it and since."""

    since: str
    head: str
    line: Sequence[Commit] | None
    """None: HEAD does not descend from ``since``."""
    differences: Mapping[Edge, Changed]
    working: Changed
    """HEAD to the working set."""
    is_checked: bool
    """An earlier tick checked this database for this program and project, and nothing that it
    checked has changed.
    """
    must_be_checked: bool
    """The tables of that check may have changed since this process checked them."""


@dataclass(eq=False, repr=False)
class StateTracker:
    """Keeps the state for the loop. The executor records each rebuild."""

    engine: Engine
    policy: Policy
    rule_hashes: Mapping[str, str]
    """Rule → the hash of its expressions."""
    poller: Poller
    executor: Executor
    store: StateStore
    notified: frozenset[str] = frozenset()
    """Kinds of entries that are reported to the notification target."""
    project_id: str | None = None
    """The tracker's id. None: any."""
    on_progress: Callable[[], None] = lambda: None
    """Called for each applied commit: a long catch-up must not look like a hang to health checks.
    """
    recompile_rules: bool = field(default=False, init=False)
    """The columns in the cursor row are of an older schema of bd."""
    lag: tuple[int, float] = field(default=(0, 0.0), init=False)
    """Number of commits that were applied last, and the age of the oldest of them in seconds."""
    _schema: TrackerSchema | None = field(default=None, init=False)
    """The shape of bd's tables: read once a tick, and again after it changed."""
    _columns: Mapping[str, str] = field(default_factory=dict, init=False)
    """Column of `issues` → its type."""
    _found: Mapping[str, Any] = field(default_factory=dict, init=False)
    """The shape as the cursor row keeps it."""
    _ahead: ReadAhead | None = field(default=None, init=False)
    _fresh: Mapping[str, Any] | None = field(default=None, init=False)
    _anew_since: str | None = field(default=None, init=False)
    """``saved`` of the checkpoint on which the last recorded rebuild is based. Prevents a second
    rebuild before the next save.
    """
    _resync: str = field(default="", init=False)
    """Commit of the last recorded rebuild, until it is applied."""
    _kept_out: Mapping[str, str] = field(default_factory=dict, init=False)
    """Table → the working hash with which it could not be committed, because `dolt_ignore` excludes
    it.
    """

    @property
    def _check(self) -> list[str | None]:
        """The program and the project with which ``check_database`` passes."""
        return [__version__, self.project_id]

    def read_ahead(self, poll: PollResult, *, first: bool) -> ReadAhead:
        """Read what ``state_at_head`` and ``table_states`` need, in two queries.

        It also shows whether the shape of the tables is as saved, so that a tick need not read it.

        Args:
            poll: The poll.
            first: Whether it is the first of a tick. bd may have migrated its tables since the
                last.
        """
        since = self.store.load(poll).commit
        line: Sequence[Commit] | None = [] if since == poll.head else None
        if since and line is None:
            line = find_line(self.engine, since, poll.head)
        # History was rewritten again and lost the rebuild that was just recorded. The rebuilt state
        # may still lead to HEAD, but history lacks the beads that the entry holds, and its reason.
        resync, self._resync = self._resync, ""
        if resync and resync not in {one.hash for one in line or ()}:
            self.store.discard()
            self._anew_since = None
            return self.read_ahead(poll, first=first)
        differences, working = read_differences(self.engine, line or [], poll.head)
        # Tables whose schema or rows changed, committed or not.
        schema = working.schema.union(*(one.schema for one in differences.values()))
        data = working.data.union(*(one.data for one in differences.values()))
        reshaped = IGNORE in data or not schema.isdisjoint((*KNOWN_TABLES, IGNORE))
        # Another process may have saved the state, and the line doesn't show what it has applied.
        if first or reshaped or since == poll.commit:
            self._schema = None
        # The cursor row has the shape, and nothing that it depends on changed since.
        checked = poll.compiled.get("checked") or [None]
        as_saved = (
            line is not None
            and since == poll.commit
            and poll.compiled.get("shape") is not None
            and checked[0] == __version__  # Another release may know other tables.
            and not reshaped
            and not self.recompile_rules
        )
        if as_saved and self._schema is None:
            shape = poll.compiled["shape"]
            self._schema = cached_schema(self.engine, shape)
            self._columns = self._schema.tables["issues"]
            # With it, this process replaces the shape that it has read before.
            self._found = {"unversioned": shape["unversioned"], "shape": shape}
        changed = line is None or not (data | schema).isdisjoint(CHECKED)
        is_checked = as_saved and checked == self._check and not changed
        self._ahead = ReadAhead(
            since=since,
            head=poll.head,
            line=line,
            differences=differences,
            working=working,
            is_checked=is_checked,
            must_be_checked=changed,
        )
        return self._ahead

    def forget_columns(self) -> None:
        """Read the columns again, because a statement used one that does not exist."""
        self.recompile_rules, self._schema = True, None

    def feed_query(self, poll: PollResult) -> FeedQuery:
        """Return the feed query.

        Its SQL is cached in the cursor row, so that a tick need not import sqlglot. It is compiled
        again if it belongs to other rules. Raises UnsupportedSchema.
        """
        if self._schema is None:
            self._schema = tracker_schema(self.engine)
            self._schema.require()
            self._columns = dict(self._schema.tables["issues"])
            working = self._ahead.working if self._ahead is not None else None
            # The shape is saved unless a change of it is not committed.
            committed = (
                working is not None
                and IGNORE not in working.data
                and working.schema.isdisjoint((*KNOWN_TABLES, IGNORE))
            )
            self._found = {
                "unversioned": sorted(self._schema.unversioned),
                "shape": self._schema.to_json() if committed else None,
            }
        schema, rules = self._schema, self.policy.rules
        cache = self._fresh or poll.compiled  # The cursor row contains it only after the tick.
        columns = self._columns
        key = fingerprint(rules, columns, self.engine.dialect, __version__)
        found = {**self._found, "checked": self._check}
        if cache.get("key") == key and not self.recompile_rules:
            compiled = [CompiledRule.from_json(cache["rules"][rule.name]) for rule in rules]
        else:
            compiled = [compile_for(rule, columns, self.engine.dialect) for rule in rules]
            texts = {rule.rule: rule.to_json() for rule in compiled}
            found |= {"key": key, "columns": columns, "rules": texts}
        if any(cache.get(name) != value for name, value in found.items()):
            self._fresh = {**cache, **found}
        return FeedQuery(compiled, list(columns), schema=schema)

    def context(
        self,
        poll: PollResult,
        state: State,
        now: datetime,
        feed_query: FeedQuery,
        tables: Mapping[str, TableState] = EMPTY,
    ) -> DecisionContext:
        """Return the context for decisions on this state. ``tables``: by ``table_states``."""
        ready = frozenset(rule.name for rule in self.policy.rules if rule.ready)
        compiled = {rule.rule: rule for rule in feed_query.rules}
        return DecisionContext(
            poll=poll,
            state=state,
            now=now,
            feed_query=feed_query,
            ready=ready,
            compiled=compiled,
            committed={
                table: one.hash
                for table, one in tables.items()
                if not one.dirty and table not in self._kept_out
            },
        )

    def state_at_head(self, poll: PollResult, now: datetime, feed_query: FeedQuery) -> State | Next:
        """Return the state at HEAD: the saved state with later commits applied, or rebuilt.

        Returns ``Next.AGAIN`` if the rebuild wrote an entry. Raises Conflict.
        """
        reason = self._rebuild_reason(poll)
        if reason is None:
            state = self._apply_changes(poll, now, feed_query)
            # History may have been set back to before a claim, and have grown again: it leads to
            # HEAD, but lacks the claim.
            if state is not None and not (
                poll.has_unsaved_claims and self.store.has_lost_claim(poll, state)
            ):
                return state
            reason = ReasonCode.HISTORY_REWRITTEN
        return self._rebuild(reason, poll, now, feed_query)

    def _apply_changes(
        self, poll: PollResult, now: datetime, feed_query: FeedQuery
    ) -> State | None:
        """Apply the commits since the saved state, and keep the result until it is saved.

        Returns None if they don't lead to HEAD: history was rewritten.
        """
        state, ahead = self.store.load(poll), self._ahead
        assert ahead is not None  # ``read_ahead`` comes before.
        if state.commit == poll.head:
            return state  # Nothing was committed, or this tick has already applied it.
        path = ahead.line
        if path is None:
            return None
        projection = Projection(state)
        self.lag = (len(path), (now - path[0].date).total_seconds())
        notices: list[Mapping[str, Any]] = []
        # The reader keeps one page of commits in memory, so the path may be long.
        reader = HistoryReader(self.engine, feed_query, self.policy.rules, self.poller.tables)
        read = reader.read(path, fit_columns=False, differences=ahead.differences)
        for _, changes, events in read:
            self.on_progress()
            projection.apply(events, changes.commit)
            if self.notified:
                notices += [build_notice(one) for one in changes.entries if self._is_notified(one)]
        # Kept only now: after a missing column, all commits are read again.
        state = projection.state()
        if notices:
            self.store.add_notices(notices)
        self.store.stage(poll, state, projection.touched)
        return state

    def _is_notified(self, entry: LedgerEntry) -> bool:
        """Return whether an entry is reported. A failed try during an outage is not news."""
        again = is_unreachable(entry) and entry_payloads.Ended.decode(entry.detail).tries != 1
        return entry.kind in self.notified and not again

    def _rebuild(
        self, reason: ReasonCode, poll: PollResult, now: datetime, feed_query: FeedQuery
    ) -> State | Next:
        """Rebuild the state from the rows at HEAD, and record that as an entry."""
        from dolt_watch.history.rebuild import lost_attempts, rebuild_state  # Rarely needed.

        commit = self.engine.commit_of(poll.head)
        date = commit.date if commit is not None else now
        found = rebuild_state(
            self.engine, poll.head, date, self.policy.rules, feed_query.rules, feed_query.columns
        )
        if reason is ReasonCode.FIRST_START and not found.entries:
            return self._begin_ledger(found.state, poll, now)
        # Attempts known from other sources than history are written again. If the state begins in
        # the middle of a ledger, its beads are held.
        missing = lost_attempts(self.store.local_attempts(poll), found)
        held = (
            [bead.id for bead in found.state.beads.values() if bead.phase is Phase.WAITING]
            if reason is ReasonCode.FIRST_START
            else []
        )
        context = self.context(poll, found.state, now, feed_query)
        recorded = self.executor.record_rebuild(context, reason, missing, held)
        if isinstance(recorded, State):
            self.store.stage(poll, recorded, None)
            self._anew_since = poll.saved
            return recorded
        # While attempts are missing, the next poll rebuilds again, until all are written.
        if not missing:
            self.store.stage(poll, found.state, None)
            self._anew_since, self._resync = poll.saved, recorded.commit
        return Next.AGAIN

    def _begin_ledger(self, state: State, poll: PollResult, now: datetime) -> State | Next:
        """Return the state of the first start on a tracker without a ledger.

        Nothing needs to be recorded.

        The state is saved at once. Otherwise another worker that starts meanwhile would take the
        first decisions for a ledger from another place. No table counts as seen yet, so the next
        poll isn't idle.
        """
        self.store.stage(poll, state, None)
        self.save(poll, now, {}, {})
        # An executor that writes nothing has saved nothing, so the state stays in memory.
        return state if self.store.has_unsaved(poll) else Next.AGAIN

    def _rebuild_reason(self, poll: PollResult) -> ReasonCode | None:
        """Return why the saved state can't be used. None if it can.

        Raises:
            SettingsError: Another process took over with other rules.
        """
        if self.store.has_unsaved(poll) or self._anew_since == poll.saved:
            return None
        if not poll.commit:
            return ReasonCode.FIRST_START
        if poll.rules.get("now") != self.rule_hashes:
            if self.rule_hashes in [was for was, _ in poll.rules.get("was", [])]:
                raise SettingsError(
                    "Another process with other rules runs on this database and has taken over.",
                    where="`when`, `running` or `order_by` of a rule",
                    fix=(
                        "Give all processes the same dolt_watch.toml, then run"
                        " `dolt_watch init` with it."
                    ),
                )
            return ReasonCode.RULES_CHANGED
        return None

    def table_states(
        self, poll: PollResult, now: datetime, schema: TrackerSchema
    ) -> dict[str, TableState]:
        """Return each table's working hash, when it was first seen, and whether it is
        uncommitted.
        """
        if poll.unchanged:
            kept = self._kept_out.items() & {(table, one.hash) for table, one in poll.seen.items()}
            return {
                **poll.seen,
                **{table: poll.seen[table]._replace(dirty=False) for table, _ in kept},
            }
        ahead = self._ahead
        changed = (
            ahead.working
            if ahead is not None and ahead.head == poll.head
            else self.engine.changed(poll.head, WORKING)
        )
        dirty = changed.data | changed.schema
        hashes = {t: hash for t, hash in poll.hashes.items() if t not in schema.unversioned}
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
        """Mark tables that can't be committed.

        No query shows that in advance: DOLT_DIFF_SUMMARY and dolt_status list them like any other.
        Until their hash changes they count as clean. Otherwise a tick would try again forever. Each
        process tries once.
        """
        self._kept_out = {**self._kept_out, **tables}

    def save(
        self,
        poll: PollResult,
        now: datetime,
        tables: Mapping[str, TableState],
        due: Mapping[str, datetime | None],
        down: Iterable[str] | None = None,
    ) -> None:
        """Save cursor and state: the hashes of the state's rules and of earlier rules, and the
        compiled rules. Raises Conflict.

        Args:
            poll: The poll.
            now: The time to decide by.
            tables: The state of each table.
            due: 'dispatch' and 'reap' → the next time that makes a difference.
            down: The outages that idle ticks report. None: they are as before.
        """
        was = poll.rules.get("was", [])
        if poll.rules.get("now") not in (None, self.rule_hashes):
            was = [*was, [poll.rules["now"], now.isoformat()]][-5:]
        rules = {"now": self.rule_hashes, "was": was, "settings": self.policy.settings_hash}
        self.recompile_rules = False
        compiled = self._fresh or poll.compiled
        self.executor.save(self.store, poll, tables, due, rules, compiled, down)
