"""The runs of one tracker on this host: each started at most once, counted, and settled.

``<root>/runs/TOKEN/`` is one run (``run_files.py``). ``<root>/active/TOKEN`` marks a run without a
known end. ``<root>/lock`` serializes all workers of this host while they count, make or settle
runs, so that only its dispatcher or its runner ever holds a run's own lock.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dolt_watch.sanitize import sanitize
from dolt_watch.targets.local import processes, run_files
from dolt_watch.targets.local.runs import AlreadyMade, NoSlot, Run, StoreUnavailable
from dolt_watch.targets.local.settlement import settle_dead

MARGIN_SECONDS = 8.0
"""Seconds that a runner may take beyond its agent's grace period before it is killed itself."""


@contextmanager
def _available(place: Path) -> Iterator[None]:
    """Raise StoreUnavailable for an OSError of the block."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"{place}: {error.strerror or error}") from error


def _is_token(name: str) -> bool:
    return len(name) <= 128 and re.fullmatch("-*[A-Za-z0-9][A-Za-z0-9-]*", name) is not None


def _tokens_in(folder: Path, *, folders: bool) -> list[str]:
    """Return the tokens that name files of a folder, or its subfolders. A user may add others."""
    with _available(folder), os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if _is_token(entry.name) and entry.is_dir() is folders
        )


class RunStore:
    """One tracker's runs. ``timeout``: seconds to wait for another worker of this host."""

    def __init__(self, root: Path, timeout: float = 10.0) -> None:
        self.root, self.timeout = root, timeout
        self.runs, self.active = root / "runs", root / "active"
        self._ended_now: list[Run] = []
        """Runs whose end was found since ``take_ended`` was last called."""

    def folder(self, token: str) -> Path:
        """Return a run's folder. Raises ValueError if the token is not a valid name."""
        if not _is_token(token):
            raise ValueError("not a token of a run")
        return self.runs / token

    def prepare(self) -> None:
        """Make the folders. Raises StoreUnavailable."""
        with _available(self.root):
            for folder in (self.root, self.runs, self.active):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def site(self) -> str:
        """Return the ID of this host and state directory. Only a claim made here is settled here.

        Raises StoreUnavailable.
        """
        self.prepare()
        path = self.root / "site"
        with _available(path):
            if not path.exists():
                with self._locked():
                    if not path.exists():
                        run_files.write(path, {"id": uuid.uuid4().hex})
            found = run_files.read(path)
        if not found or not isinstance(found.get("id"), str):
            raise StoreUnavailable(f"{path} is damaged")
        return f"{socket.gethostname()}/{found['id']}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the tracker's lock. Raises StoreUnavailable after ``timeout``."""
        with _available(self.root):
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            until = time.monotonic() + self.timeout
            with _available(self.root):  # A file system may have no locks.
                while not run_files.try_lock(descriptor):
                    if time.monotonic() > until:
                        raise StoreUnavailable(f"{self.root} is locked by another process")
                    time.sleep(processes.POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)

    # -- making a run --------------------

    def make(self, token: str, target: str, slots: int, record: dict[str, Any], prompt: str) -> int:
        """Take a slot and make the run's folder, atomically. Returns its lock, which is held.

        Args:
            token: The attempt's token.
            target: Name of the target.
            slots: Number of slots of the target.
            record: The content of ``run.json``.
            prompt: The agent's standard input.

        Raises:
            AlreadyMade: The token was used before.
            NoSlot: All slots of the target are taken.
            StoreUnavailable: The folder can't be written. Nothing of it remains.
        """
        folder = self.folder(token)
        self.prepare()
        with self._locked():
            if folder.exists():
                raise AlreadyMade(token)
            live = len(self._live(target))
            if live >= slots:
                raise NoSlot(f"{live} of {slots} slots are taken")
            temporary = None
            lock = -1
            try:
                temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=self.runs))
                (temporary / run_files.PROMPT).write_bytes(prompt.encode("utf-8", "replace"))
                run_files.reserve(temporary)
                own = {"token": token, "target": target}
                run_files.write(temporary / run_files.RUN, record | own)
                lock = run_files.open_lock(temporary)
                run_files.try_lock(lock)
                run_files.write(self.active / token, {"target": target})
                temporary.rename(folder)
                run_files.sync_folder(self.runs)
            except OSError as error:
                if lock >= 0:
                    os.close(lock)
                if temporary is not None:
                    shutil.rmtree(temporary, ignore_errors=True)
                if folder.exists():  # The last step failed. Nothing was started yet.
                    with suppress(OSError):
                        run_files.write(folder / run_files.ABANDONED, {"at": time.time()})
                raise StoreUnavailable(f"{self.root}: {error.strerror or error}") from error
            return lock

    def check_writable(self) -> None:
        """Raise StoreUnavailable if a run's folder can't be made now (full, over quota,
        read-only).
        """
        self.prepare()
        with (
            _available(self.root),
            tempfile.TemporaryDirectory(prefix=".new-", dir=self.runs) as probe,
        ):
            run_files.reserve(Path(probe))

    def refuse(self, token: str, reason: str) -> None:
        """Record that no agent was started for a run that its dispatcher still holds."""
        end = {"refused": reason[:2000], "ended_at": time.time()}
        with suppress(OSError):
            run_files.write_reserved(self.folder(token), run_files.END, end)
        with suppress(OSError):
            (self.active / token).unlink()

    # -- counting --------------------

    def live_tokens(self, target: str) -> list[str]:
        """Return the tokens of a target's runs that live on this host. Raises StoreUnavailable."""
        self.prepare()
        with self._locked():
            return self._live(target)

    def _live(self, target: str) -> list[str]:
        found = []
        for token in _tokens_in(self.active, folders=False):
            marker = run_files.read(self.active / token) or {}
            if marker.get("target") == target and self._read(token).lives:
                found.append(token)
        return found

    def tokens(self) -> list[str]:
        """Return the tokens of all runs that have a folder. Raises StoreUnavailable."""
        with _available(self.runs):
            return _tokens_in(self.runs, folders=True) if self.runs.exists() else []

    # -- reading and settling --------------------

    def read(self, token: str) -> Run | None:
        """Return a run. Returns None if it has no folder here.

        A run whose runner is dead is settled: its processes are killed, and its end is recorded.

        Raises:
            StoreUnavailable: The state directory can't be used.
            ValueError: The token is not a valid name.
        """
        folder = self.folder(token)
        with _available(folder):  # The state directory may belong to another user.
            exists = folder.exists()
        if not exists:
            self.prepare()
            return None
        with self._locked():
            return self._read(token)

    def stop(self, token: str, by: str, reason: str) -> Run | None:
        """End a run and wait for its end. Returns the run, or None if it has no folder here.

        The runner ends the agent and all its descendants. A runner that doesn't do so is killed,
        and its agent with it. Raises as ``read``.
        """
        folder, run = self.folder(token), self.read(token)
        if run is None or run.state != "running":
            return run
        # Its size is limited: whatever the reason contains, the run is stopped.
        reason = sanitize(" ".join(reason.split()))
        request = {"by": sanitize(by, 200), "reason": reason, "at": time.time()}
        with suppress(OSError):
            run_files.write_reserved(folder, run_files.STOP, request)
        patience = float(run.record.get("grace", 0.0)) + MARGIN_SECONDS
        until, number = time.monotonic() + patience, signal.SIGTERM
        while run is not None and run.state == "running":
            runner = (run_files.read(folder / run_files.STARTED) or {}).get("runner", {})
            pid = runner.get("pid")
            if isinstance(pid, int) and processes.start_time(pid) == runner.get("start"):
                processes.send([pid], number)
            if time.monotonic() > until:
                if number == signal.SIGKILL:
                    return run
                until, number = time.monotonic() + patience, signal.SIGKILL
            time.sleep(processes.POLL_SECONDS * 3)
            run = self.read(token)
        return run

    def settle(self, token: str) -> Run:
        """Return the run of an attempt that was claimed here, even if it has no folder.

        Without a folder a tombstone is made, so that the attempt can never start. Raises as
        ``read``.
        """
        folder = self.folder(token)
        self.prepare()
        with self._locked():
            if not folder.exists():
                if left := processes.with_token(token):  # Its folder was deleted during the run.
                    why = f"its folder was deleted, but processes run: {sorted(left)}"
                    return Run(token, "unclear", why=why)
                with _available(self.root):
                    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=self.runs))
                    run_files.write(temporary / run_files.ABANDONED, {"at": time.time()})
                    temporary.rename(folder)
                    run_files.sync_folder(self.runs)
            return self._read(token)

    def _read(self, token: str) -> Run:
        """Read one run under the tracker's lock."""
        folder = self.folder(token)
        record = run_files.read(folder / run_files.RUN) or {}
        with _available(folder):
            if (folder / run_files.ABANDONED).exists():
                return self._ended(Run(token, "abandoned", record))
            try:
                lock = run_files.open_lock(folder)
            except FileNotFoundError:
                return self._ended(Run(token, "abandoned", record))  # Only its marker was made.
            try:
                if not run_files.try_lock(lock):
                    return Run(token, "running", record)
                run = settle_dead(token, folder, record)
                return run if run.lives else self._ended(run)
            finally:
                os.close(lock)

    def _ended(self, run: Run) -> Run:
        with suppress(OSError):
            (self.active / run.token).unlink()
            self._ended_now.append(run)
        return run

    def take_ended(self) -> list[Run]:
        """Return the runs whose end was found since the last call."""
        found, self._ended_now = self._ended_now, []
        return found

    def forget(self, token: str) -> None:
        """Delete the folder of a run that ended. Raises StoreUnavailable."""
        with self._locked():
            if self.folder(token).exists() and not self._read(token).lives:
                shutil.rmtree(self.folder(token), ignore_errors=True)
