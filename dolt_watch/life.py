"""A bead's life: the commits that touched it, and what each of them meant.

They are not found by reading history. A bead's *print* at a commit is its row, how many events and comments, which labels and dependencies it has, and the
last version of its stream: small questions, by index. Where the prints at both ends of a range are equal nothing happened in between; else the range is halved.
So it costs some ten questions a change, and hardly more where history is long.

What that cannot see: a change that was undone to the cell, ``updated_at`` included, and that left neither an event nor a comment nor a decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from dolt_watch import feed
from dolt_watch.core.derive import derive
from dolt_watch.engines import Commit, Engine, Row
from dolt_watch.errors import DatabaseError, NoSuchTable
from dolt_watch.look import WATCHED
from dolt_watch.model import Event, Rule
from dolt_watch.past import line_through

_ROW = "SELECT * FROM issues AS OF ? WHERE id = ?"
_BESIDE = {
    "watch_decision": "(SELECT MAX(version) FROM watch_decision AS OF ? WHERE bead_id = ?)",
    "events": "(SELECT COUNT(*) FROM events AS OF ? WHERE issue_id = ?)",
    "comments": "(SELECT COUNT(*) FROM comments AS OF ? WHERE issue_id = ?)",
    "labels": "(SELECT GROUP_CONCAT(label) FROM labels AS OF ? WHERE issue_id = ?)",
    "dependencies": "(SELECT GROUP_CONCAT(depends_on_id) FROM dependencies AS OF ? WHERE issue_id = ?)",
}

Print = tuple[Row, ...]


class Deed(NamedTuple):
    """One commit, and what it meant for the bead."""

    commit: Commit
    events: tuple[Event, ...]


class Line(NamedTuple):
    """The line that the watcher takes through history."""

    begins: Commit
    commits: list[Commit]
    """Those after ``begins``, oldest first, each with the parent taken as its only one."""


def line_to(engine: Engine, until: str) -> Line:
    """From the beginning of history. At a merge: the parent behind which the watcher stood last, where there was one."""
    commits = list(engine.commits(None, until))
    merges = any(len(commit.parents) > 1 for commit in commits)
    seen: set[str] = set()
    if merges:
        try:
            seen = {hash for (hash,) in engine.query("SELECT DISTINCT observed_commit FROM watch_decision AS OF ?", (until,))}
        except NoSuchTable:
            pass
    for root in (commit for commit in reversed(commits) if not commit.parents):
        line = line_through(commits, root.hash, until, seen) if merges else _straight(commits)
        if line is not None:
            return Line(root, line)
    raise DatabaseError(f"history ends nowhere below {until}")


def _straight(commits: Sequence[Commit]) -> list[Commit]:
    """All but the first, oldest first."""
    return [commit for commit in reversed(commits) if commit.parents]


def _beside(tables: Sequence[str]) -> str:
    return f"SELECT {', '.join(_BESIDE[table] for table in tables)}"


class Prints:
    """What a bead was at the commits of a line; each asked for once."""

    def __init__(self, engine: Engine, bead: str, line: Line) -> None:
        self.engine, self.bead = engine, bead
        self.hashes = [line.begins.hash, *(commit.hash for commit in line.commits)]
        self._known: dict[int, Print] = {}
        self._absent = dict.fromkeys(("issues", *_BESIDE), -1)
        """Table → the newest place at which it was not there yet."""

    def at(self, place: int) -> Print:
        if place not in self._known:
            row = self._ask(place, ("issues",), lambda _: _ROW)
            # a bead that is not there has nothing beside its row but its stream: the rest goes with it
            beside = self._ask(place, tuple(_BESIDE) if row else ("watch_decision",), _beside)
            self._known[place] = (row, beside if any(value is not None for value in beside) else ())
        return self._known[place]

    def exists(self, place: int) -> bool:
        return bool(self.at(place)[0])

    def _ask(self, place: int, tables: Sequence[str], sql: Callable[[Sequence[str]], str]) -> Row:
        """The first row of it; without those tables that history did not have yet."""
        while have := [table for table in tables if place > self._absent[table]]:
            try:
                rows = self.engine.query(sql(have), (self.hashes[place], self.bead) * len(have))
                return rows[0] if rows else ()
            except NoSuchTable as error:
                if error.table not in have:
                    raise
                self._absent[error.table] = place
        return ()

    def changes(self) -> list[int]:
        """Places at which the bead is not what it was one before, in order."""
        last = len(self.hashes) - 1
        ends = sorted({0, last, *self._lived(last)})
        found, open_ranges = list[int](), list(zip(ends, ends[1:], strict=False))
        while open_ranges:
            low, high = open_ranges.pop()
            if self.at(low) == self.at(high):
                continue
            if high - low == 1:
                found.append(high)
            else:
                middle = (low + high) // 2
                open_ranges += [(low, middle), (middle, high)]
        return sorted(found)

    def _lived(self, last: int) -> Iterable[int]:
        """Places at which it was there, for one that both ends of history know nothing of. Only this reads history: a question a commit, in the server."""
        if any(self.at(0)) or any(self.at(last)):
            return ()
        hashes = {hash for (hash,) in self.engine.query("SELECT commit_hash FROM dolt_history_issues WHERE id = ?", (self.bead,))}
        return [place for place, hash in enumerate(self.hashes) if hash in hashes]


def life(engine: Engine, line: Line, places: Sequence[int], bead: str, rules: Sequence[Rule], lens: feed.Lens) -> Iterator[Deed]:
    """``places``: of ``Prints.changes``."""
    tables = [table for table in WATCHED if engine.columns(table)]
    part = [line.commits[place - 1] for place in places]
    for commit, changes in zip(part, feed.read(engine, part, tables, lens), strict=True):
        rows = tuple(row for row in changes.rows if row.bead == bead)
        entries = tuple(entry for entry in changes.entries if entry.bead == bead)
        yield Deed(commit, tuple(derive(changes._replace(rows=rows, entries=entries), rules)))
