"""History as a stream of derived events, commit by commit, oldest first.

What is held in memory does not grow with history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from dolt_watch.beads import feed_query
from dolt_watch.checkpoint.poll import WATCHED
from dolt_watch.clock import Clock
from dolt_watch.core.model import Event, Rule
from dolt_watch.core.projection.event_deriver import derive_events
from dolt_watch.core.rules.compiled_rule import compile_for
from dolt_watch.engines import Commit, Engine
from dolt_watch.engines.sql_text import chunks
from dolt_watch.errors import UnknownCommit, Unreachable
from dolt_watch.history import change_feed, commit_path
from dolt_watch.history.revisions import head_commit

PAGE = 5_000
"""Commits whose names are held at once, about 1 KB each."""
PART = 100
"""Commits whose rows are."""
POLL = 2.0
"""Seconds between two looks."""


class CommitEvents(NamedTuple):
    """One commit, and what it meant."""

    commit: Commit
    events: list[Event]


def full_feed_query(engine: Engine, rules: Sequence[Rule]) -> feed_query.FeedQuery:
    """All that a row says: for people and programs that want to see it.

    The loop's own lens is narrower.
    """
    columns = engine.columns("issues")
    return feed_query.FeedQuery(
        [compile_for(rule, columns, engine.dialect) for rule in rules],
        list(columns),
        list(columns),
        include_side_values=True,
    )


def read_events(
    engine: Engine, since: str, until: str, rules: Sequence[Rule]
) -> Iterator[CommitEvents]:
    """Every commit after ``since`` up to ``until``, on the line that the watcher takes.

    Raises UnknownCommit where ``until`` does not descend from it.
    """
    lens = full_feed_query(engine, rules)
    for line in commit_pages(engine, since, until):
        for part in chunks(line, PART):
            under = lens.under(engine.columns("issues", part[-1].hash))
            for commit, changes in zip(
                part, change_feed.read_changes(engine, part, WATCHED, under), strict=True
            ):
                yield CommitEvents(commit, list(derive_events(changes, rules)))


def commit_pages(engine: Engine, since: str, until: str) -> Iterator[list[Commit]]:
    """The line in pages, oldest first. Once down for where each page begins, then up again."""
    tops = [until]
    page, below = _page(engine, since, until)
    while below != since:
        tops.append(below)
        page, below = _page(engine, since, below)
    yield page
    for top in reversed(tops[:-1]):
        yield _page(engine, since, top)[0]


def _page(engine: Engine, since: str, top: str) -> tuple[list[Commit], str]:
    """The line down from ``top`` as far as one page holds it, oldest first, and the commit below
    it. At a merge, as ``feed.path``.
    """
    if top == since:
        return [], since
    known = {commit.hash: commit for commit in engine.commits(since, top, PAGE)}
    line: list[Commit] = []
    at, asked = top, False
    while at != since and at in known:
        parents = known[at].parents
        asked = asked or len(parents) > 1
        below = parents[0] if len(parents) == 1 else _taken(engine, since, parents)
        if below is None:
            raise UnknownCommit(f"{since} is no ancestor of {top}")
        line.append(known[at]._replace(parents=(below,)))
        at = below
    if not line:
        raise UnknownCommit(f"{since} is no ancestor of {top}")
    if asked:
        engine.commits(
            since, top, PAGE
        )  # the engine reads edges of the range asked for last many at once
    line.reverse()
    return line, at


def _taken(engine: Engine, since: str, parents: Sequence[str]) -> str | None:
    """The parent that the watcher's line goes through: the first that descends from ``since``
    and behind which alone the watcher made a commit, else the first that descends from it. None
    where none does. Read for a merge only, and not kept.
    """
    lines = [parent for parent in parents if engine.is_ancestor(since, parent)]
    for parent in lines if len(lines) > 1 else ():
        others = [other for other in lines if other != parent]
        ours = (
            commit.hash
            for commit in engine.commits(others[0], parent)
            if commit.author == commit_path.OURS
        )
        if any(engine.is_ancestor(since, commit) for commit in ours):
            return parent
    return lines[0] if lines else None


def first_commit(engine: Engine, head: str) -> Commit:
    """Where history begins: its only root, or of several the one that the line of first parents
    ends at.
    """
    at = head
    while True:
        known = {commit.hash: commit for commit in engine.commits(None, at, PAGE)}
        while at in known and known[at].parents:
            at = known[at].parents[0]
        if at in known:
            return known[at]


class Follower:
    """Stays on: one cheap look a poll, and what came since."""

    def __init__(
        self,
        engine: Engine,
        rules: Sequence[Rule],
        clock: Clock,
        warn: Callable[[str], None],
    ) -> None:
        self.engine, self.rules, self.clock, self.warn = engine, rules, clock, warn
        self._away = False

    def follow(self, since: str) -> Iterator[CommitEvents | None]:
        """Yield the events of new commits, and None after each poll. Never ends by itself."""
        at = since
        while True:
            try:
                head = head_commit(self.engine)
                if head != at and not self.engine.is_ancestor(at, head):
                    begins = first_commit(self.engine, head)
                    self.warn(
                        f"history was rewritten: it begins at {begins.hash} now; events go on after"
                        f" {head}"
                    )
                elif head != at:
                    for passed in read_events(self.engine, at, head, self.rules):
                        yield passed
                        at = passed.commit.hash
                at, self._away = head, False
            except Unreachable as error:
                if not self._away:
                    self.warn(f"{error.message}; looking again every {POLL:g} s")
                self._away = True
            yield None
            self.clock.sleep(POLL)
