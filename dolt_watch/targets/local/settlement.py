"""Settlement of a run whose lock is free: neither its dispatcher nor its runner exists."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from dolt_watch.targets.local import processes, run_files
from dolt_watch.targets.local.runs import Run, state_of

KILL_SECONDS = 3.0
"""Seconds for which a settlement tries to kill the processes of a dead runner."""


def settle_dead(token: str, folder: Path, record: dict[str, Any]) -> Run:
    """Settle a run whose lock is free: neither its dispatcher nor its runner exists."""
    end = run_files.read(folder / run_files.END)
    if end is not None:
        return Run(token, state_of(end), record, end)
    started = run_files.read(folder / run_files.STARTED)
    if started is None:
        run_files.write(folder / run_files.ABANDONED, {"at": time.time()})
        return Run(token, "abandoned", record)
    rebooted = bool(started.get("boot")) and started["boot"] != processes.boot_id()
    # All processes of a container end with its first one, and the next container has their numbers.
    init = processes.start_time(1)
    replaced = bool(init and started.get("init")) and started["init"] != init
    if not rebooted and not replaced:
        left = processes.kill_all(lambda: _left(token, folder, started), KILL_SECONDS)
        if left:
            why = f"its processes can't be ended: {sorted(left)}"
            return Run(token, "unclear", record, why=why)
    why = "its container was restarted" if replaced else "its runner was killed"
    why = "the host was restarted" if rebooted else why
    end = {"lost": True, "why": why, "ended_at": time.time(), "started_at": started.get("at")}
    run_files.write_reserved(folder, run_files.END, end)
    return Run(token, "lost", record, end)


def _left(token: str, folder: Path, started: dict[str, Any]) -> set[int]:
    """Return the living processes of a run: by token, by session, and the agent by its identity.

    A process that replaced its environment and left the session is not found.
    """
    found = processes.with_token(token)
    if isinstance(started.get("session"), int):
        found |= processes.in_session(started["session"])
    agent = run_files.read(folder / run_files.AGENT)
    if agent and agent.get("start") and processes.start_time(int(agent["pid"])) == agent["start"]:
        found.add(int(agent["pid"]))
    return found
