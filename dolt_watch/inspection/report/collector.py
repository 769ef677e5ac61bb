"""Reads what a report shows.

History is applied once: the next report of the same collector applies only new commits, and asks
only for titles and entries that it does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any

from dolt_watch.beads.feed_query import FeedQuery
from dolt_watch.controller.state_reader import StateReader
from dolt_watch.core.model import Capacity, EntryKind, LedgerEntry
from dolt_watch.engines import Engine
from dolt_watch.errors import UnknownCommit
from dolt_watch.history.reader import HistoryReader, find_line
from dolt_watch.inspection.attempts import BeadRow, read_rows
from dolt_watch.inspection.report.bead_view import conditions_of
from dolt_watch.inspection.report.lanes import LaneBuilder
from dolt_watch.inspection.report.view_model import (
    FINISHED,
    Place,
    Report,
    build_report,
)
from dolt_watch.inspection.status import Status, collect_status
from dolt_watch.inspection.why.conditions import evaluate_rule
from dolt_watch.inspection.why.decision_snapshot import snapshot_now
from dolt_watch.ledger.reader import read_entries
from dolt_watch.replay.replayer import HistoryReplayer, SettingsVersion
from dolt_watch.sanitize import sanitize

TITLE = 120
"""Characters of a bead's title that are shown."""
CONDITIONS = 50
"""Maximum number of beads whose conditions a file contains: each costs some queries. `dolt_watch
why` and the live page have those of all beads."""
REBUILDING = frozenset({EntryKind.RESYNC, EntryKind.REPROCESS})


class ReportCollector:
    """Keeps lanes, entries and titles between reports, and no connection."""

    def __init__(self, place: Place | None = None) -> None:
        self.place = place or Place()
        self._history: LaneBuilder | None = None
        self._under: SettingsVersion | None = None
        self._entries: dict[tuple[str, int], LedgerEntry] = {}
        self._entries_since: datetime | None = None
        self._facts: dict[str, BeadRow] = {}

    def report(
        self,
        reader: StateReader,
        begin: Callable[[datetime], datetime],
        only: Collection[str] = (),
        capacity: Callable[[str], Capacity] | None = None,
    ) -> Report:
        """Return the report of a span.

        Args:
            begin: Returns the begin of the span, given the database's time.
            only: The only beads to show; empty: all.
            capacity: Asks a target; None asks none.

        Raises:
            DoltWatchError: As ``collect_status`` does.
        """
        now = collect_status(reader, capacity)
        history = self._read_history(reader, now)
        since = begin(now.now)
        entries = self._read_ledger(reader.engine, since)
        shown = {*history.lanes, *(one.bead for one in now.beads), *(one.bead for one in entries)}
        self._read_facts(reader.engine, shown & set(only) if only else shown)
        return build_report(
            history, now, entries, self._facts, reader.policy.rules, since, only, self.place
        )

    def prune(self, shown: Report) -> None:
        """Forget what ended before the span of that report: the next one does not begin earlier."""
        if self._history is not None:
            kept = {(entry.bead, entry.version): entry for entry in shown.entries}
            self._entries, self._entries_since = kept, shown.since
            self._history.forget(shown.since, kept.keys())
            beads = {row.bead for row in shown.rows} | {entry.bead for entry in shown.entries}
            self._facts = {bead: facts for bead, facts in self._facts.items() if bead in beads}

    # -- history --------------------

    def _read_history(self, reader: StateReader, now: Status) -> LaneBuilder:
        history = self._history
        if history is None or not self._continued(reader.engine, history, now.head):
            # If reading fails halfway, the next report must not continue a half-read history.
            self._history = None
            self._entries_since = None
            self._facts = {}
            self._history = history = self._read_whole_history(reader, now)
        return history

    def _read_whole_history(self, reader: StateReader, now: Status) -> LaneBuilder:
        engine = reader.engine
        replayer = HistoryReplayer(engine, reader.policy, now.head)
        begin = replayer.first_replayable_commit()
        made = now.state.made
        if begin is None:  # nothing was decided yet: begin where the worker began
            begin = made if made and engine.is_ancestor(made, now.head) else now.head
        self._under = replayer.settings_at(begin)
        commit = engine.commit_of(begin)
        if commit is None:
            raise UnknownCommit(f"history does not hold {begin}")
        history = LaneBuilder(begin, commit.date, replayer.projection_at(begin, self._under))
        for step in replayer.steps(begin) if begin != now.head else ():
            history.apply(step.commit.hash, step.changes, step.events, step.projection)
            self._under = step.settings
        return history

    def _continued(self, engine: Engine, history: LaneBuilder, head: str) -> bool:
        """Apply new commits. Return False if the state was rebuilt or history was rewritten in
        between: the lanes then must be read again as a whole.
        """
        if history.commit == head:
            return True
        under = self._under
        assert under is not None
        line = find_line(engine, history.commit, head)
        if line is None:
            return False
        query = FeedQuery(under.compiled, list(engine.columns("issues")))
        for commit, changes, events in HistoryReader(engine, query, under.policy.rules).read(line):
            if any(entry.kind in REBUILDING for entry in changes.entries):
                return False
            history.projection.apply(events)
            history.apply(commit.hash, changes, events, history.projection)
            self._entries |= {(entry.bead, entry.version): entry for entry in changes.entries}
            for row in changes.rows:
                self._facts.pop(row.bead, None)
        return True

    # -- ledger and titles --------------------

    def _read_ledger(self, engine: Engine, since: datetime) -> list[LedgerEntry]:
        """Return the entries since a time, newest first, as ``read_entries`` orders them."""
        if self._entries_since is None or since < self._entries_since:
            found = read_entries(engine, since=since)
            self._entries = {(entry.bead, entry.version): entry for entry in found}
            self._entries_since = since
        kept = [entry for entry in self._entries.values() if entry.at >= since]
        kept.sort(key=lambda entry: (entry.bead, -entry.version))
        kept.sort(key=lambda entry: entry.at, reverse=True)
        return kept

    def _read_facts(self, engine: Engine, beads: Collection[str]) -> None:
        missing = sorted(beads - self._facts.keys() - {""})
        self._facts |= dict.fromkeys(missing, BeadRow())  # a deleted bead has no row
        self._facts |= shown_rows(engine, missing)


def shown_rows(engine: Engine, beads: Iterable[str]) -> dict[str, BeadRow]:
    """Return bead → its row now, with its title as the page shows it."""
    rows = read_rows(engine, beads)
    return {bead: row._replace(title=sanitize(row.title, TITLE)) for bead, row in rows.items()}


def read_conditions(reader: StateReader, report: Report) -> dict[str, Any]:
    """Return the conditions of the first open beads of a report, as ``why`` has them.

    The targets are asked for their capacity once.
    """
    engine = reader.engine
    rows = [one for one in report.rows if one.group != FINISHED][:CONDITIONS]
    if not rows:
        return {}
    snapshot = snapshot_now(reader, rows[0].bead)
    columns = engine.columns("issues")
    rules = {rule.name: rule for rule in snapshot.policy.rules}
    return {
        one.bead: conditions_of(
            [evaluate_rule(engine, rules[one.rule], one.bead, snapshot, columns)]
        )
        for one in rows
        if one.rule in rules and one.bead in snapshot.state.beads
    }
