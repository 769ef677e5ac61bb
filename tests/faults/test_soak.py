"""The service for a long time.

Its memory is steady and nothing leaks. An idle service writes and logs nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import linear_regression
from typing import Any

import pytest

from dolt_watch.engines.address import FileAddress, ServerAddress
from tests.support.beads import ROOT
from tests.support.matrix import few_or_many
from tests.support.servers import Server

pytestmark = pytest.mark.covering(engines="module")

MB = 1_000_000


@pytest.fixture
def files(address: ServerAddress | FileAddress, request: pytest.FixtureRequest) -> str:
    """Return the folder of that database.

    It is '' if the server belongs to another process. Dolt's statistics next to it don't count.
    """
    if isinstance(address, FileAddress):
        return str(Path(address.path).parent)
    server: Server = request.getfixturevalue("dolt_server")
    return str(server.data / address.database / ".dolt" / "noms") if server.data else ""


def soak(polls: int, address: ServerAddress | FileAddress, files: str) -> dict[str, Any]:
    command = (sys.executable, "-m", "tests.faults.soak", str(polls), address.url, files)
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    memory = found["memory"]
    last = memory[len(memory) // 2 :]
    found["slope"] = linear_regression(range(len(last)), last).slope * len(memory) / polls
    engine = "doltlite" if isinstance(address, FileAddress) else "dolt"
    sys.stdout.write(
        f"soak   {engine}, {polls} polls: {found['sent']} sent, {max(memory) / MB:.1f} MB at most,"
        f" {found['slope']:.1f} bytes a poll over the second half, an idle poll"
        f" {found['idle ms']:.2f} ms of processor time\n"
    )
    return found


def holds(found: dict[str, Any]) -> None:
    assert found["errors"] == 0 and found["sent"] > 0 and found["twice"] == 0, found
    assert max(found["memory"]) <= 80 * MB, found
    before, after = found["idle"]
    assert before == after, found


@pytest.mark.long
@pytest.mark.parametrize("polls", few_or_many(500, 1_000))
def test_for_a_while(address: ServerAddress | FileAddress, files: str, polls: int) -> None:
    holds(soak(polls, address, files))


@pytest.mark.slow
def test_a_hundred_thousand_polls(address: ServerAddress | FileAddress, files: str) -> None:
    found = soak(100_000, address, files)
    holds(found)
    assert abs(found["slope"]) < 100, "bytes a poll: 10 MB in 100,000"
