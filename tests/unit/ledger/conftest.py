"""A fresh copy of one database for each test."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dolt_watch.engines.address import FileAddress
from dolt_watch.engines.connect import open_engine
from tests.support.beads import create_tracker
from tests.unit.ledger.here import Here


@cache
def database() -> bytes:
    """Return the bytes of a database with the tables of bd and dolt_watch.

    Each process creates the database once, because each mutant runs in a fork of the process.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder, "made.db")
        engine = open_engine(FileAddress(str(path)), create=True)
        create_tracker(engine, "dolt-watch <dolt-watch@test>")
        engine.close()
        return path.read_bytes()


@pytest.fixture
def here(doltlite_path: FileAddress) -> Iterator[Here]:
    Path(doltlite_path.path).write_bytes(database())
    made = Here(doltlite_path)
    yield made
    made.engine.close()
