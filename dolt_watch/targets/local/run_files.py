"""The files of one run. Each is written in a way that leaves a readable state after a crash.

Uses the standard library only, because the runner loads this file by its path.

``run.json``        the run's record; written before the folder gets its name
``prompt``          the agent's standard input
``lock``            locked (flock) by the dispatcher, then by the runner, while the run lives
``started.json``    written by the runner before it starts the agent
``agent.json``      the agent's process
``stop.json``       a request to stop the run
``log``, ``log.1``  the agent's output, rotated
``end.json``        the end of the run
``abandoned.json``  a tombstone: the agent was never started and never will be
``worktree/``       the git worktree, if the target has a repository
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

RUN, PROMPT, LOCK = "run.json", "prompt", "lock"
STARTED, AGENT, STOP, END = "started.json", "agent.json", "stop.json", "end.json"
ABANDONED = "abandoned.json"
RUNNER_LOG = "runner.log"
WORKTREE = "worktree"
RESERVED = {STARTED: 4096, AGENT: 4096, STOP: 4096, END: 16384}
"""File → bytes of disk that are reserved for it, so that it can be written on a full disk."""

_NOT_OFFERED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def encode(record: dict[str, Any]) -> bytes:
    """Return a record as JSON. A character takes at most 6 bytes, and usually 1 to 4."""
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a JSON file atomically and durably. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(encode(record))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def reserve(folder: Path) -> None:
    """Reserve disk space for the files that must be written later. Raises OSError."""
    for name, size in RESERVED.items():
        with (folder / f".{name}").open("wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            # macOS lacks it. musl supports it for some file systems.
            except (AttributeError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in _NOT_OFFERED:
                    raise
                file.write(b" " * size)


def write_reserved(folder: Path, name: str, record: dict[str, Any]) -> None:
    """Write a file into its reserved space, then give it its name. Works on a full disk.

    The unused space is filled with spaces, which JSON allows.

    Raises:
        OSError: The file can't be written.
        ValueError: The record is larger than its reserve.
    """
    text = encode(record)
    size = RESERVED[name]
    if len(text) > size:
        raise ValueError(f"{name} would have {len(text)} bytes, but {size} are reserved")
    reserved = folder / f".{name}"
    if not reserved.exists():  # The file was written before. The new one replaces it.
        write(folder / name, record)
        return
    with reserved.open("r+b") as file:
        file.write(text.ljust(size))
        file.flush()
        os.fsync(file.fileno())
    reserved.replace(folder / name)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def read(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file. Returns None if there is no file or no complete object."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def open_lock(folder: Path) -> int:
    """Open a run's lock file and return its descriptor. Raises OSError."""
    return os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int) -> bool:
    """Take an exclusive lock without waiting. Returns False if another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
