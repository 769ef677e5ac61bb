"""A bead's life: the commits that touched it, and what each of them meant.

They are not found by reading history. The bead's row is asked for at some commits: where it is
the same at both ends of a range nothing happened in between, else the range is halved. What the
bead left says where to look first: its events, comments and dependencies have dates, and so have
its decisions. First only ``updated_at`` is asked for, a third of the price of the row; then what
each change found must be what the one before it left, else the range between them is halved by
whole rows. Last, of what it left and those commits did not show, each is looked for by itself.
So the cost goes with the number of changes, and hardly with the length of history.

What that cannot see: a change of the row that was undone to the cell, ``updated_at`` included,
and that left neither an event nor a comment nor a decision.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from typing import NamedTuple

from dolt_watch.beads import feed_query
from dolt_watch.checkpoint.poll import WATCHED
from dolt_watch.core.model import CommitChanges, Event, Rule
from dolt_watch.core.model.columns import target_expression
from dolt_watch.core.projection.event_deriver import derive_events
from dolt_watch.engines import Commit, Engine, Row
from dolt_watch.errors import DatabaseError, NoSuchTable, SchemaChanged
from dolt_watch.history import change_feed, commit_path
from dolt_watch.timestamps import parse_foreign

_LEFT = {
    # table: (what tells its rows apart for one bead, when, the bead)
    "events": ("id", "created_at", "issue_id"),
    "comments": ("id", "created_at", "issue_id"),
    "dependencies": ("{target}", "created_at", "issue_id"),
    "labels": ("label", "NULL", "issue_id"),
    "watch_decision": ("version", "decided_at", "bead_id"),
}
_SECOND = timedelta(seconds=1)
"""A row's own date is in whole seconds, its commit's is not."""


class TimelineEntry(NamedTuple):
    """One commit, and what it meant for the bead."""

    commit: Commit
    events: tuple[Event, ...]


class CommitLine(NamedTuple):
    """The line that the watcher takes through history."""

    first: Commit
    commits: list[Commit]
    """Those after ``begins``, oldest first, each with the parent taken as its only one."""


def line_to(engine: Engine, until: str) -> CommitLine:
    """From the beginning of history, as ``feed.path`` takes it."""
    commits = list(engine.commits(None, until))
    for root in (commit for commit in reversed(commits) if not commit.parents):
        line = commit_path.commit_path(commits, root.hash, until)
        if line is not None:
            return CommitLine(root, line)
    raise DatabaseError(f"history ends nowhere below {until}")


def is_cut(engine: Engine, begins: Commit) -> bool:
    """Return whether history has no parent of its first commit: it is a shallow clone's."""
    commit = engine.commit_of(begins.hash)
    return commit is not None and bool(commit.parents)


class RelatedRow(NamedTuple):
    """Something that the bead left: a row of another table."""

    table: str
    key: str
    at: datetime | None


