"""A worker takes turns only if another worker competes with it."""

from __future__ import annotations

from typing import cast

import pytest

from dolt_watch.checkpoint import turns
from dolt_watch.checkpoint.turns import QUICK_ANSWER_SECONDS, TURN_SECONDS, Turns
from dolt_watch.engines import Engine


class Lock:
    """A stub of the engine's lock and of the monotonic clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.waits, self.free = 100.0, 0.0, True
        self.calls: list[str] = []
        monkeypatch.setattr(turns.time, "monotonic", lambda: self.now)

    def take_turn(self, seconds: float) -> bool:
        self.calls.append("take")
        self.now += self.waits
        return self.free

    def end_turn(self) -> None:
        self.calls.append("end")


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch) -> Lock:
    return Lock(monkeypatch)


@pytest.fixture
def mine(lock: Lock) -> Turns:
    return Turns(cast(Engine, lock))


def test_a_lone_worker_takes_none(lock: Lock, mine: Turns) -> None:
    for _ in range(2):
        assert not mine.begin()
        mine.on_write("f1")
        mine.on_poll("f1")
        with mine.request():
            lock.now += 1
        assert not mine.is_over
        mine.end_tick()
    assert (lock.calls, mine.are_taken) == ([], False)


@pytest.mark.parametrize("by", ["conflict", "fence"])
def test_one_that_is_overtaken_does(lock: Lock, mine: Turns, by: str) -> None:
    if by == "conflict":
        mine.on_conflict()
    else:
        mine.on_write("f1")
        mine.on_poll("f2")
    assert mine.begin() and mine.begin()
    mine.end()
    mine.end()
    assert lock.calls == ["take", "end"]


def test_a_fence_of_an_earlier_tick_says_nothing(mine: Turns) -> None:
    mine.on_write("f1")
    mine.end_tick()
    mine.on_poll("f2")
    assert not mine.are_taken


def test_a_turn_lasts_for_several_decisions(lock: Lock, mine: Turns) -> None:
    mine.on_conflict()
    mine.begin()
    lock.now += TURN_SECONDS / 2
    mine.on_write("f1")
    assert not mine.is_over
    lock.now += TURN_SECONDS / 2
    assert mine.is_over
    mine.end()
    assert not mine.is_over


def test_a_turn_lasts_until_the_first_decision(lock: Lock, mine: Turns) -> None:
    """Otherwise, no worker decides if reading the state takes longer than a turn."""
    mine.on_conflict()
    mine.begin()
    lock.now += 10 * TURN_SECONDS
    assert not mine.is_over
    mine.on_write("f1")
    assert mine.is_over
    mine.end()
    mine.begin()
    lock.now += 10 * TURN_SECONDS
    assert not mine.is_over


def test_a_request_is_within_the_turn_where_the_last_was_answered_at_once(
    lock: Lock, mine: Turns
) -> None:
    mine.on_conflict()
    kept = []
    for seconds in (0.0, 2 * QUICK_ANSWER_SECONDS, 0.0):
        mine.begin()
        del lock.calls[:]
        with mine.request():
            lock.now += seconds
        kept.append(lock.calls == [])
    assert kept == [False, True, False], "of the first, nothing is known"


def test_a_request_that_fails_counts_too(lock: Lock, mine: Turns) -> None:
    mine.on_conflict()
    with pytest.raises(OSError), mine.request():
        raise OSError
    mine.begin()
    with mine.request():
        pass
    assert lock.calls == ["take"]


def test_turns_end_where_nobody_was_in_the_way(lock: Lock, mine: Turns) -> None:
    mine.on_conflict()
    mine.begin()
    mine.end_tick()
    assert mine.are_taken, "there was a conflict in this tick"
    mine.begin()
    mine.end_tick()
    assert not mine.are_taken
    mine.on_conflict()
    mine.end_tick()
    lock.waits = 1.0
    mine.begin()
    mine.end_tick()
    assert mine.are_taken, "it had to wait"


def test_a_turn_that_cannot_be_had(lock: Lock, mine: Turns) -> None:
    lock.free = False
    mine.on_conflict()
    assert not mine.begin()
    assert not mine.begin(), "it isn't waited for twice"
    assert lock.calls == ["take"]
    mine.on_conflict()
    assert not mine.begin(), "until another race is lost"
    mine.end()
    mine.end_tick()
    assert lock.calls == ["take", "take"]


def test_one_with_a_backlog_does(lock: Lock, mine: Turns) -> None:
    """Other workers may lose each race against this one without a trace."""
    for number in range(turns.MANY_WRITES):
        assert not mine.begin()
        mine.on_write(f"f{number}")
    assert mine.begin()
    mine.end_tick()
    assert not mine.are_taken
    assert lock.calls == ["take", "end"]
