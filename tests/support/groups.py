"""Groups of tests that need a program of their own, with a command of their own.

`make test` leaves these groups out. `make test-cluster` runs the tests that need a Kubernetes
control plane, and `make test-browser` those that need a browser.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

GROUPS = {"plane": "cluster", "browser": "browser"}
"""Fixture that starts the program → marker of the tests that use it."""


def mark_groups(items: Iterable[pytest.Item]) -> None:
    """Give each test the markers of the groups whose fixtures it uses, directly or indirectly."""
    for item in items:
        for fixture in GROUPS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(getattr(pytest.mark, GROUPS[fixture]))
