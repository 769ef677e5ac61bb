"""Fixtures of the fault tests, and the table at the end of their run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dolt_watch.engines.address import FileAddress, ServerAddress
from tests.faults.cloning import clones, two_servers
from tests.faults.tally import Tally, table

__all__ = ["clones", "two_servers"]

TALLIES = pytest.StashKey[list[Tally]]()


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Yield the totals of this test. Its row is in the table even if the test fails."""
    mine = Tally("", "")
    request.config.stash.setdefault(TALLIES, []).append(mine)
    yield mine


@pytest.fixture(params=["dolt", "doltlite"])
def address(request: pytest.FixtureRequest) -> ServerAddress | FileAddress:
    """Return the address of a fresh, empty database, on each engine in turn."""
    found: ServerAddress | FileAddress = request.getfixturevalue(
        {"dolt": "dolt_address", "doltlite": "doltlite_path"}[request.param]
    )
    return found


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    tallies = [each for each in config.stash.get(TALLIES, []) if each.kills]
    if tallies:
        terminalreporter.section("faults injected")
        for line in table(tallies):
            terminalreporter.line(line)
