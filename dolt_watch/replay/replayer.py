"""Replay of history with the loop's own feed, event derivation, and projection.

The replay rebuilds the state at the same commits as the loop: at the start, after history was
rewritten, and after a change of the rules. A resync names that commit (``observed``), as does each
decision after it (``given.made``), and their settings (``watch_settings``). Commits before the
first rebuild are replayed only on request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

from dolt_watch.beads import feed_query
from dolt_watch.beads.schema import TrackerSchema, tracker_schema
from dolt_watch.config import from_canonical_json
from dolt_watch.core.decisions.candidates import with_queue_order
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import CommitChanges, EntryKind, Event, LedgerEntry, State
from dolt_watch.core.model.recorded_inputs import RecordedInputs
from dolt_watch.core.projection.projection import Projection
from dolt_watch.core.rules.compiled_rule import CompiledRule, compile_for
from dolt_watch.engines import Commit, Engine
from dolt_watch.errors import DoltWatchError, NoSuchTable, UnknownCommit
from dolt_watch.history.reader import HistoryReader, ReadRules, find_line
from dolt_watch.history.rebuild import rebuild_state
from dolt_watch.ledger import reader


class SettingsVersion(NamedTuple):
    """The settings of decisions, with compiled rules."""

    policy: Policy
    compiled: tuple[CompiledRule, ...]


class ReplayStep(NamedTuple):
    """One commit, its events, and the projection after it.

    The projection is the same object in every step: copy the values that you keep.
    """

    commit: Commit
    changes: CommitChanges
    events: Sequence[Event]
    projection: Projection
    settings: SettingsVersion


class ReplayResult(NamedTuple):
    """The end of a replay."""

    state: State
    settings: SettingsVersion
    commits: int
    """Number of commits that were replayed."""


class HistoryReplayer:
    """Replays history up to ``until`` through one engine.

    ``policy`` replaces settings that history does not contain.
    """

    def __init__(self, engine: Engine, policy: Policy, until: str) -> None:
        """Read the ledger.

        Raises:
            UnknownCommit: History does not contain ``until``.
        """
        self.engine, self.until = engine, until
        self.columns = engine.columns("issues")
        """The current columns of issues. An older commit can have other columns."""
        self.current = self.compiled_under(policy)
        self._settings: dict[str, SettingsVersion | None] = {}
        self._lines: dict[str, list[Commit] | None] = {}
        self.texts: dict[str, str] = {}
        self.entries: list[LedgerEntry] = []
        """The whole ledger as of ``until``, in the order of its clock."""
        with suppress(NoSuchTable):
            sql = f"SELECT hash, text FROM watch_settings AS OF '{until}'"
            self.texts = dict(engine.query(sql))
        with suppress(NoSuchTable):
            entries = reader.read_ledger_at(engine, until)
            self.entries = sorted(entries, key=lambda one: (one.at, one.bead, one.version))
        self.rebuild_points: dict[str, str] = {}
        """Commit of a rebuild of the state → hash of its settings, in order of time."""
        for entry in self.entries:
            resync = entry.observed if entry.kind is EntryKind.RESYNC else ""
            if made := resync or RecordedInputs.decode(entry.detail).made:
                self.rebuild_points.setdefault(made, entry.settings_hash)

    @cached_property
    def schema(self) -> TrackerSchema:
        """Return the current schema of the beads tables."""
        return tracker_schema(self.engine)

    # -- ledger and settings --------------------

    def find_settings(self, settings_hash: str) -> SettingsVersion | None:
        """Return the settings of a hash; None if history lacks them or they can't be parsed."""
        if settings_hash not in self._settings:
            self._settings[settings_hash] = self._read(settings_hash)
        return self._settings[settings_hash]

    def _read(self, settings_hash: str) -> SettingsVersion | None:
        text = self.texts.get(settings_hash)
        if text is None:
            return None
        try:
            rules, settle = from_canonical_json(text)
            policy = Policy(rules, settle, settings_hash=settings_hash)
            return self.compiled_under(policy, self._columns_under(settings_hash))
        except (DoltWatchError, ValueError, TypeError, KeyError):
            return None

    def _columns_under(self, settings_hash: str) -> Mapping[str, str]:
        """Return the columns for the rules of these settings.

        They are the current columns and the columns of the first commit that a decision under
        these settings observed.
        """
        first = next(
            (entry.observed for entry in self.entries if entry.settings_hash == settings_hash), ""
        )
        known = self.engine.commit_of(first) is not None
        return self.columns | (self.engine.columns("issues", first) if known else {})

    def compiled_under(
        self, policy: Policy, columns: Mapping[str, str] | None = None
    ) -> SettingsVersion:
        """Return settings with their rules compiled for these columns. None: the current ones."""
        columns, dialect = columns or self.columns, self.engine.dialect
        compiled = tuple(compile_for(rule, columns, dialect) for rule in policy.rules)
        return SettingsVersion(with_queue_order(policy, compiled), compiled)

    # -- commits --------------------

    def line(self, since: str) -> list[Commit] | None:
        """Return the commits after ``since`` up to ``until`` on the worker's line.

        None if ``until`` does not descend from ``since``.
        """
        if since not in self._lines:
            # Only the last line is kept: callers ask for it again to replay it.
            self._lines = {since: find_line(self.engine, since, self.until)}
        return self._lines[since]

    def first_replayable_commit(self) -> str | None:
        """Return the first commit from which decisions can be replayed, or None."""
        made = self.rebuild_points
        return next((one for one in made if self.engine.is_ancestor(one, self.until)), None)

    # -- replaying --------------------

    def projection_at(self, commit: str, under: SettingsVersion) -> Projection:
        """Rebuild the projection at a commit."""
        known = self.engine.commit_of(commit)
        if known is None:
            raise UnknownCommit(f"History does not contain {commit}.")
        columns, rules = list(self.engine.columns("issues", commit)), under.policy.rules
        found = rebuild_state(self.engine, commit, known.date, rules, under.compiled, columns)
        return Projection(found.state)

    def steps(
        self,
        since: str,
        under: SettingsVersion | None = None,
        also: Sequence[CompiledRule] = (),
        start: Projection | None = None,
        cells: Sequence[str] = feed_query.CELLS,
    ) -> Iterator[ReplayStep]:
        """Yield every commit after ``since`` with the projection after it.

        Args:
            under: The settings of the replay. None: the recorded settings of each commit.
            also: Additional rules to evaluate for each changed row. Their answers come last in
                ``changes`` and do not affect the projection.
            start: The projection at ``since``, if the caller has it. It is modified.
            cells: Columns of issues whose values each row change contains.

        Raises:
            UnknownCommit: ``until`` does not descend from ``since``.
        """
        line = self.line(since)
        if line is None:
            raise UnknownCommit(f"{since} is not an ancestor of {self.until}.")
        now = under or self.settings_at(since)
        projection = start or self.projection_at(since, now)
        made = {} if under is not None else self.rebuild_points
        turns = {
            commit.hash: self.settings_or_current(made[commit.hash])
            for commit in line
            if commit.hash in made
        }

        def read_rules(settings: SettingsVersion) -> ReadRules:
            query = feed_query.FeedQuery((*settings.compiled, *also), list(self.columns), cells)
            return ReadRules(query, settings.policy.rules)

        history = HistoryReader(self.engine, *read_rules(now))
        switches = {commit: read_rules(settings) for commit, settings in turns.items()}
        for commit, changes, events in history.read(line, ahead=True, switches=switches):
            projection.apply(events, commit.hash)
            if commit.hash in turns:
                now = turns[commit.hash]
                projection = self.projection_at(commit.hash, now)
            yield ReplayStep(commit, changes, events, projection, now)

    def replay_from(self, since: str) -> ReplayResult:
        """Return the state at ``until``, rebuilt at ``since`` and replayed from there.

        Raises:
            UnknownCommit: ``until`` does not descend from ``since``.
        """
        last, commits = None, 0
        for step in self.steps(since):
            last, commits = step, commits + 1
        if last is not None:
            return ReplayResult(last.projection.state(), last.settings, commits)
        under = self.settings_or_current(self.rebuild_points.get(since, ""))
        return ReplayResult(self.projection_at(since, under).state(), under, 0)

    def settings_at(self, commit: str) -> SettingsVersion:
        """Return the settings at a commit: the settings of the last rebuild up to the commit."""
        made = self.rebuild_points
        return self.settings_or_current(
            made.get(self.last_rebuild_before(commit) or "", next(iter(made.values()), ""))
        )

    def last_rebuild_before(self, commit: str) -> str | None:
        """Return the commit of the last rebuild up to a commit; None if it is not known."""
        return next(
            (at for at in reversed(self.rebuild_points) if self.engine.is_ancestor(at, commit)),
            None,
        )

    def settings_or_current(self, settings_hash: str) -> SettingsVersion:
        """Return the settings of a hash, or the current settings if history lacks them."""
        return self.find_settings(settings_hash) or self.current
