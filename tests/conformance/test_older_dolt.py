"""A Dolt server that is older than its data. Real servers of Dolt 1 and Dolt 2 run."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.engines.dolt.errors import translate
from dolt_watch.errors import DoltWatchError, OlderDolt
from tests.support.servers import own_dolt, start_dolt, without

NEWER = "DOLT_WATCH_TEST_NEWER_DOLT"
"""Environment variable with the path of a `dolt` 2. The one on PATH has version 1."""


def major(program: str) -> int:
    told = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)", told)
    assert found, told
    return int(found[1])


def test_the_words() -> None:
    error = translate(1105, "table has unknown fields", ServerAddress(database="beads"))
    assert isinstance(error, OlderDolt)
    assert error.exit_code == 3
    assert error.fix and "Dolt 1 can't" in error.fix


def test_a_server_that_is_older_than_its_data(tmp_path: Path) -> None:
    older, newer = own_dolt(), os.environ.get(NEWER, "")
    if not newer:
        pytest.skip(f"{NEWER} names no dolt of version 2")
    if (major(older), major(newer)) != (1, 2):
        without(f"needs dolt 1 on PATH and dolt 2 in {NEWER}")
    with start_dolt(newer, tmp_path) as server:
        server.sql("CREATE DATABASE door")
        server.sql(
            "CREATE TABLE issues (id VARCHAR(255) PRIMARY KEY, notes TEXT)",
            "ALTER TABLE issues MODIFY COLUMN notes LONGTEXT",
            "CALL DOLT_COMMIT('-Am', 'schema')",
            database="door",
        )
    with (
        start_dolt(older, tmp_path) as server,
        pytest.raises(OlderDolt, match="older than the server that wrote"),
    ):
        try:
            open_engine(replace(server.address, database="door")).query("SELECT id FROM issues")
        except DoltWatchError as error:
            assert "Dolt 1 can't" in (error.fix or "")
            raise
