"""All readers of history take the same line through merges and see the same events."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count

import pytest

from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import Event, Rule
from dolt_watch.engines import Engine
from dolt_watch.errors import UnknownCommit
from dolt_watch.history import reader
from dolt_watch.history.reader import OURS
from dolt_watch.inspection.event_stream import read_events
from dolt_watch.replay.replayer import HistoryReplayer
from tests.acceptance.conftest import rows_of
from tests.support.matrix import chosen
from tests.support.servers import call

pytestmark = pytest.mark.covering(engines="module")

RULES = [Rule("agent")]
BEADS = ["bd-1", "bd-2", "bd-3", "bd-4"]


class Tracker:
    """A tracker with commits on branches.

    Each commit changes another cell, so that no merge conflicts.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine, self.numbers = engine, count()
        engine.execute_ddl(rows_of(BEADS))
        self.first = self._commit("ann")

    def change(self, bead: str, author: str = "ann") -> str:
        self.engine.execute_ddl(
            f"INSERT INTO labels (issue_id, label) VALUES ('{bead}', 'l{next(self.numbers)}')"
        )
        return self._commit(author)

    def assign(self, bead: str, author: str = "ann") -> str:
        sql = f"UPDATE issues SET assignee = 'agent', title = 't{next(self.numbers)}'"
        self.engine.execute_ddl(f"{sql} WHERE id = '{bead}'")
        return self._commit(author)

    def delete(self, bead: str) -> str:
        self.engine.execute_ddl(f"DELETE FROM issues WHERE id = '{bead}'")
        return self._commit("ann")

    def branch(self, name: str) -> None:
        call(self.engine, "dolt_branch", name)

    def checkout(self, name: str) -> None:
        call(self.engine, "dolt_checkout", name)

    def merge(self, name: str) -> None:
        call(self.engine, "dolt_merge", name, "--no-ff", "-m", f"merge {name}")

    def fast_forward(self, name: str) -> None:
        call(self.engine, "dolt_merge", name)

    @property
    def head(self) -> str:
        return str(self.engine.query("SELECT HASHOF('HEAD')")[0][0])

    def _commit(self, author: str) -> str:
        with self.engine.transaction() as tx:
            tables = sorted(self.engine.dirty())
            return tx.dolt_commit(tables, "by hand", f"{author} <{author}@example.com>")


def ours_is_the_second_parent(tracker: Tracker) -> None:
    """Merge main into another branch, and fast-forward main to the merge."""
    tracker.branch("elsewhere")
    tracker.assign("bd-1", OURS)
    tracker.checkout("elsewhere")
    tracker.assign("bd-2")
    tracker.merge("main")
    tracker.checkout("main")
    tracker.fast_forward("elsewhere")
    tracker.change("bd-1")


def both_sides_are_ours(tracker: Tracker) -> None:
    """Make commits of dolt_watch behind both parents of a merge.

    The later commit shows the line that dolt_watch took.
    """
    tracker.branch("side")
    tracker.assign("bd-1", OURS)
    tracker.checkout("side")
    tracker.assign("bd-2", OURS)
    tracker.change("bd-2")
    tracker.checkout("main")
    tracker.merge("side")
    tracker.change("bd-3", OURS)


def criss_cross(tracker: Tracker) -> None:
    """Merge each branch into the other one before the last merge."""
    tracker.branch("side")
    tracker.branch("early")
    tracker.assign("bd-1", OURS)
    tracker.branch("middle")
    tracker.checkout("side")
    tracker.assign("bd-2")
    tracker.merge("middle")
    tracker.change("bd-2", OURS)
    tracker.branch("late")
    tracker.checkout("main")
    tracker.change("bd-1")
    tracker.merge("late")
    tracker.checkout("side")
    tracker.change("bd-4")
    tracker.merge("main")
    tracker.checkout("main")
    tracker.change("bd-3", OURS)
    tracker.merge("side")


def one_branch_after_another(tracker: Tracker) -> None:
    """Merge several branches in sequence, as Dolt makes an octopus merge."""
    for number, bead in enumerate(BEADS):
        tracker.branch(f"side{number}")
        tracker.checkout(f"side{number}")
        tracker.assign(bead, OURS if number == 2 else "ann")
        tracker.checkout("main")
    tracker.change("bd-1")
    for number in range(len(BEADS)):
        tracker.merge(f"side{number}")


SHAPES = [
    ours_is_the_second_parent,
    both_sides_are_ours,
    criss_cross,
    one_branch_after_another,
]


