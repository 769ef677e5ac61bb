"""The subset of a matrix that `make test` runs."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.matrix import Value, covering

pytest_plugins = ["pytester"]


def cases(*sizes: int) -> list[tuple[Value, ...]]:
    """Return the product of parameters with these numbers of values."""
    return [
        tuple((f"p{which}", value) for which, value in enumerate(values))
        for values in product(*map(range, sizes))
    ]


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=3)))
def test_each_value_occurs_and_no_case_is_superfluous(made: list[list[Value]]) -> None:
    chosen = covering(made)
    assert {value for number in chosen for value in made[number]} == {
        value for case in made for value in case
    }
    assert len(chosen) <= len({value for case in made for value in case})


@pytest.mark.parametrize("sizes", [(5,), (2, 7), (7, 2), (2, 3, 12), (1, 1)])
def test_as_many_cases_of_a_product_as_its_longest_parameter_has_values(
    sizes: tuple[int, ...],
) -> None:
    assert len(covering(cases(*sizes))) == max(sizes)


def test_a_parameter_by_turns_adds_no_case() -> None:
    assert len(covering(cases(2, 1), {"p0"})) == 1
    made = cases(2, 12)
    assert sorted(made[number][0] for number in covering(made, {"p0"})) == [
        *[("p0", 0)] * 6,
        *[("p0", 1)] * 6,
    ]


def test_the_values_of_the_shorter_parameter_occur_equally_often() -> None:
    made = cases(2, 12)
    first = [made[number][0] for number in covering(made)]
    assert sorted(first) == [("p0", 0)] * 6 + [("p0", 1)] * 6


MADE = """
    import pytest

    @pytest.fixture(params=["dolt", "doltlite"])
    def engine(request):
        return request.param

    @pytest.mark.covering
    @pytest.mark.parametrize("case", range(3))
    def test_product(engine, case):
        pass

    @pytest.mark.covering
    @pytest.mark.parametrize(
        "a, b", [pytest.param(0, 0, marks=pytest.mark.slow), (0, 1), (1, 0), (1, 1)]
    )
    def test_beside_a_slow_one(a, b):
        pass

    @pytest.mark.covering(engines="module")
    def test_first(engine):
        pass

    @pytest.mark.covering(engines="module")
    def test_second(engine):
        pass

    @pytest.mark.covering(engines="module")
    @pytest.mark.parametrize("case", range(2))
    def test_third(engine, case):
        pass

    @pytest.mark.parametrize("case", range(2))
    def test_without_the_marker(engine, case):
        pass

    @pytest.mark.parametrize("case", [0, pytest.param(1, marks=pytest.mark.matrix)])
    def test_by_hand(case):
        pass
"""
HOOK = """
    import pytest
    from tests.support.matrix import mark_matrices

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(items):
        mark_matrices(items)
"""


def test_the_rest_has_the_marker(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(MADE)
    pytester.makeconftest(HOOK)
    pytester.makeini("[pytest]\nmarkers =\n covering\n matrix\n slow")

    def ran(expression: str) -> list[str]:
        passed, _, failed = pytester.inline_run("-p", "no:xdist", "-m", expression).listoutcomes()
        assert not failed
        return [report.nodeid.partition("::")[2] for report in passed]

    assert ran("not slow and not matrix") == [
        "test_product[dolt-0]",
        "test_product[dolt-2]",
        "test_product[doltlite-1]",
        "test_beside_a_slow_one[0-1]",
        "test_beside_a_slow_one[1-0]",
        "test_first[doltlite]",
        "test_second[dolt]",
        "test_third[dolt-0]",
        "test_third[doltlite-1]",
        *(f"test_without_the_marker[{one}]" for one in ("dolt-0", "dolt-1")),
        *(f"test_without_the_marker[{one}]" for one in ("doltlite-0", "doltlite-1")),
        "test_by_hand[0]",
    ]
    assert ran("matrix and not slow") == [
        "test_product[dolt-1]",
        "test_product[doltlite-0]",
        "test_product[doltlite-2]",
        "test_beside_a_slow_one[1-1]",
        "test_first[dolt]",
        "test_second[doltlite]",
        "test_third[dolt-1]",
        "test_third[doltlite-0]",
        "test_by_hand[1]",
    ]