class CommitSearch:
    """Looks for one bead along a line.

    Places number its commits, from 0, where history begins. Nothing is asked for twice.
    """

    def __init__(self, engine: Engine, bead: str, line: CommitLine) -> None:
        self.engine, self.bead = engine, bead
        self.hashes = [line.first.hash, *(commit.hash for commit in line.commits)]
        self.dates = list(
            accumulate((line.first.date, *(commit.date for commit in line.commits)), max)
        )
        self.last = len(self.hashes) - 1
        self._asked: dict[tuple[str, int], Row] = {}
        self._keys: dict[str, str] = {}
        self._lived: list[int] | None = None

    def row(self, place: int) -> Row:
        """The bead's row; () where there is none."""
        return self._ask("*", place)

    def dated(self, place: int) -> Row:
        """When the row was updated; () where there is none, or where it did not say."""
        return self._ask("updated_at", place)

    def _ask(self, what: str, place: int) -> Row:
        """One by one: UNION ALL of eight takes the server three times as long (1.86.4)."""
        if (what, place) not in self._asked:
            try:
                rows = self.engine.query(
                    f"SELECT {what} FROM issues AS OF ? WHERE id = ?",
                    (self.hashes[place], self.bead),
                )
            except (NoSuchTable, SchemaChanged):  # before beads made its tables, or the column
                rows = []
            self._asked[what, place] = rows[0] if rows else ()
        return self._asked[what, place]

    def places_present(self) -> list[int]:
        """Places at which it is known to have been there.

        Only where the last knows nothing of it is history read for this: a question a commit, in
        the server.
        """
        if self._lived is None:
            if self.row(self.last):
                self._lived = [self.last]
            else:
                hashes = {
                    hash
                    for (hash,) in self.engine.query(
                        "SELECT commit_hash FROM dolt_history_issues WHERE id = ?", (self.bead,)
                    )
                }
                self._lived = [place for place, hash in enumerate(self.hashes) if hash in hashes]
        return self._lived

    def related_rows(self) -> list[RelatedRow]:
        """What it left, as the last commit has it at which it was there; the decisions as the
        very last has them.
        """
        found = []
        for table, (_, at, bead) in _LEFT.items():
            place = (
                self.last
                if table == "watch_decision"
                else (self.places_present() or [self.last])[-1]
            )
            key = self._key(table)
            try:
                rows = self.engine.query(
                    f"SELECT {key}, {at} FROM {table} AS OF ? WHERE {bead} = ?",
                    (self.hashes[place], self.bead),
                )
            except NoSuchTable:
                continue
            found += [RelatedRow(table, str(key), parse_foreign(at)) for key, at in rows]
        return found

    def changed_near(self, traces: Iterable[RelatedRow]) -> set[int]:
        """Places at which the row has another date than one before, as far as what it left leads
        there.
        """
        ends = {0, self.last}
        for place in self.places_present()[:: max(1, len(self.places_present()) - 1)]:
            ends |= {place, min(place + 1, self.last), max(place - 1, 0)}
        for at in {trace.at for trace in traces if trace.at is not None}:
            first = self.guess(at)
            ends |= {first - 1, first, min(bisect_left(self.dates, at + _SECOND), self.last)}
        return _bisect_changes(pairwise(sorted(ends - {-1})), self.dated)

    def between(self, done: Mapping[str, CommitChanges]) -> set[int]:
        """More places at which the row is not what it was one before: where the changes in
        ``done`` do not follow from each other.
        """
        at, left, ranges = 0, None, list[tuple[int, int]]()
        for place in (place for place, hash in enumerate(self.hashes) if hash in done):
            for row in (row for row in done[self.hashes[place]].rows if row.table == "issues"):
                before = {} if row.kind == "added" else row.before
                if before != left:
                    ranges.append((at, place - 1))
                at, left = place, {} if row.kind == "removed" else row.after
        return _bisect_changes([*ranges, (at, self.last)], self.row)

    def guess(self, at: datetime) -> int:
        """The first place that is not older."""
        return min(bisect_left(self.dates, at), self.last)

    def first_place_of(self, trace: RelatedRow) -> int:
        """The place at which it came: near its date, else wherever it is.

        It is known to be there at the end.
        """
        end = (
            self.last
            if trace.table == "watch_decision"
            else (self.places_present() or [self.last])[-1]
        )
        high = min(self.guess(trace.at), end) if trace.at is not None else end // 2
        low, step = high - 1, 1
        while low > 0 and self._has(trace, low):
            low, high, step = low - step, low, step * 2
        low, step = max(low, 0), 1
        while high < end and not self._has(trace, high):
            low, high, step = high, min(high + step, end), step * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._has(trace, middle) else (middle, high)
        return high

    def _has(self, trace: RelatedRow, place: int) -> bool:
        key, bead = self._key(trace.table), _LEFT[trace.table][2]
        try:
            sql = f"SELECT COUNT(*) FROM {trace.table} AS OF ? WHERE {bead} = ? AND {key} = ?"
            return bool(self.engine.query(sql, (self.hashes[place], self.bead, trace.key))[0][0])
        except NoSuchTable:
            return False

    def _key(self, table: str) -> str:
        """Return the SQL expression that distinguishes the rows of one bead."""
        if table not in self._keys:
            targets = (
                target_expression(self.engine.columns("dependencies"))
                if table == "dependencies"
                else ""
            )
            self._keys[table] = _LEFT[table][0].format(target=targets or "NULL")
        return self._keys[table]


def _bisect_changes(ranges: Iterable[tuple[int, int]], ask: Callable[[int], Row]) -> set[int]:
    """Places within the ranges at which the answer is not what it was one before; of a range
    with the same at both ends, none.
    """
    found, left = set[int](), list(ranges)
    while left:
        low, high = left.pop()
        if low == high or ask(low) == ask(high):
            continue
        if high - low == 1:
            found.add(high)
        else:
            middle = (low + high) // 2
            left += [(low, middle), (middle, high)]
    return found


def build_timeline(
    engine: Engine,
    line: CommitLine,
    search: CommitSearch,
    rules: Sequence[Rule],
    lens: feed_query.FeedQuery,
) -> list[TimelineEntry]:
    """In order. ``lens``: of the same rules, with every column of ``issues`` as its cells."""
    traces = search.related_rows()
    done: dict[str, CommitChanges] = {}

    def read(places: set[int]) -> None:
        new = sorted(place for place in places if search.hashes[place] not in done)
        done.update(
            (changes.commit, changes) for changes in _read(engine, line, new, search.bead, lens)
        )

    read(search.changed_near(traces))
    read(search.between(done))
    shown = {
        (row.table, row.key)
        for changes in done.values()
        for row in changes.rows
        if row.kind == "added"
    }
    shown |= {
        ("watch_decision", str(entry.version))
        for changes in done.values()
        for entry in changes.entries
    }
    read(
        {search.first_place_of(trace) for trace in traces if (trace.table, trace.key) not in shown}
        - {0}
    )
    return [
        TimelineEntry(commit, tuple(derive_events(done[commit.hash], rules)))
        for commit in line.commits
        if commit.hash in done
    ]


def _read(
    engine: Engine, line: CommitLine, places: Sequence[int], bead: str, lens: feed_query.FeedQuery
) -> Iterator[CommitChanges]:
    commits = [line.commits[place - 1] for place in places]
    under = lens.under(engine.columns("issues", commits[-1].hash)) if commits else lens
    for changes in change_feed.read_changes(engine, commits, WATCHED, under):
        rows = tuple(row for row in changes.rows if row.bead == bead)
        entries = tuple(entry for entry in changes.entries if entry.bead == bead)
        yield changes._replace(rows=rows, entries=entries)
