"""The end of a run on request."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from dolt_watch.targets.local import processes, run_files
from dolt_watch.targets.local.runs import Run
from dolt_watch.targets.local.store import RunStore

MARGIN_SECONDS = 8.0
"""Seconds that a runner may take beyond its agent's grace period before it is killed itself."""


def stop(store: RunStore, token: str, by: str, reason: str) -> Run | None:
    """End a run and wait for its end. Returns the run, or None if it has no folder here.

    The runner ends the agent and all its descendants. A runner that doesn't do so is killed, and
    its agent with it.

    Raises:
        StoreUnavailable: The state directory can't be used.
        ValueError: The token is not a valid name.
    """
    folder = store.folder(token)
    run = store.read(token)
    if run is None or run.state != "running":
        return run
    request = {"by": by[:200], "reason": reason[:500], "at": time.time()}
    with suppress(OSError):
        run_files.write_reserved(folder, run_files.STOP, request)
    patience = float(run.record.get("grace", 0.0)) + MARGIN_SECONDS
    until = time.monotonic() + patience
    number = signal.SIGTERM
    while run is not None and run.state == "running":
        runner = (run_files.read(folder / run_files.STARTED) or {}).get("runner", {})
        pid = runner.get("pid")
        if isinstance(pid, int) and processes.start_time(pid) == runner.get("start"):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        if time.monotonic() > until:
            if number == signal.SIGKILL:
                return run
            number, until = signal.SIGKILL, time.monotonic() + patience
        time.sleep(processes.POLL_SECONDS * 3)
        run = store.read(token)
    return run
