"""The path of history from the cursor to HEAD through merges, and the comparison of cells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import orjson
import pytest

from dolt_watch.engines import Commit
from dolt_watch.engines.values import normalize_cell, sort_value
from dolt_watch.history.reader import commit_path

DATE = datetime(2026, 4, 18, tzinfo=UTC)


def commits(**parents: str) -> list[Commit]:
    """Return the commits, newest first.

    ``c='ab'`` is commit c with the parents a and b. Arguments start with the oldest commit.
    """
    made = [Commit(name, tuple(before), DATE, "somebody") for name, before in parents.items()]
    return made[::-1]


def line(history: list[Commit], since: str, until: str) -> list[tuple[str, str]] | None:
    found = commit_path(history, since, until)
    return None if found is None else [(commit.parents[0], commit.hash) for commit in found]


def test_a_straight_line() -> None:
    assert line(commits(b="a", c="b"), "a", "c") == [("a", "b"), ("b", "c")]


def test_nothing_new() -> None:
    assert line([], "a", "a") == []


def test_a_merge_with_our_line_first() -> None:
    # a ── b ── m: x branched off before a, so the known line doesn't contain it.
    assert line(commits(b="a", x="0", m="bx"), "a", "m") == [("a", "b"), ("b", "m")]


def test_a_merge_with_our_line_second() -> None:
    """The first parent of a merge that was fast-forwarded may not descend from the known commit."""
    assert line(commits(b="a", x="0", m="xb"), "a", "m") == [("a", "b"), ("b", "m")]


def test_where_both_parents_descend_the_first_is_taken() -> None:
    assert line(commits(b="a", c="a", m="bc"), "a", "m") == [("a", "b"), ("b", "m")]


@pytest.mark.parametrize("until", ["x", "gone"])
def test_a_cursor_that_is_no_ancestor(until: str) -> None:
    assert line(commits(x="0"), "a", until) is None


def test_a_long_history_needs_no_recursion() -> None:
    names = [f"{number:05}" for number in range(20_000)]
    history = [Commit(after, (before,), DATE, "") for before, after in pairwise(names)]
    found = commit_path(history[::-1], names[0], names[-1])
    assert found is not None
    assert len(found) == len(names) - 1


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (Decimal("10.0000"), 10),
        (Decimal("-2"), -2),
        (Decimal("1.5"), 1.5),
        (Decimal(2) ** 70, float(2**70)),
        (timedelta(hours=10), 36000.0),
        (None, None),
        ("10.0000", "10.0000"),
        (7, 7),
    ],
)
def test_a_key_of_order_by_sorts_as_in_the_database_and_is_json(value: object, key: object) -> None:
    """The cells of a bead are compared and hashed, so their format doesn't change."""
    assert (sort_value(value), type(sort_value(value))) == (key, type(key))
    assert orjson.loads(orjson.dumps(sort_value(value))) == key
    assert normalize_cell("quality", Decimal("10.0000")) == "10.0000"
