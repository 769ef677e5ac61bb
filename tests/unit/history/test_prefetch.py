"""Reading ahead keeps the order and the errors of sequential reads, and closes each connection."""

from __future__ import annotations

import threading

import pytest

from dolt_watch.history.prefetch import PREFETCH_CONNECTIONS, prefetch


class Connection:
    """A minimal engine that fails if two readers use it at the same time."""

    def __init__(self, made: list[Connection], twins: bool = True) -> None:
        self.made, self.twins, self.closed, self.busy = made, twins, 0, threading.Lock()
        made.append(self)

    def open_sibling(self) -> Connection | None:
        return Connection(self.made) if self.twins else None

    def close(self) -> None:
        self.closed += 1

    def read(self, job: int) -> tuple[int, int]:
        assert self.busy.acquire(blocking=False), "one connection, two readers"
        try:
            if job == 13:
                raise ValueError("13")
            return job * job, self.made.index(self)
        finally:
            self.busy.release()


@pytest.fixture
def made() -> list[Connection]:
    return []


def test_in_order(made: list[Connection]) -> None:
    found = list(prefetch(Connection(made), range(12), Connection.read))
    assert [(job, square) for job, (square, _) in found] == [(job, job * job) for job in range(12)]
    assert {by for _, (_, by) in found} <= set(range(1, PREFETCH_CONNECTIONS + 1)) and len(
        made
    ) == 1 + PREFETCH_CONNECTIONS
    assert [one.closed for one in made] == [0, *[1] * PREFETCH_CONNECTIONS], (
        "the first is whose it was"
    )


@pytest.mark.parametrize(("jobs", "twins"), [(range(1), True), (range(0), True), (range(5), False)])
def test_where_it_stands(made: list[Connection], jobs: range, twins: bool) -> None:
    found = list(prefetch(Connection(made, twins), jobs, Connection.read))
    assert [job for job, _ in found] == list(jobs) and {by for _, (_, by) in found} <= {0}
    assert len(made) == 1


def test_no_more_is_asked_than_can_be_held(made: list[Connection]) -> None:
    asked: list[int] = []
    reading = prefetch(
        Connection(made), (asked.append(n) or n for n in range(1000)), Connection.read
    )
    next(reading)
    assert len(asked) == PREFETCH_CONNECTIONS + 1
    reading.close()
    assert [one.closed for one in made] == [0, *[1] * PREFETCH_CONNECTIONS]


def test_an_error_comes_when_its_turn_has_come(made: list[Connection]) -> None:
    reading = prefetch(Connection(made), range(10, 20), Connection.read)
    assert [next(reading)[0] for _ in range(3)] == [10, 11, 12]
    with pytest.raises(ValueError, match="13"):
        next(reading)
    assert [one.closed for one in made] == [0, *[1] * PREFETCH_CONNECTIONS]
