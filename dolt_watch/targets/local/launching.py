"""Start of a run's runner, and its report whether it started the agent."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dolt_watch.targets.local import run_files

RUNNER = Path(__file__).with_name("runner.py")


class Launch(NamedTuple):
    """The runner's report.

    ``outcome`` is 'started', 'refused', or 'silent' if an agent may run.
    """

    outcome: str
    why: str = ""


def launch(
    folder: Path, lock: int, environ: Mapping[str, str], seconds: float, runner: Path = RUNNER
) -> Launch:
    """Start a runner and wait for its report.

    The runner inherits the lock, so that the lock is held at every moment. It runs in a session of
    its own, without a terminal, with the agent's environment.

    Args:
        folder: The run's folder.
        lock: Descriptor of the run's lock.
        environ: The agent's environment.
        seconds: Longest wait for the report.
        runner: The program.
    """
    hear, tell = os.pipe()
    try:
        command = [sys.executable, "-I", "-S", str(runner), str(folder), str(lock), str(tell)]
        until = time.monotonic() + seconds
        with (folder / run_files.RUNNER_LOG).open("wb") as errors:
            process = subprocess.Popen(
                command,
                env=dict(environ),
                pass_fds=(lock, tell),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
                cwd="/",
            )
        os.close(tell)
        tell = -1
        answer = _hear(hear, until)
        try:
            process.wait(max(until - time.monotonic(), 0.1))  # The runner forks and ends at once.
        except subprocess.TimeoutExpired:
            process.kill()  # It hangs before its fork, so no runner exists.
            process.wait()
    except (OSError, ValueError) as error:
        return Launch("refused", f"the runner could not be started: {error}")
    finally:
        os.close(hear)
        if tell >= 0:
            os.close(tell)
    outcome, _, why = answer.partition(" ")
    if outcome in ("started", "refused"):
        return Launch(outcome, why)
    return Launch("silent", "the runner didn't report in time")


def _hear(hear: int, until: float) -> str:
    """Return the runner's line. Returns '' if the runner ends or is silent."""
    answer = b""
    while b"\n" not in answer:
        left = until - time.monotonic()
        if left <= 0 or not select.select([hear], [], [], left)[0]:
            return ""
        data = os.read(hear, 8192)
        if not data:
            return ""
        answer += data
    return answer.partition(b"\n")[0].decode("utf-8", "replace")
