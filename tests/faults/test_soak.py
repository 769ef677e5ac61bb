"""The service for a long time: memory steady, nothing leaks, and an idle one writes nothing and says nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.beads import ROOT
from tests.conftest import NO_DOLTLITE

MB = 1_000_000


def soak(ticks: int, folder: Path) -> dict[str, Any]:
    if NO_DOLTLITE:
        pytest.skip(NO_DOLTLITE)
    env = {name: value for name, value in os.environ.items() if name != "_DOLTLITE_BOOTSTRAPPED"}
    command = (sys.executable, "-m", "tests.faults.soak", str(ticks), str(folder))
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    memory = found["memory"]
    half = len(memory) // 2
    found["slope"] = (memory[-1] - memory[half]) / (ticks / 2)
    said = f"{found['sent']} sent, {memory[-1] / MB:.1f} MB at the end, {found['slope']:.1f} bytes a tick over the second half"
    sys.stdout.write(f"soak   {ticks} ticks: {said}\n")
    return found


def holds(found: dict[str, Any]) -> None:
    assert found["errors"] == 0 and found["sent"] > 0 and found["twice"] == 0, found
    assert max(found["memory"]) <= 80 * MB, found
    assert found["descriptors"][0] == found["descriptors"][1], found
    assert (found["idle bytes"], found["idle lines"]) == (0, 0), found


@pytest.mark.timeout(300)
def test_for_a_while(tmp_path: Path) -> None:
    holds(soak(3_000, tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_hundred_thousand_ticks(tmp_path: Path) -> None:
    found = soak(100_000, tmp_path)
    holds(found)
    assert abs(found["slope"]) < 100, "bytes a tick: 10 MB in 100,000"
