"""Reads what a report shows. History is folded once: who asks again folds only what is new."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime

from dolt_watch.beads import feed_query
from dolt_watch.controller.state_reader import StateReader
from dolt_watch.core.model import Capacity, EntryKind
from dolt_watch.engines import Engine
from dolt_watch.engines.sql_text import chunks
from dolt_watch.errors import UnknownCommit
from dolt_watch.history.reader import HistoryReader, find_line
from dolt_watch.inspection.report.lanes import LaneBuilder
from dolt_watch.inspection.report.view_model import Report, build_report
from dolt_watch.inspection.status import Status, collect_status
from dolt_watch.ledger.reader import read_entries
from dolt_watch.replay.replayer import HistoryReplayer, SettingsVersion
from dolt_watch.sanitize import sanitize

TITLE = 120
"""Characters of a bead's title that are shown."""
REBUILDING = frozenset({EntryKind.RESYNC, EntryKind.REPROCESS})


class ReportCollector:
    """Keeps what it folded between reports, and no connection."""

    def __init__(self) -> None:
        self._history: LaneBuilder | None = None
        self._under: SettingsVersion | None = None

    def report(
        self,
        reader: StateReader,
        engine: Engine,
        begin: Callable[[datetime], datetime],
        only: Collection[str] = (),
        capacity: Callable[[str], Capacity] | None = None,
    ) -> Report:
        """``begin``: of the span, by the database's clock.

        ``only``: these beads. ``capacity``: asks a target, None asks none. Raises the errors of
        ``status``.
        """
        now = collect_status(reader, engine, capacity)
        history = self._folded(reader, engine, now)
        since = begin(now.now)
        told = read_entries(engine, since=since)
        shown = {
            *history.lanes,
            *(bead.bead for bead in now.beads),
            *(entry.bead for entry in told),
        }
        titles = dict(titles_of(engine, shown & set(only) if only else shown))
        return build_report(history, now, told, titles, reader.policy.rules, since, only)

    def prune(self, now: Report) -> None:
        """What ended before the span of that report is not asked for again."""
        if self._history is not None:
            self._history.forget(now.since, {(entry.bead, entry.version) for entry in now.entries})

    def _folded(self, reader: StateReader, engine: Engine, now: Status) -> LaneBuilder:
        history = self._history
        if history is None or not self._goes_on(engine, history, now.head):
            self._history = None  # a half-folded one must not be taken up again
            self._history = history = self._whole(reader, engine, now)
        return history

    def _whole(self, reader: StateReader, engine: Engine, now: Status) -> LaneBuilder:
        past = HistoryReplayer(engine, reader.policy, now.head)
        begin = past.first_replayable_commit()
        made = now.state.made
        if begin is None:  # nothing decided yet: from where the watcher began
            begin = made if made and engine.is_ancestor(made, now.head) else now.head
        self._under = past.settings_at(begin)
        commit = engine.commit_of(begin)
        if commit is None:
            raise UnknownCommit(f"history does not hold {begin}")
        history = LaneBuilder(begin, commit.date, past.projection_at(begin, self._under))
        for step in past.steps(begin) if begin != now.head else ():
            history.apply(step.commit.hash, step.changes, step.events, step.projection)
            self._under = step.settings
        return history

    def _goes_on(self, engine: Engine, history: LaneBuilder, head: str) -> bool:
        """What came since, folded on; False where the state was made anew in between, or history
        was rewritten.
        """
        if history.commit == head:
            return True
        under = self._under
        assert under is not None
        line = find_line(engine, history.commit, head)
        if line is None:
            return False
        query = feed_query.FeedQuery(under.compiled, list(engine.columns("issues")))
        for commit, changes, events in HistoryReader(engine, query, under.policy.rules).read(line):
            if any(entry.kind in REBUILDING for entry in changes.entries):
                return False
            history.projection.apply(events)
            history.apply(commit.hash, changes, events, history.projection)
        return True


def titles_of(engine: Engine, beads: Iterable[str]) -> Iterator[tuple[str, str]]:
    """As they are now: bead, title."""
    for part in chunks(sorted(beads), 500):
        marks = ", ".join("?" * len(part))
        for bead, title in engine.query(
            f"SELECT id, title FROM issues WHERE id IN ({marks})", part
        ):
            yield bead, sanitize(title or "", TITLE)
