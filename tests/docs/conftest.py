"""What the pages of the documentation are run in."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Source, choose_bd, give_up, home

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of somebody who has nothing but dolt and bd, and our command."""
    choice = choose_bd(os.environ, shutil.which)
    if choice.source is not Source.BINARY:
        give_up(choice)
    env = home(tmp_path) | {"TMPDIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "home/.config")}
    # Where `dolt_watch` is this tree's, and `python3` has what it needs.
    yield env | {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}
