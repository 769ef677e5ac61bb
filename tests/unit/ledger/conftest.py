"""A fresh copy of one database for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolt_watch.engines.address import DoltLitePath, open_engine
from dolt_watch.migrate import migrate
from tests.beads import create_beads
from tests.conftest import NO_DOLTLITE
from tests.unit.ledger.here import Here


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with beads' and our tables, made once."""
    path = tmp_path_factory.mktemp("ledger") / "template.db"
    if not NO_DOLTLITE:
        engine = open_engine(DoltLitePath(str(path)), create=True)
        create_beads(engine)
        list(migrate(engine, "dolt-watch <dolt-watch@test>"))
        engine.close()
    return path


@pytest.fixture
def here(doltlite_path: DoltLitePath, template: Path) -> Iterator[Here]:
    shutil.copy(template, doltlite_path.path)
    made = Here(doltlite_path)
    yield made
    made.engine.close()
