"""The kill switch: who threw it, until when, and what it says."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator

import pytest

from dolt_watch.cli.common import person
from dolt_watch.engines.address import DoltLitePath
from tests.unit.commands import Commands, commands


@pytest.fixture
def cli(doltlite_path: DoltLitePath) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        yield made


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 10001"), OSError("No username set")])
def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def nobody() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert person() == f"uid {os.getuid()}"
