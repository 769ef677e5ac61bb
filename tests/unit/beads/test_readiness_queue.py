"""Readiness of a queue: dolt_watch checks only as many beads as it can dispatch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from dolt_watch.beads.readiness import unready_until_enough
from dolt_watch.beads.schema import TrackerSchema
from dolt_watch.engines import Engine, Param, Row

NOW = datetime(2026, 11, 24, tzinfo=UTC)
QUEUE = [f"bd-{number:04}" for number in range(10_000)]


class Rows:
    """A database without dependencies, in which the first ``deferred`` beads are deferred."""

    def __init__(self, deferred: int) -> None:
        self.deferred = frozenset(QUEUE[:deferred])
        self.asked: set[Param] = set()
        self.queries = 0

    def query(self, sql: str, params: Sequence[Param] = ()) -> list[Row]:
        # The first parameter may be the commit.
        beads = params[sql.count("AS OF ?") :]
        self.asked.update(beads)
        self.queries += 1
        later = NOW + timedelta(days=1)
        return (
            [(bead, later if bead in self.deferred else None) for bead in beads]
            if "FROM issues" in sql
            else []
        )


@pytest.mark.parametrize(
    ("deferred", "enough", "held", "asked"),
    [
        (0, 1, 0, 4),
        (0, 201, 0, 402),
        (19, 1, 0, 24),
        (19, 1, 20, 24),
        (220, 1, 0, 324),
        (10_000, 1, 0, 10_000),
    ],
)
def test_the_queue_is_asked_from_its_head_until_enough_may_go(
    deferred: int, enough: int, held: int, asked: int
) -> None:
    rows = Rows(deferred)
    schema = TrackerSchema(
        {
            "issues": {"id": "varchar", "defer_until": "datetime"},
            "dependencies": {"issue_id": "varchar", "depends_on_id": "varchar"},
        }
    )
    engine = cast(Engine, rows)
    held_back = QUEUE[:held]
    found = unready_until_enough(engine, QUEUE, enough, held_back, schema, NOW, "c0", False)
    assert (len(rows.asked), set(found.holds)) == (asked, rows.deferred)
    assert asked > 4 or rows.queries == 2, (
        "the rows and their dependencies: two queries, if there are none"
    )
