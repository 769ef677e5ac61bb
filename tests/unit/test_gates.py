"""Readiness of a queue: only as many beads are asked about as may go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from dolt_watch.engines import Param, Row
from dolt_watch.gates import by_itself, until_ready

NOW = datetime(2026, 11, 24, tzinfo=UTC)
QUEUE = [f"bd-{number:04}" for number in range(10_000)]


class Rows:
    """Answers for ``issues``: the first ``deferred`` beads of the queue are not ready; nothing depends on anything."""

    def __init__(self, deferred: int) -> None:
        self.deferred = frozenset(QUEUE[:deferred])
        self.asked: set[Param] = set()

    def __call__(self, sql: str, params: Sequence[Param] = ()) -> list[Row]:
        self.asked.update(params)
        later = NOW + timedelta(days=1)
        return [(bead, later if bead in self.deferred else None) for bead in params] if "FROM issues" in sql else []


@pytest.mark.parametrize(
    ("deferred", "enough", "held", "asked"),
    [(0, 1, 0, 20), (0, 201, 0, 402), (19, 1, 0, 20), (19, 1, 20, 220), (220, 1, 0, 420), (10_000, 1, 0, 10_000)],
)
def test_the_queue_is_asked_from_its_head_until_enough_may_go(
    deferred: int, enough: int, held: int, asked: int
) -> None:
    rows = Rows(deferred)
    holds = until_ready(rows, QUEUE, enough, QUEUE[:held], ["id", "defer_until"], NOW, "", False)
    assert (len(rows.asked), set(holds)) == (asked, rows.deferred)


@pytest.mark.parametrize("until", ["9999-12-31", "9999-12-31 23:59:59", datetime(9999, 12, 31, tzinfo=UTC)])
def test_deferred_until_the_end_of_time_is_deferred(until: object) -> None:
    """`bd defer --until 9999-12-31` is how people say never, and `bd ready` leaves it out."""
    hold = by_itself({"defer_until": until}, NOW)
    assert hold is not None
    assert hold.why.startswith("deferred until 9999-12-31T")


@pytest.mark.parametrize("until", [None, "", "0000-00-00 00:00:00", "some day", NOW])
def test_what_is_no_time_defers_nothing(until: object) -> None:
    assert by_itself({"defer_until": until}, NOW) is None
