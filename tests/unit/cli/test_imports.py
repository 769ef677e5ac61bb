"""The imports of a command: a tick every two minutes must not import the libraries of the views."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from dolt_watch.engines.address import FileAddress
from tests.support.commands import Commands, commands

CODE = """
import sys
from dolt_watch.cli import group
try:
    group.main(sys.argv[1:], standalone_mode=False)
finally:
    print("rich" in sys.modules)
"""


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        yield made


def loads_rich(cli: Commands, *args: str) -> bool:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *args], env=cli.env, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1] == "True"


def test_neither_an_idle_tick_nor_a_dispatch_loads_rich(cli: Commands) -> None:
    cli.here.assign("bd-a")
    assert not loads_rich(cli, "dispatch")
    assert cli.here.kinds("bd-a") == ["claim", "dispatched"]
    assert not loads_rich(cli, "tick")
    assert not loads_rich(cli, "tick", "--dry-run")
    assert loads_rich(cli, "status"), "the check can fail"
