"""The number of statements of a tick on a Dolt server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.checkpoint import turns
from dolt_watch.engines.connect import open_engine
from dolt_watch.engines.dolt import connection
from dolt_watch.engines.dolt.engine import DoltEngine
from tests.acceptance.conftest import Watch

IDLE = 1
NOISE = 6
DISPATCH = 42
"""The most of a dispatch after a commit of bd. docs/decisions/0021-statements.md lists them.
Trackers of bd 1.3 need one less, because their events are in no commit.
"""


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield the statements that are sent in the block."""
    found: list[str] = []
    query = connection._QuietConnection.query

    def heard(self: Any, text: str, unbuffered: bool = False) -> int:
        found.append(text)
        return query(self, text, unbuffered)

    with monkeypatch.context() as patch:
        patch.setattr(connection._QuietConnection, "query", heard)
        yield found


def closed(watch: Watch, beads: Sequence[str]) -> None:
    for bead in beads:
        watch.committed(f"UPDATE issues SET status = 'closed' WHERE id = '{bead}'")


def test_of_each_kind_of_tick(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.change(settle=timedelta(0))
    first = watch.assigned("first")
    assert watch.dispatch()[0].dispatched == 1
    closed(watch, [first])
    watch.dispatch()
    with counted(monkeypatch) as idle:
        watch.dispatch()
    assert len(idle) == IDLE, idle

    other = watch.bd.create("of no rule")
    watch.dispatch()
    watch.committed(f"UPDATE issues SET title = 'another' WHERE id = '{other}'")
    with counted(monkeypatch) as noise:
        assert watch.dispatch()[0].dispatched == 0
    assert len(noise) == NOISE, noise

    watch.assigned("second")
    with counted(monkeypatch) as dispatch:
        assert watch.dispatch()[0].dispatched == 1
    assert len(dispatch) in (DISPATCH, DISPATCH - 1), "\n".join(x[:110] for x in dispatch)


def test_a_changed_schema_is_read_again(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Committed or not. Between two changes the saved shape serves."""
    other = watch.bd.create("of no rule")
    watch.dispatch()

    def reads_columns() -> bool:
        with counted(monkeypatch) as tick:
            watch.committed(f"UPDATE issues SET priority = 1 - priority WHERE id = '{other}'")
            watch.dispatch()
        return any("SHOW COLUMNS FROM `issues`" in text for text in tick)

    assert not reads_columns()
    watch.committed("ALTER TABLE issues ADD COLUMN effort INT")
    assert reads_columns(), "committed"
    assert not reads_columns()
    watch.committed("INSERT INTO dolt_ignore (pattern, ignored) VALUES ('labels', 1)")
    assert reads_columns(), "what no commit takes"
    assert not reads_columns()


def test_a_schema_that_is_not_committed(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.bd.create("of no rule")
    watch.dispatch()
    watch.sql("ALTER TABLE labels ADD COLUMN effort INT")
    for _ in range(2):
        with counted(monkeypatch) as tick:
            watch.sql("UPDATE issues SET priority = 1 - priority")
            watch.dispatch()
        assert any("SHOW COLUMNS FROM `labels`" in text for text in tick)


def contend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all workers take turns, also during the request."""
    begin = turns.Turns.__init__

    def contended(self: turns.Turns, *more: Any) -> None:
        begin(self, *more)
        self.on_conflict()
        self._answer_seconds = 0.0

    monkeypatch.setattr(turns, "WAIT_SECONDS", 1.0)
    monkeypatch.setattr(turns.Turns, "__init__", contended)


@pytest.mark.parametrize("stays", ["held", "free"])
def test_workers_that_take_turns(watch: Watch, monkeypatch: pytest.MonkeyPatch, stays: str) -> None:
    """Also beside a worker that never ends its turn: the lock guards nothing."""
    contend(monkeypatch)
    bead = watch.assigned("in turn")
    with contextlib.closing(open_engine(watch.bd.address)) as other:
        if stays == "held":
            assert other.take_turn(1)
        assert watch.dispatch()[0].dispatched == 1
        assert watch.kinds(bead) == ["claim", "dispatched"]
        assert stays == "held" or other.take_turn(0), "it was released"


def test_a_turn_ends_with_a_saved_state(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next worker in turn decides at once, and applies no commit of the worker before it."""
    contend(monkeypatch)
    watch.change(settle=timedelta(0), rules=(replace(watch.settings.rules[0], max_in_flight=9),))
    beads = [watch.assigned(title) for title in ("one", "two", "three")]
    end, others, read = DoltEngine.end_turn, list[int](), list[str]()

    def then_another(self: DoltEngine) -> None:
        end(self)
        if not others:
            others.append(0)
            with counted(monkeypatch) as sent:
                others.append(watch.dispatch()[0].dispatched)
            read.extend(sent)

    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(DoltEngine, "end_turn", then_another)
    assert watch.dispatch()[0].dispatched == 1
    assert others == [0, 2]
    assert sorted(watch.sent()) == sorted(beads)
    begin = next(number for number, text in enumerate(read) if "START TRANSACTION" in text)
    assert not [text for text in read[:begin] if "dolt_diff_" in text]
