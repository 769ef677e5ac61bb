"""Agents for tests: shell scripts as real processes, with a limit on each wait."""

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
"""Replacement for the program ``setsid``, which some systems lack."""
PATIENCE = 20.0
"""Seconds after which a wait for a process fails."""


class ScriptTarget(Local):
    """A target whose agent is a shell script."""

    token: str
    """A unique token, because concurrent tests must not find each other's processes."""


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
    """Return the first true value of ``what``. Fail after ``PATIENCE`` seconds."""
    end = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return found


def ended(target: Local, token: str) -> JobReport:
    """Wait until a run ends, and return its report."""

    def over() -> JobReport | None:
        report = target.verdict(token, None)
        return report if report.verdict is not Verdict.RUNNING else None

    found: JobReport = until(over)
    return found


def run(target: ScriptTarget, token: str = "", bead: str = "bd-1") -> JobReport:
    """Run an agent to its end and return the report."""
    start(target, token or target.token, bead)
    return ended(target, token or target.token)


def output(target: ScriptTarget) -> str:
    log = target.store.folder(target.token) / "log"
    return log.read_text("utf-8", "replace") if log.exists() else ""


def alive(token: str) -> set[int]:
    """Return the live processes of a run, including its runner."""
    return processes.with_token(token)


def flood(size: int) -> str:
    """Return a command that prints ``size`` bytes."""
    return f"""{PYTHON} -c 'print(("0123456789\\n" * {size // 11 + 1})[:{size}], end="")'"""
