"""The reader of history: commits on the worker's line, oldest first, with row changes and events.

The loop, ``replay``, ``events``, ``why`` and the report read through it. So all of them take the
same line through a merge (``commit_path``) and see the same events.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dolt_watch.beads.feed_query import FeedQuery
from dolt_watch.checkpoint.poll import WATCHED
from dolt_watch.core.model import CommitChanges, Event, Rule
from dolt_watch.core.projection.event_deriver import derive_events
from dolt_watch.engines import Changed, Commit, Edge, Engine
from dolt_watch.engines.sql_text import chunks
from dolt_watch.errors import UnknownCommit
from dolt_watch.history import change_feed
from dolt_watch.history.prefetch import prefetch

PAGE = 400
"""Commits whose row changes are in memory at once."""

OURS = "dolt-watch"
"""Author of the commits of dolt_watch. They mark the line that the worker followed."""

LINE_PAGE = 5_000
"""Commits that are listed in memory at once, about 1 KB each, in a history without merges."""


class CommitEvents(NamedTuple):
    """One commit, its row changes, and its events."""

    commit: Commit
    """Its only parent is the one on the line."""
    changes: CommitChanges
    events: Sequence[Event]


class ReadRules(NamedTuple):
    """The query for each changed row, and the rules by which events are derived."""

    query: FeedQuery
    rules: Sequence[Rule]
    """The first rules of ``query``. No event is derived by further ones."""


class _Page(NamedTuple):
    commits: Sequence[Commit]
    by: ReadRules
    touched: change_feed.Touched | None


@dataclass(frozen=True, eq=False, repr=False)
class HistoryReader:
    """Reads history through one engine."""

    engine: Engine
    query: FeedQuery
    rules: Sequence[Rule]
    tables: Sequence[str] = WATCHED

    def commits(self, since: str, until: str, *, page: int = PAGE) -> Iterator[CommitEvents]:
        """Yield each commit after ``since`` up to ``until``, with its events.

        Memory is constant for a history without merges. Below the newest merge, it grows by less
        than 0.5 KB a commit.

        Raises:
            UnknownCommit: ``until`` does not descend from ``since``.
        """
        for line in line_pages(self.engine, since, until):
            yield from self.read(line, page=page)

    def read(
        self,
        line: Iterable[Commit],
        *,
        page: int | None = PAGE,
        ahead: bool = False,
        fit_columns: bool = True,
        switches: Mapping[str, ReadRules] | None = None,
        differences: Mapping[Edge, Changed] | None = None,
    ) -> Iterator[CommitEvents]:
        """Yield the commits of a line with their events, in the line's order.

        Args:
            line: A line of ``find_line``, or a part of one.
            page: Number of commits whose row changes are read at once. None: all.
            ahead: Whether to read the next pages ahead on further connections, for long lines.
            fit_columns: Whether to fit the query to the columns of ``issues`` at the end of each
                page. This costs one statement a page. The loop's query is fitted already.
            switches: Commit → the rules after it.
            differences: Edge → the tables that differ, if they are known already.
        """
        pages = self._pages(line, page, switches or {})
        if not ahead:
            for one in pages:
                yield from self._read(self.engine, one, fit_columns, differences or {})
            return

        def read(engine: Engine, one: _Page) -> list[CommitEvents]:
            return list(self._read(engine, one, fit_columns, differences or {}))

        for _, found in prefetch(self.engine, pages, read):
            yield from found

    def _pages(
        self, line: Iterable[Commit], size: int | None, switches: Mapping[str, ReadRules]
    ) -> Iterator[_Page]:
        """Yield pages of at most ``size`` commits. A page also ends where the rules change."""
        by = ReadRules(self.query, self.rules)
        for piece in chunks(line, LINE_PAGE) if size else [list(line)]:
            touched = (
                _touched(self.engine, piece, [*self.tables, change_feed.LEDGER])
                if len(piece) > PAGE
                else None
            )
            commits: list[Commit] = []
            for commit in piece:
                commits.append(commit)
                if len(commits) == size or commit.hash in switches:
                    yield _Page(commits, by, touched)
                    commits = []
                by = switches.get(commit.hash, by)
            if commits:
                yield _Page(commits, by, touched)

    def _read(
        self,
        engine: Engine,
        page: _Page,
        fit_columns: bool,
        differences: Mapping[Edge, Changed],
    ) -> Iterator[CommitEvents]:
        query, rules = page.by
        if fit_columns:
            query = query.under(engine.columns("issues", page.commits[-1].hash))
        further = len(query.rules) > len(rules)
        found = change_feed.read_changes(
            engine, page.commits, self.tables, query, page.touched, differences
        )
        for commit, changes in zip(page.commits, found, strict=True):
            own = change_feed.narrowed(changes, 0, len(rules)) if further else changes
            yield CommitEvents(commit, changes, list(derive_events(own, rules)))


def commits_of_bead(
    engine: Engine, line: Sequence[Commit], bead: str, tables: Sequence[str] = WATCHED
) -> Iterator[Commit]:
    """Yield the commits of a line that changed a row of the bead or recorded a decision about it.

    The cost is one pass over the line, which reads only IDs.
    """
    return _commits_with_rows(
        engine, line, [*tables, change_feed.LEDGER], lambda before, after: bead in (before, after)
    )


def deletions(engine: Engine, line: Sequence[Commit], beads: Collection[str]) -> Iterator[Commit]:
    """Yield the commits of a line that deleted one of the beads. Cost: as ``commits_of_bead``."""
    return _commits_with_rows(
        engine, line, ["issues"], lambda before, after: after is None and before in beads
    )


def _commits_with_rows(
    engine: Engine,
    line: Sequence[Commit],
    tables: Sequence[str],
    is_wanted: Callable[[str | None, str | None], bool],
) -> Iterator[Commit]:
    def pages() -> Iterator[tuple[list[Commit], change_feed.Touched]]:
        for piece in chunks(line, LINE_PAGE):
            touched = _touched(engine, piece, tables)
            for page in chunks(piece, PAGE):
                yield page, touched

    def read(engine: Engine, page: tuple[list[Commit], change_feed.Touched]) -> list[Commit]:
        return change_feed.commits_with_rows(engine, page[0], tables, page[1], is_wanted)

    for _, found in prefetch(engine, pages(), read):
        yield from found


def _touched(engine: Engine, line: Sequence[Commit], tables: Sequence[str]) -> change_feed.Touched:
    edges = [Edge(commit.parents[0], commit.hash) for commit in line]
    return change_feed.touched_edges(engine, edges, tables)


def find_line(engine: Engine, since: str, until: str) -> list[Commit] | None:
    """Return the ``commit_path`` from ``since`` to ``until``.

    Return None if ``until`` does not descend from ``since``: history was rewritten.
    """
    try:
        return commit_path(engine.commits(since, until), since, until)
    except UnknownCommit:
        return None


def commit_path(commits: Iterable[Commit], since: str, until: str) -> list[Commit] | None:
    """Return the commits after ``since`` up to ``until``, oldest first, each with one parent.

    At a merge, the line follows the parent with the last commit of the worker. The commits of the
    other parents become the ``side`` of the merge. If ``since`` is not an ancestor of ``until``,
    history was rewritten, and the function returns None.

    Args:
        commits: the whole range, newest first. It may contain ``since``.
    """
    newest_first = [commit for commit in commits if commit.hash != since]
    straight = straight_down(newest_first, until)
    bottom = straight[-1].parents[0] if straight else until
    if len(straight) == len(newest_first) and bottom == since:
        return straight[::-1]  # the common case, without the memory that merges need
    known = {commit.hash: commit for commit in newest_first}
    # Commit that descends from ``since`` → number of its last commit by the worker.
    rank = {since: 0}
    for number, commit in enumerate(_parents_first(known, until), start=1):
        behind = max((rank.get(parent, -1) for parent in known[commit].parents), default=-1)
        rank[commit] = number if known[commit].author == OURS and behind >= 0 else behind
    line: list[Commit] = []
    at = until
    while at != since:
        here = known.get(at)
        if here is None or rank[at] < 0:
            return None
        parent = max(here.parents, key=lambda parent: rank.get(parent, -1))  # the first if equal
        line.append(here._replace(parents=(parent,)))
        at = parent
    line.reverse()
    return list(_with_sides(line, known))


def _with_sides(line: Iterable[Commit], known: Mapping[str, Commit]) -> Iterator[Commit]:
    """Yield the line. Each merge has the commits that only its other parents reach as ``side``.

    Each commit is visited once.
    """
    reached: set[str] = set()
    for commit in line:
        parents = known[commit.hash].parents
        if len(parents) > 1:
            side: list[Commit] = []
            stack = [parent for parent in parents if parent not in commit.parents]
            while stack:
                at = stack.pop()
                if at in known and at not in reached and at not in commit.parents:
                    reached.add(at)
                    side.append(known[at])
                    stack.extend(known[at].parents)
            commit = commit._replace(side=tuple(side))
        reached.add(commit.hash)
        yield commit


def straight_down(newest_first: Iterable[Commit], until: str) -> list[Commit]:
    """Return the commits from ``until`` down, newest first, that are newer than a merge or root."""
    line: list[Commit] = []
    below = until
    for commit in newest_first:
        if commit.hash != below or len(commit.parents) != 1:
            break
        line.append(commit)
        below = commit.parents[0]
    return line


def _parents_first(known: Mapping[str, Commit], until: str) -> Iterator[str]:
    """Yield every known commit that ``until`` reaches, after its parents.

    The function does not recurse, because histories are long.
    """
    done: set[str] = set()
    stack = [until]
    while stack:
        commit = stack[-1]
        if commit in done or commit not in known:
            stack.pop()
            continue
        waits = [
            parent for parent in known[commit].parents if parent in known and parent not in done
        ]
        if waits:
            stack.extend(waits)
        else:
            done.add(commit)
            stack.pop()
            yield commit


def line_pages(engine: Engine, since: str, until: str) -> Iterator[list[Commit]]:
    """Yield the line of ``find_line`` in pages, oldest first.

    A straight history is listed twice: downward to find the begin of each page, and upward to
    read it. The part below the newest merge is one page, because the choice of a parent depends
    on all commits below.

    Raises:
        UnknownCommit: ``until`` does not descend from ``since``.
    """
    tops, at = [], until
    while at != since:
        straight = straight_down(engine.commits(since, at, LINE_PAGE), at)
        if not straight:
            line = find_line(engine, since, at)
            if line is None:
                raise UnknownCommit(f"{since} is no ancestor of {until}")
            yield line
            break
        tops.append(at)
        at = straight[-1].parents[0]
    for top in reversed(tops):
        yield straight_down(engine.commits(since, top, LINE_PAGE), top)[::-1]


class WholeLine(NamedTuple):
    """The worker's line from the beginning of history."""

    first: Commit
    """The begin of history. It isn't a step of the line."""
    commits: list[Commit]
    """The commits after it, oldest first."""


def whole_line(engine: Engine, until: str) -> WholeLine:
    """Return the whole line that ends at ``until``. The cost is one listing of history."""
    known = {commit.hash: commit for commit in engine.commits(None, until)}
    at = until
    while known[at].parents:
        at = known[at].parents[0]
    line = commit_path(known.values(), at, until)
    assert line is not None, "first parents lead from until to its root"
    return WholeLine(known[at], line)


def first_commit(engine: Engine, head: str) -> Commit:
    """Return the root of history. Of several roots, it is the end of the line of first parents."""
    at = head
    while True:
        known = {commit.hash: commit for commit in engine.commits(None, at, LINE_PAGE)}
        while at in known and known[at].parents:
            at = known[at].parents[0]
        if at in known:
            return known[at]


def is_cut(engine: Engine, begins: Commit) -> bool:
    """Return whether the first commit has parents that history lacks, as in a shallow clone."""
    commit = engine.commit_of(begins.hash)
    return commit is not None and bool(commit.parents)
