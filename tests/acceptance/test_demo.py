"""``dolt_watch demo`` as a person runs it: on DoltLite, and where DoltLite cannot be loaded."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import NO_DOLTLITE
from tests.support import servers

STORY = (
    r"person +bd assign demo-1 agent",
    r"dolt_watch +picked bead: demo-1",
    r"agent +cannot read demo-1 just now",
    r"dolt_watch +demo-1: failed \(HTTP 400: .*Bead demo-1 not found",
    r"dolt_watch +dispatched demo-2 as job [0-9a-f]{12}",
    r"agent +has done demo-2, and closes it",
    r"dolt_watch +picked bead: demo-1",
    r"dolt_watch +dispatched demo-1 as job [0-9a-f]{12}",
    r"agent +has done demo-1, and closes it",
    r"agent +takes demo-3 as job [0-9a-f]{12}, and dies",
    r"dolt_watch +REAPED demo-3",
    r"demo-1  closed",
    r"dispatch failed HTTP 400: .*Bead demo-1 not found",
    r"demo-3  blocked",
    r"reaper: no progress for 0m \(threshold <1m\) — blocking",
    r"dolt-watch: reap demo-3 \(attempt 1, job [0-9a-f]{12}\)",
    r"bd: close demo-1",
    r"dolt-watch: dispatch demo-1 \(attempt 2, job",
    r"dolt-watch: failed demo-1 \(attempt 1\)",
    r"The ledger",
    r"demo-3 +3 +reap ",
    r"as it should be",
)
"""Lines that must come, in this order."""
STOCK = ("-c", "import sqlite3; from dolt_watch.cli import main; main()")
"""A Python in which DoltLite came too late."""
MISSING = ("-c", STOCK[1].replace("import sqlite3", "import sys; sys.modules['doltlite'] = None"))
"""A Python in which DoltLite is not installed."""


def run(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """In an environment and a folder of its own."""
    place = folder / "tmp"
    place.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**servers.home(folder), "TMPDIR": str(place), **env},
        capture_output=True,
        text=True,
        timeout=300,
    )


def check_story(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    at = 0
    for pattern in STORY:
        found = re.compile(pattern).search(done.stdout, at)
        assert found, f"no {pattern!r} after character {at} of:\n{done.stdout}"
        at = found.end()


def need_doltlite() -> None:
    if NO_DOLTLITE:
        servers.without(NO_DOLTLITE)


@pytest.mark.long
def test_story_on_doltlite_and_a_look_around(tmp_path: Path) -> None:
    need_doltlite()
    done = run(tmp_path, "-m", "dolt_watch", "demo", "--keep")
    check_story(done)
    assert "DoltLite, one file" in done.stdout
    look = [
        shlex.split(line)[1:]
        for line in done.stdout.splitlines()
        if line.startswith("  dolt_watch ")
    ]
    assert len(look) == 3
    for arguments in look:
        shown = run(tmp_path, "-m", "dolt_watch", *arguments)
        assert shown.returncode == 0, shown.stderr
        assert "demo-" in shown.stdout
    assert len(list((tmp_path / "tmp").iterdir())) == 1


@pytest.mark.long
def test_leaves_nothing_without_keep(tmp_path: Path) -> None:
    need_doltlite()
    check_story(run(tmp_path, "-m", "dolt_watch", "demo"))
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize(
    ("python", "fix"),
    [
        (STOCK, r"fix: .*Debian, Homebrew or pyenv Python"),
        (MISSING, r"fix: .*pip install 'dolt-watch\[doltlite\]'"),
    ],
)
def test_without_doltlite_it_says_what_to_install(
    tmp_path: Path, python: tuple[str, str], fix: str
) -> None:
    done = run(tmp_path, *python, "demo")
    assert (done.returncode, done.stdout) == (3, "")
    assert "the demo needs DoltLite: " in done.stderr
    assert re.search(fix, done.stderr)
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("mark", ["1", ""])
def test_a_parents_doltlite_mark_does_no_harm(tmp_path: Path, mark: str) -> None:
    need_doltlite()
    code = (
        "from dolt_watch.engines.address import *; from dolt_watch.engines.connect import"
        " open_engine; open_engine(FileAddress('a.db'), create=True).close()"
    )
    done = run(tmp_path, "-c", code, _DOLTLITE_BOOTSTRAPPED=mark)
    assert done.returncode == 0, done.stderr
