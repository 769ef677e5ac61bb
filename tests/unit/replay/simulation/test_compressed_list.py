"""A compressed list returns its items in order and uses little memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from dolt_watch.core.model import ActivitySignal, Event, EventKind
from dolt_watch.replay.simulation.compressed_list import BLOCK, CompressedList
from dolt_watch.replay.simulation.recorded_timeline import ExternalAction

NOON = datetime(2026, 4, 18, 12, tzinfo=UTC)


def act(number: int) -> ExternalAction:
    at, who = NOON + timedelta(seconds=number), f"agent-{number % 7}"
    return ExternalAction(
        number,
        at,
        Event(
            EventKind.SIGN,
            f"bd-{number % 200}",
            f"{number:032}",
            at,
            sign=ActivitySignal(at, "comment", who, ""),
        ),
    )


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
@pytest.mark.parametrize("packed", [False, True])
def test_order_and_number_are_kept(count: int, packed: bool) -> None:
    pile: CompressedList[ExternalAction] = CompressedList()
    for number in range(count):
        pile.add(act(number))
    if packed:
        pile.pack()
    assert list(pile) == [act(number) for number in range(count)]
    # Each iteration starts at the beginning.
    assert list(pile) == list(pile)


def test_more_is_added_after_packing() -> None:
    pile: CompressedList[int] = CompressedList()
    for number in range(10):
        pile.add(number)
        pile.pack()
        pile.pack()
    assert list(pile) == list(range(10))


def test_it_holds_a_fifth_of_a_list_at_most() -> None:
    count = 50 * BLOCK

    def held(keep: object, acts: Iterable[ExternalAction]) -> int:
        tracemalloc.start()
        for one in acts:
            keep(one)  # type: ignore[operator]
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size

    pile: CompressedList[ExternalAction] = CompressedList()
    plain: list[ExternalAction] = []
    assert held(pile.add, map(act, range(count))) * 5 < held(plain.append, map(act, range(count)))
