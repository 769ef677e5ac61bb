"""The past, folded again: the loop's own feed, derive and fold over history as it is, as a stream.

Where the loop made its state anew (the first time, after history was rewritten, under other
rules), so does this: each decision says at which commit that was (``given.made``), and under
which settings it was made (``watch_settings``). What comes before the first such commit nobody
folded, unless one is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dolt_watch.beads import feed_query
from dolt_watch.beads.schema import TrackerSchema, tracker_schema
from dolt_watch.config import from_canonical_json
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import CommitChanges, Event, LedgerEntry, State
from dolt_watch.core.model.recorded_inputs import RecordedInputs
from dolt_watch.core.projection.projection import Projection
from dolt_watch.core.rules.compiled_rule import CompiledRule, compile_for
from dolt_watch.engines import Commit, Engine
from dolt_watch.errors import DoltWatchError, NoSuchTable, UnknownCommit
from dolt_watch.history.reader import HistoryReader, ReadRules, find_line
from dolt_watch.history.rebuild import rebuild_state
from dolt_watch.ledger import reader


class SettingsVersion(NamedTuple):
    """Settings that decisions were made under."""

    policy: Policy
    compiled: tuple[CompiledRule, ...]


class ReplayStep(NamedTuple):
    """One commit, what it meant, and the projection after it: the same object in every step, so
    copy what you keep.
    """

    commit: Commit
    changes: CommitChanges
    events: Sequence[Event]
    projection: Projection
    settings: SettingsVersion


class ReplayResult(NamedTuple):
    """Where folding ended."""

    state: State
    settings: SettingsVersion
    commits: int
    """So many were folded."""


class HistoryReplayer:
    """History up to ``until`` through one engine.

    ``policy``: what stands in for settings that history does not hold.
    """

    def __init__(self, engine: Engine, policy: Policy, until: str) -> None:
        """Raises UnknownCommit for ``until``."""
        self.engine, self.until = engine, until
        self.columns = engine.columns("issues")
        """As they are now; a commit of the past may have others."""
        self.current = self._under(policy, self.columns)
        self._schema: TrackerSchema | None = None
        self._settings: dict[str, SettingsVersion | None] = {}
        self._lines: dict[str, list[Commit] | None] = {}
        self.texts = self._texts()
        self.entries = self._entries()
        """The whole ledger as ``until`` has it, in the order of its clock."""
        self.rebuild_points = self._made()
        """Commit at which state was made anew → hash of the settings, in order."""

    @property
    def schema(self) -> TrackerSchema:
        """The shape of beads' tables as they are now."""
        if self._schema is None:
            self._schema = tracker_schema(self.engine)
        return self._schema

    # -- what history holds beside commits --------------------

    def _entries(self) -> list[LedgerEntry]:
        try:
            return sorted(
                reader.read_ledger_at(self.engine, self.until),
                key=lambda entry: (entry.at, entry.bead, entry.version),
            )
        except NoSuchTable:
            return []

    def _made(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in self.entries:
            commit = RecordedInputs.decode(entry.detail).made
            if commit:
                found.setdefault(commit, entry.settings_hash)
        return found

    def _texts(self) -> dict[str, str]:
        try:
            return dict(
                self.engine.query(f"SELECT hash, text FROM watch_settings AS OF '{self.until}'")
            )
        except NoSuchTable:
            return {}

    def find_settings(self, settings_hash: str) -> SettingsVersion | None:
        """The settings of that hash; None where history does not hold them, or this program
        cannot read them.
        """
        if settings_hash not in self._settings:
            self._settings[settings_hash] = self._read(settings_hash)
        return self._settings[settings_hash]

    def _read(self, settings_hash: str) -> SettingsVersion | None:
        text = self.texts.get(settings_hash)
        if text is None:
            return None
        try:
            rules, settle = from_canonical_json(text)
            return self._under(
                Policy(rules, settle, settings_hash=settings_hash),
                self._columns_under(settings_hash),
            )
        except (DoltWatchError, ValueError, TypeError, KeyError):
            return None

    def _columns_under(self, settings_hash: str) -> Mapping[str, str]:
        """Columns that rules of these settings could use: those of the first commit that was
        decided on under them, and today's.
        """
        first = next(
            (entry.observed for entry in self.entries if entry.settings_hash == settings_hash), ""
        )
        known = self.engine.commit_of(first) is not None
        return self.columns | (self.engine.columns("issues", first) if known else {})

    def _under(self, policy: Policy, columns: Mapping[str, str]) -> SettingsVersion:
        compiled = tuple(compile_for(rule, columns, self.engine.dialect) for rule in policy.rules)
        return SettingsVersion(
            policy._replace(descending={one.rule: one.descending for one in compiled}), compiled
        )

    # -- commits --------------------

    def line(self, since: str) -> list[Commit] | None:
        """The commits from after ``since`` to ``until`` as the watcher saw them; None where
        ``until`` does not descend from it.
        """
        if since not in self._lines:
            # the last one asked for: it is asked for again, to be folded
            self._lines = {since: find_line(self.engine, since, self.until)}
        return self._lines[since]

    def first_replayable_commit(self) -> str | None:
        """The first commit from which decisions can be folded again; None where none of them is
        in this history any more.
        """
        return next(
            (
                commit
                for commit in self.rebuild_points
                if self.engine.is_ancestor(commit, self.until)
            ),
            None,
        )

    # -- folding --------------------

    def projection_at(self, commit: str, under: SettingsVersion) -> Projection:
        """The projection made anew at a commit."""
        known = self.engine.commit_of(commit)
        if known is None:
            raise UnknownCommit(f"history does not hold {commit}")
        columns = list(self.engine.columns("issues", commit))
        found = rebuild_state(
            self.engine, commit, known.date, under.policy.rules, under.compiled, columns
        )
        return Projection(found.state)

    def steps(
        self,
        since: str,
        under: SettingsVersion | None = None,
        also: Sequence[CompiledRule] = (),
        start: Projection | None = None,
    ) -> Iterator[ReplayStep]:
        """Every commit after ``since``, folded.

        ``under``: settings to fold by throughout; else those that each stretch was folded by.

        ``also``: more rules that the database is asked of each changed row: their answers come
        last in ``changes``, and nothing is folded by them. ``start``: the projection made anew
        at ``since``, where one has it already; it is folded on. Raises UnknownCommit where
        ``until`` does not descend from ``since``.
        """
        line = self.line(since)
        if line is None:
            raise UnknownCommit(f"{since} is no ancestor of {self.until}")
        now = under or self.settings_at(since)
        projection = start or self.projection_at(since, now)
        made = {} if under is not None else self.rebuild_points
        turns = {
            commit.hash: self.settings_or_current(made[commit.hash])
            for commit in line
            if commit.hash in made
        }

        def read_rules(settings: SettingsVersion) -> ReadRules:
            query = feed_query.FeedQuery((*settings.compiled, *also), list(self.columns))
            return ReadRules(query, settings.policy.rules)

        history = HistoryReader(self.engine, *read_rules(now))
        switches = {commit: read_rules(settings) for commit, settings in turns.items()}
        for commit, changes, events in history.read(line, ahead=True, switches=switches):
            projection.apply(events)
            projection.move_to(commit.hash)
            if commit.hash in turns:
                now = turns[commit.hash]
                projection = self.projection_at(commit.hash, now)
            yield ReplayStep(commit, changes, events, projection, now)

    def replay_from(self, since: str) -> ReplayResult:
        """The state at ``until``, made anew at ``since`` and folded on from there.

        Raises UnknownCommit as ``steps`` does.
        """
        last, commits = None, 0
        for step in self.steps(since):
            last, commits = step, commits + 1
        if last is not None:
            return ReplayResult(last.projection.state(), last.settings, commits)
        under = self.settings_or_current(self.rebuild_points.get(since, ""))
        return ReplayResult(self.projection_at(since, under).state(), under, 0)

    def settings_at(self, commit: str) -> SettingsVersion:
        """The settings that it was folded by: those of the last commit up to it at which the
        state was made anew.
        """
        made = self.rebuild_points
        return self.settings_or_current(
            made.get(self.last_rebuild_before(commit) or "", next(iter(made.values()), ""))
        )

    def last_rebuild_before(self, commit: str) -> str | None:
        """The last commit up to it at which the state was made anew; None where that is not
        known.
        """
        return next(
            (at for at in reversed(self.rebuild_points) if self.engine.is_ancestor(at, commit)),
            None,
        )

    def settings_or_current(self, settings_hash: str) -> SettingsVersion:
        """As ``under``, or the settings that stand in."""
        return self.find_settings(settings_hash) or self.current
