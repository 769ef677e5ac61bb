"""Processes of a run: their identity, their descendants, and their end.

Uses the standard library only, because the runner loads this file by its path, in an isolated
interpreter. On Linux everything is read from /proc (proc(5)). On other systems, a process is
identified by the start time that `ps` prints, and descendants are not found.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

PROC = Path("/proc")
TOKEN_VARIABLE = "DOLT_WATCH_TOKEN"
"""Environment variable that marks each process of a run."""
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
"""Numbers of prctl(2) options, from linux/prctl.h."""
POLL_SECONDS = 0.02


def boot_id() -> str:
    """Return the ID of the running kernel's boot. Returns '' if the system has none."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def start_time(pid: int) -> str:
    """Return when a process started, as text for comparison. Returns '' if it doesn't exist.

    Linux: clock ticks since boot, field 22 of /proc/PID/stat. A zombie counts as ended.
    """
    if (PROC / "self/stat").exists():
        fields = _stat(pid)
        return fields[19] if fields else ""
    try:
        shown = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return shown.stdout.decode("utf-8", "replace").strip()


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on. Empty if the process has ended.

    The name before them may contain any character.
    """
    try:
        text = (PROC / str(pid) / "stat").read_bytes().decode("utf-8", "replace")
    except OSError:
        return []
    fields = text.rpartition(")")[2].split()
    return [] if fields[0] in ("Z", "X") else fields


def _pids() -> Iterator[int]:
    with suppress(OSError), os.scandir(PROC) as entries:
        for entry in entries:
            if entry.name.isdigit():
                yield int(entry.name)


def _living() -> Iterator[tuple[int, list[str]]]:
    """Yield each living process with the fields of its ``_stat``."""
    for pid in _pids():
        if fields := _stat(pid):
            yield pid, fields


def descendants(root: int) -> set[int]:
    """Return the living descendants of a process. A subreaper also finds its orphans."""
    children: dict[int, list[int]] = {}
    for pid, fields in _living():
        children.setdefault(int(fields[1]), []).append(pid)
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def with_token(token: str) -> set[int]:
    """Return the living processes whose environment contains this run's token.

    A process that replaced its environment is not found.
    """
    marker = f"{TOKEN_VARIABLE}={token}".encode()
    found = set()
    for pid in _pids():
        with suppress(OSError):
            if marker in (PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                found.add(pid)
    return {pid for pid in found if pid != os.getpid() and start_time(pid)}


def in_session(session: int) -> set[int]:
    """Return the living processes of a session whose leader has ended.

    A leader that lives began another session, with a number that was free again.
    """
    if start_time(session):
        return set()
    return {pid for pid, fields in _living() if int(fields[3]) == session}


def working_in(folder: Path) -> set[int]:
    """Return the processes that work in this folder or below it."""
    inside, found = str(folder.resolve()), set()
    for pid in _pids():
        with suppress(OSError):
            place = str((PROC / str(pid) / "cwd").readlink())
            if place == inside or place.startswith(f"{inside}/"):
                found.add(pid)
    return found


def send(pids: Iterable[int], number: int) -> None:
    """Send a signal to each process that still exists and allows it."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def kill_all(find: Callable[[], set[int]], seconds: float) -> set[int]:
    """Kill the processes that ``find`` returns until it returns none.

    Returns the survivors after ``seconds``.
    """
    until = time.monotonic() + seconds
    while found := find():
        if time.monotonic() > until:
            return found
        send(found, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    return set()


def prctl(option: int, value: int) -> bool:
    """Call prctl(2). Returns whether it exists here and succeeded."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(_libc().prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError, ImportError):
        return False


@cache
def _libc() -> Any:
    """Return the C library. Raises ImportError if the interpreter was built without ctypes."""
    # Late: only a runner needs prctl.
    import ctypes

    return ctypes.CDLL(None, use_errno=True)
