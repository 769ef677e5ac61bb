"""Rules with random text and random ranks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dolt_watch.core.decisions.candidates import queue_sort_key
from dolt_watch.core.model import Rule
from dolt_watch.core.rules.compiled_rule import compile_rule
from dolt_watch.errors import RuleError
from tests.unit.core.rules.test_compiled_rule import COLUMNS, ROW, ask

_VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.dates(),
    st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=14))])),
    st.timedeltas(),
)
_RANKS = st.lists(st.tuples(st.tuples(_VALUE, _VALUE), st.text(max_size=3)), max_size=8)


@given(_RANKS, st.booleans(), st.booleans())
def test_any_ranks_sort_the_same_from_any_order(
    beads: list[Any], first: bool, second: bool
) -> None:
    def keys(items: list[Any]) -> list[Any]:
        return sorted(queue_sort_key(rank, (first, second), bead) for rank, bead in items)

    assert keys(beads) == keys(beads[::-1])


def test_nulls_and_ties() -> None:
    beads = {"a": (None,), "b": (2,), "c": (1,), "d": (2,)}
    up = sorted(beads, key=lambda bead: queue_sort_key(beads[bead], (False,), bead))
    down = sorted(beads, key=lambda bead: queue_sort_key(beads[bead], (True,), bead))
    assert (up, down) == (["a", "c", "b", "d"], ["b", "d", "c", "a"])
    assert queue_sort_key((Decimal("1.5"),), (False,), "a") < queue_sort_key((2,), (False,), "a")
    assert queue_sort_key((date(2026, 1, 1),), (False,), "a") < queue_sort_key(
        (datetime(2026, 1, 1, 1, tzinfo=UTC),), (False,), "a"
    )


# -- random text --------------------

_WORDS = [
    *"()+-*/%=<>!,;?@:.'`\"\\#&|~^[]{}$",
    *[
        "AND",
        "OR",
        "NOT",
        "IN",
        "LIKE",
        "IS",
        "NULL",
        "CASE",
        "WHEN",
        "THEN",
        "END",
        "BETWEEN",
        "SELECT",
        "ASC",
        "DESC",
    ],
]
_WORDS += [
    "pinned",
    "title",
    "status",
    "priority",
    "notes",
    "'x'",
    "1",
    "LOWER(",
    "IF(",
    "REPLACE(",
    "SUBSTRING(",
    "CONCAT(",
    "--",
    "/*",
]
_ANY = st.one_of(st.text(), st.lists(st.sampled_from(_WORDS), max_size=14).map(" ".join))


@settings(max_examples=200, deadline=None)
@given(_ANY, st.sampled_from(["when", "running", "order_by"]))
def test_anything_compiles_or_is_a_rule_error(text: str, which: str) -> None:
    try:
        rule = compile_rule(Rule("r", **({"when": "pinned"} | {which: text})), COLUMNS, "sqlite")  # type: ignore[arg-type]
    except RuleError as error:
        assert error.where and error.fix
        return
    ask(rule.when_row, ROW)
    ask(rule.running_row, ROW)
    for key in rule.rank_row:
        ask(key, ROW)
