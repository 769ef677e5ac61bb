"""Matrices of one promise: `make test` runs a covering subset of the cases, `make matrix` the rest.

A test with the marker ``covering`` is parametrized by several parameters. `make test` runs enough
of its cases that each value of each parameter occurs. The other cases get the marker ``matrix``.

With ``covering(engines="module")`` a test runs with each value of its other parameters, on one
engine. The tests of the module take turns on the engines.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from typing import Any

import pytest

Value = tuple[str, Hashable]
"""A parameter, and the identity of its value: one object in all cases that have it."""

ENGINE = "engine"
ENGINES = ("dolt", "doltlite")


def mark_matrices(items: Iterable[pytest.Item]) -> None:
    """Give the marker ``matrix`` to the cases of ``covering`` tests that the subset leaves out."""
    for case in _left_out(items):
        case.add_marker(pytest.mark.matrix)


def _left_out(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield the cases that no value needs.

    A case that has the marker ``matrix`` or ``slow`` itself is in no subset.
    """
    groups = defaultdict[tuple[str, bool], list[pytest.Item]](list)
    for item in items:
        if (mark := item.get_closest_marker("covering")) and not (
            item.get_closest_marker("matrix") or item.get_closest_marker("slow")
        ):
            by_turns = mark.kwargs.get("engines") == "module"
            groups[item.nodeid.partition("::" if by_turns else "[")[0], by_turns].append(item)
    for (_, by_turns), cases in groups.items():
        chosen = covering([_values(case) for case in cases], {ENGINE} if by_turns else ())
        yield from (case for number, case in enumerate(cases) if number not in chosen)


def _values(case: pytest.Item) -> tuple[Value, ...]:
    """Return the test, its engine, and the value of each other parameter, including fixtures."""
    call: Any = getattr(case, "callspec", None)
    test = case.nodeid.partition("[")[0]
    return (test, None), *(
        (ENGINE, value) if value in ENGINES else (f"{test} {name}", id(value))
        for name, value in (call.params.items() if call else ())
    )


def chosen(values: Iterable[Any], in_make_test: Callable[[Any], bool]) -> list[Any]:
    """Return values as parameters: `make test` runs those chosen, `make matrix` the others."""
    return [
        pytest.param(value, marks=[] if in_make_test(value) else [pytest.mark.matrix])
        for value in values
    ]


def few_or_many(few: int, many: int) -> list[Any]:
    """Return two numbers of generated examples, one for `make test` and one for `make matrix`."""
    return [few, pytest.param(many, marks=pytest.mark.matrix)]


def covering(cases: Sequence[Iterable[Value]], by_turns: Collection[str] = ()) -> set[int]:
    """Return the numbers of cases that together have each value of all cases.

    The case with the most missing values comes first. Among equal cases, the one with the values
    chosen least comes first. The subset therefore uses the values of each parameter equally often.

    Args:
        by_turns: Parameters whose values need not all occur.
    """
    left = {number: tuple(values) for number, values in enumerate(cases)}
    missing = {value for each in left.values() for value in each if value[0] not in by_turns}
    used, chosen = Counter[Value](), set[int]()
    while missing:
        number = min(
            left,
            key=lambda n: (
                -len(missing.intersection(left[n])),
                sum(used[value] for value in left[n]),
                n,
            ),
        )
        values = left.pop(number)
        missing.difference_update(values)
        used.update(values)
        chosen.add(number)
    return chosen
