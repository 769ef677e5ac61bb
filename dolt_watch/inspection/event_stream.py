"""History as a stream of derived events, commit by commit, oldest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dolt_watch.beads.feed_query import FeedQuery
from dolt_watch.clock import Clock
from dolt_watch.core.model import Rule
from dolt_watch.core.rules.compiled_rule import compile_for
from dolt_watch.engines import Engine
from dolt_watch.errors import Unreachable
from dolt_watch.history.reader import CommitEvents, HistoryReader, first_commit
from dolt_watch.history.revisions import head_commit

PAGE = 100
"""Number of commits whose rows are in memory at once. Rows with all cells are large."""
POLL = 2.0
"""Seconds between two polls."""


def full_feed_query(engine: Engine, rules: Sequence[Rule]) -> FeedQuery:
    """Return the query of all columns. The loop's query reads only those of its rules."""
    columns = engine.columns("issues")
    return FeedQuery(
        [compile_for(rule, columns, engine.dialect) for rule in rules],
        list(columns),
        list(columns),
        include_side_values=True,
    )


def read_events(
    engine: Engine, since: str, until: str, rules: Sequence[Rule]
) -> Iterator[CommitEvents]:
    """Yield each commit after ``since`` up to ``until``, on the worker's line.

    Raises:
        UnknownCommit: ``until`` does not descend from ``since``.
    """
    reader = HistoryReader(engine, full_feed_query(engine, rules), rules)
    yield from reader.commits(since, until, page=PAGE)


@dataclass
class Follower:
    """Polls HEAD, and yields the events of new commits."""

    engine: Engine
    rules: Sequence[Rule]
    clock: Clock
    warn: Callable[[str], None]

    def follow(self, since: str) -> Iterator[CommitEvents | None]:
        """Yield the events of new commits, and None after each poll. Never ends by itself."""
        at, away = since, False
        while True:
            try:
                head = head_commit(self.engine)
                if head != at and not self.engine.is_ancestor(at, head):
                    begins = first_commit(self.engine, head)
                    self.warn(
                        f"history was rewritten: it begins at {begins.hash} now; events continue"
                        f" after {head}"
                    )
                elif head != at:
                    for passed in read_events(self.engine, at, head, self.rules):
                        yield passed
                        at = passed.commit.hash
                at, away = head, False
            except Unreachable as error:
                if not away:
                    self.warn(f"{error.clause}; retrying every {POLL:g} s")
                away = True
            yield None
            self.clock.sleep(POLL)
