"""``init`` on a real workspace, with the real command line."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from dolt_watch.engines.connect import open_engine
from tests.support import forked
from tests.support.beads import Workspace


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def command(beads_workspace: Workspace) -> Command:
    """Return a function that runs dolt_watch in the workspace's folder."""

    def run(*arguments: str, **env: str) -> Ran:
        keep = {
            name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ
        }
        home = {"HOME": str(beads_workspace.path), "BEADS_DOLT_PASSWORD": ""}
        done = forked.dolt_watch(arguments, cwd=beads_workspace.path, env={**keep, **home, **env})
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


def test_init_says_what_the_first_tick_would_do_and_is_idempotent(
    command: Command, beads_workspace: Workspace
) -> None:
    beads_workspace.create("do it", "--acceptance", "x", "-a", "agent")
    first = command("init")
    assert first.code == 0
    assert "waiting to be dispatched: 1" in first.out
    assert "--dry-run" in first.out
    assert "are committed automatically" in first.out
    engine = open_engine(beads_workspace.address)
    before = engine.query("SELECT HASHOF('HEAD')")
    assert "already up to date" in command("init").out
    assert engine.query("SELECT HASHOF('HEAD')") == before
    engine.close()
    assert "CREATE TABLE" in command("init", "--print-sql").out


def test_now_goes_with_a_dry_run_only(command: Command) -> None:
    ran = command("reap", "--now", "2026-04-18T22:35:46Z")
    assert (ran.code, "Traceback" in ran.err) == (2, False)
    assert "--dry-run" in ran.err
