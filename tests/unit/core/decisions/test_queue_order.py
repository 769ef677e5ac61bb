"""The order of a queue, including values that can't be compared with each other."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from dolt_watch.core.decisions.candidates import in_queue_order, queue_sort_key
from dolt_watch.core.model import Bead, Phase

CLASSES: list[list[Any]] = [
    [None, float("nan"), Decimal("nan")],
    [-1, False, 0.5, True, Decimal("1.5"), 2, timedelta(seconds=3), 4],
    [
        # One hour before 2026-01-01 in UTC.
        datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))),
        date(2026, 1, 1),
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 1),  # noqa: DTZ001
        date(2026, 1, 2),
    ],
    ["", "10", "9", "a", "ä"],
    [b"", bytearray(b"a"), b"b"],
    [["a"], ["b"], {"a": 1}],
]


def in_order(ranks: list[tuple[Any, ...]], *descending: bool) -> list[str]:
    """Return the positions of the ranks in queue order. The first rank is '0'."""
    named = sorted((queue_sort_key(rank, descending, f"{n:03}"), n) for n, rank in enumerate(ranks))
    return [str(n) for _, n in named]


def test_null_first_then_numbers_moments_text_bytes_and_the_rest() -> None:
    values = [(value,) for values in CLASSES for value in values]
    assert in_order(values) == [str(n) for n in range(len(values))]
    assert in_order([(values[-1],) for values in CLASSES], True) == ["5", "4", "3", "2", "1", "0"]
    assert in_order([(["b"],), (["a"],)]) == ["1", "0"]


@pytest.mark.parametrize(
    ("descending", "expected"),
    [
        ((), ["3", "0", "2", "1"]),
        ((False, False), ["3", "0", "2", "1"]),
        ((True,), ["1", "0", "2", "3"]),
        ((False, True), ["3", "2", "0", "1"]),
        ((True, True), ["1", "2", "0", "3"]),
        ((True, True, True, True), ["1", "2", "0", "3"]),
    ],
)
def test_each_key_in_its_own_direction(descending: tuple[bool, ...], expected: list[str]) -> None:
    assert in_order([(2, "a"), (3, "a"), (2, "b"), (1, "z")], *descending) == expected


def test_equal_ranks_go_by_id_in_both_directions() -> None:
    for descending in (False, True):
        assert in_order([(1,), (1,), (1,)], descending) == ["0", "1", "2"]
        assert queue_sort_key((1,), (descending,), "a") == queue_sort_key(
            (1.0,), (descending,), "a"
        )
        assert queue_sort_key((1,), (descending,), "a") != queue_sort_key((2,), (descending,), "a")
    assert queue_sort_key((1,), (True,), "a") != queue_sort_key((1,), (False,), "a")


@pytest.mark.parametrize("descending", [(), (False, False), (True,), (False, True)])
@pytest.mark.parametrize(
    "values",
    [
        [(1, "b"), (1, "a"), (0, "z"), (10, ""), (2, "ä"), (1, "a")],
        [("b",), ("a",), ("B",), ("a",), ("10",), ("9",)],
        [(), (), ()],
        [(1, "a"), (None, "a"), (1, None), (0.5, "b")],
        [(True,), (0,), (False,), (2,)],
        [],
    ],
)
def test_a_queue_is_in_the_order_of_its_keys(
    values: list[tuple[Any, ...]], descending: tuple[bool, ...]
) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    beads = [
        Bead(f"bd-{n}", Phase.WAITING, "agent", at, "c", rank=rank)
        for n, rank in reversed(list(enumerate(values)))
    ]
    keyed = sorted(beads, key=lambda bead: queue_sort_key(bead.rank, descending, bead.id))
    assert in_queue_order(beads, descending) == keyed
