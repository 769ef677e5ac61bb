"""``dolt_watch demo`` as a user runs it, with DoltLite and without."""

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
    r"demo-1  Dark theme",
    r"dolt_watch +init: adds its own tables",
    r"ada +creates the three beads, and assigns them to agent",
    r"dolt_watch +claims demo-1 for one attempt, and sends it to the agent",
    r"agent +refuses demo-1 with HTTP 400",
    r"dolt_watch +records the refusal, and puts demo-1 back into the queue",
    r"agent +accepts demo-2, and starts work",
    r"agent +finishes demo-2, and closes it",
    r"dolt_watch +claims demo-1 for one attempt, and sends it to the agent",
    r"dolt_watch +records that the agent accepted demo-1",
    r"agent +finishes demo-1, and closes it",
    r"agent +accepts demo-3, and crashes",
    r"dolt_watch +blocks demo-3: no activity for 3 seconds",
    r"The audit log",
    r"dolt-watch: reap demo-3 \(attempt 1, job [0-9a-f]{12}\)",
    r"bd: close demo-1",
    r"dolt-watch: dispatch demo-1 \(attempt 2, job",
    r"dolt-watch: failed demo-1 \(attempt 1\)",
    r"As expected: ",
)
"""Patterns of the lines that the demo must print, in this order."""
STOCK = ("-c", "import sqlite3; from dolt_watch.cli import main; main()")
"""Arguments of a Python that imports the stock sqlite3 before DoltLite."""
MISSING = ("-c", STOCK[1].replace("import sqlite3", "import sys; sys.modules['doltlite'] = None"))
"""Arguments of a Python without DoltLite."""


def run(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python in ``folder``, with a separate environment."""
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
    story = done.stdout.partition("\nThe audit log")[0]
    assert len(story.splitlines()) <= 25


def need_doltlite() -> None:
    if NO_DOLTLITE:
        servers.without(NO_DOLTLITE)


@pytest.mark.long
def test_story_on_doltlite_and_a_look_around(tmp_path: Path) -> None:
    need_doltlite()
    # A settings file above the temporary folder, whose target must not get the demo's beads.
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp/dolt_watch.toml").write_text("[rules.agent]\ntarget = 'webhook'")
    done = run(tmp_path, "-m", "dolt_watch", "demo", "--keep")
    check_story(done)
    (page,) = re.findall(r"^Report page: (.*)$", done.stdout, re.MULTILINE)
    assert "demo-3" in Path(page).read_text("utf-8")
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
    assert len(list((tmp_path / "tmp").iterdir())) == 2, "the file above and the folder of the demo"


@pytest.mark.long
def test_leaves_nothing_without_keep(tmp_path: Path) -> None:
    need_doltlite()
    done = run(tmp_path, "-m", "dolt_watch", "demo", "--report", "page.html")
    check_story(done)
    assert not list((tmp_path / "tmp").iterdir())
    assert f"Report page: {tmp_path / 'page.html'}" in done.stdout.splitlines()
    assert "demo-1" in (tmp_path / "page.html").read_text("utf-8")
    assert "\x1b" not in done.stdout and "Next:" in done.stdout


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
    assert "The demo needs DoltLite: " in done.stderr
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
