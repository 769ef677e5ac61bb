"""The environment in which tests run the commands of the documentation."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.beads import bd_program
from tests.support.servers import home

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of a user who has only dolt, bd and dolt_watch."""
    program = Path(bd_program(tmp_path / "bin"))
    env = home(tmp_path) | {
        "TMPDIR": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "home/.config"),
    }
    # Python's folder has this tree's `dolt_watch`, and a `python3` with its dependencies.
    yield env | {"PATH": f"{program.parent}:{Path(sys.executable).parent}:{env['PATH']}"}