def by_replay(engine: Engine, since: str, until: str) -> Iterator[tuple[object, ...]]:
    past = HistoryReplayer(engine, Policy(RULES, timedelta()), until)
    for step in past.steps(since, past.current):
        yield from lines(step.commit.hash, step.commit.parents, step.events)


def by_events(engine: Engine, since: str, until: str) -> Iterator[tuple[object, ...]]:
    for found in read_events(engine, since, until, RULES):
        yield from lines(found.commit.hash, found.commit.parents, found.events)


def lines(commit: str, parents: tuple[str, ...], events: object) -> Iterator[tuple[object, ...]]:
    assert isinstance(events, list)
    for event in events or [None]:
        assert event is None or isinstance(event, Event)
        yield (
            (commit, parents)
            if event is None
            else (commit, parents, event.what, event.bead, event.changed, event.origin)
        )


def check(engine: Engine, since: str, until: str) -> list[tuple[object, ...]]:
    replayed = list(by_replay(engine, since, until))
    assert list(by_events(engine, since, until)) == replayed
    line = reader.whole_line(engine, until).commits
    for bead in BEADS:
        touched = [commit.hash for commit in reader.commits_of_bead(engine, line, bead)]
        meant = dict.fromkeys(one[0] for one in replayed if len(one) > 2 and one[3] == bead)
        assert [commit for commit in touched if commit in meant] == list(meant)
    return replayed


@pytest.mark.parametrize("shape", SHAPES)
def test_events_and_replay_show_the_same_line(
    beads_engine: Engine, shape: Callable[[Tracker], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(beads_engine)
    shape(tracker)
    replayed = check(beads_engine, tracker.first, tracker.head)
    assert any(len(one) > 2 for one in replayed)
    for page in (1, 2, 3):
        monkeypatch.setattr(reader, "LINE_PAGE", page)
        assert list(by_events(beads_engine, tracker.first, tracker.head)) == replayed


@pytest.mark.parametrize("seed", chosen(range(4), lambda seed: seed < 2))
def test_random_histories(beads_engine: Engine, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, dice = Tracker(beads_engine), random.Random(seed)
    names = ["main"]
    for number in range(20):
        here = dice.choice(names)
        tracker.checkout(here)
        kind = dice.random()
        if kind < 0.2 and len(names) < 4:
            names.append(f"b{number}")
            tracker.branch(names[-1])
        elif kind < 0.45 and len(names) > 1:
            tracker.merge(dice.choice([name for name in names if name != here]))
        else:
            bead = BEADS[names.index(here)]  # One bead for each branch avoids conflicts.
            make = dice.choice([tracker.change, tracker.assign])
            make(bead, dice.choice([OURS, "ann"]))
    tracker.checkout("main")
    for name in names[1:]:
        tracker.merge(name)
    replayed = check(beads_engine, tracker.first, tracker.head)
    on_line = list(dict.fromkeys(one[0] for one in replayed))
    for since in dice.sample(on_line, min(3, len(on_line))):
        check(beads_engine, str(since), tracker.head)
    monkeypatch.setattr(reader, "LINE_PAGE", 2)
    assert list(by_events(beads_engine, tracker.first, tracker.head)) == replayed


def test_a_commit_that_is_no_ancestor(beads_engine: Engine) -> None:
    tracker = Tracker(beads_engine)
    tracker.branch("side")
    behind = tracker.change("bd-1")
    tracker.checkout("side")
    head = tracker.change("bd-2")
    assert reader.find_line(beads_engine, behind, head) is None
    with pytest.raises(UnknownCommit, match=behind):
        list(read_events(beads_engine, behind, head, RULES))
    tracker.merge("main")
    assert reader.find_line(beads_engine, behind, tracker.head) is not None
    assert list(read_events(beads_engine, behind, tracker.head, RULES))


def test_deletions_are_found_at_the_commit_that_the_line_has(beads_engine: Engine) -> None:
    tracker = Tracker(beads_engine)
    tracker.branch("side")
    first = tracker.delete("bd-1")
    tracker.change("bd-2")
    beads_engine.execute_ddl("ALTER TABLE issues ADD COLUMN more INT")
    altering = tracker.delete("bd-2")
    tracker.checkout("side")
    tracker.delete("bd-3")
    tracker.delete("bd-4")
    tracker.checkout("main")
    tracker.merge("side")
    line = reader.find_line(beads_engine, tracker.first, tracker.head)
    assert line is not None

    def found(*beads: str) -> list[str]:
        return [commit.hash for commit in reader.deletions(beads_engine, line, beads)]

    assert found("bd-1", "bd-2", "bd-3", "bd-5") == [first, altering, tracker.head]
    assert found("bd-2") == [altering]
    assert found("bd-5") == found() == []
