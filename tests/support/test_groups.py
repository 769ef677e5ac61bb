"""The groups of tests that `make test` leaves out."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

MADE = """
    import pytest

    @pytest.fixture
    def plane():
        pass

    @pytest.fixture
    def browser():
        pass

    @pytest.fixture
    def opened(browser):
        pass

    def test_on_the_control_plane(plane):
        pass

    def test_on_an_open_page(opened):
        pass

    def test_without_either():
        pass
"""
HOOK = """
    import pytest
    from tests.support.groups import mark_groups

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(items):
        mark_groups(items)
"""


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("not cluster and not browser", "test_without_either"),
        ("cluster", "test_on_the_control_plane"),
        ("browser", "test_on_an_open_page"),
    ],
)
def test_each_test_runs_in_the_group_of_its_fixtures(
    pytester: pytest.Pytester, expression: str, expected: str
) -> None:
    pytester.makepyfile(MADE)
    pytester.makeconftest(HOOK)
    pytester.makeini("[pytest]\nmarkers =\n cluster\n browser")
    passed, _, failed = pytester.inline_run("-p", "no:xdist", "-m", expression).listoutcomes()
    assert not failed
    assert [report.nodeid.partition("::")[2] for report in passed] == [expected]
