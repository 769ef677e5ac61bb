"""Agents for tests: shell scripts as real processes, awaited with a deadline."""

from __future__ import annotations

import shlex
import sys
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from dolt_watch.core.model import JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted
from dolt_watch.targets.local import processes
from dolt_watch.targets.local.settings import LocalSettings
from dolt_watch.targets.local.target import Local
from dolt_watch.testing.target_conformance import make_task

PYTHON = shlex.quote(sys.executable)
SETSID = f"{PYTHON} -c 'import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])'"
"""As the program ``setsid``, which a stock system may not have."""
PATIENCE = 20.0
"""Seconds after which a test that waits for a process fails."""


class ScriptTarget(Local):
    """A target whose agent is a shell script."""

    token: str
    """A token of its own: tests that run at once must not find each other's processes."""


def local(
    folder: Path, script: str, *, now: Callable[[], float] = time.time, **settings: Any
) -> ScriptTarget:
    """Return a target whose agent is a shell script. Its runs are below ``folder``."""
    chosen: dict[str, Any] = {
        "argv": ("/bin/sh", "-c", script),
        "slots": 2,
        "root": folder / "state",
        "directory": folder,
        "stop_grace": timedelta(seconds=0.5),
    }
    target = ScriptTarget(LocalSettings("me", **{**chosen, **settings}), now=now)
    target.token = uuid.uuid4().hex
    return target


def start(target: Local, token: str, bead: str = "bd-1") -> None:
    answer = target.dispatch(make_task(bead), token)
    assert isinstance(answer, Accepted), answer


def until(what: Callable[[], Any]) -> Any:
    """Return the first true value of ``what``; fails after ``PATIENCE``."""
    end = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return found


def ended(target: Local, token: str) -> JobReport:
    """Return the verdict on a run once it does not live any more."""

    def over() -> JobReport | None:
        report = target.verdict(token, None)
        return report if report.verdict is not Verdict.RUNNING else None

    found: JobReport = until(over)
    return found


def run(target: ScriptTarget, token: str = "", bead: str = "bd-1") -> JobReport:
    """Run an agent to its end and return the verdict."""
    start(target, token or target.token, bead)
    return ended(target, token or target.token)


def output(target: ScriptTarget) -> str:
    log = target.store.folder(target.token) / "log"
    return log.read_text("utf-8", "replace") if log.exists() else ""


def alive(token: str) -> set[int]:
    """Return the living processes of a run, its runner included."""
    return processes.with_token(token)


def flood(size: int) -> str:
    """A command that prints so many bytes."""
    return f"""{PYTHON} -c 'print(("0123456789\\n" * {size // 11 + 1})[:{size}], end="")'"""
