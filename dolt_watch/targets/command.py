"""A local program: the bead as JSON on its standard input, the first line of its output is the
job's id. No shell.

Its exit says what became of the dispatch. It may leave a run behind in the background where it
exits 0; wherever else it ends, its process group ends with it.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import IO

from dolt_watch.core.model import Capacity, JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.errors import SettingsError
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.bead_payload import bead_payload
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.responses import names_no_bead, valid_job_id
from dolt_watch.targets.settings import CommandSettings
from dolt_watch.targets.validation import checked_timeout

MAX_OUTPUT = 64 * 1024
"""Bytes that are kept of each output; the rest is read and dropped, so that the program does not
hang on it.
"""
LOOK_EVERY = 0.02
"""Seconds between two looks whether it has ended.

Its outputs cannot tell: what it leaves in the background may hold them open.
"""
_OURS = ("BEAD_ID", "IDEMPOTENCY_KEY")


class Command:
    """One program, started once for each bead."""

    def __init__(self, settings: CommandSettings, environ: Mapping[str, str] = os.environ) -> None:
        """Raises SettingsError: no program is named, or an environment variable that can be
        none.
        """
        self.name = settings.name
        self.timeout = checked_timeout(settings)
        if not settings.argv or not settings.argv[0]:
            raise SettingsError(
                f"target {self.name} names no program: nobody to dispatch to",
                where=settings.origin("argv"),
                fix=f'[targets.{self.name}] argv = ["/path/of/the/program", "argument"]',
            )
        for name in settings.env:
            if not name or "=" in name or name in _OURS:
                raise SettingsError(
                    f"target {self.name}: {sanitize(name, 80)!r} cannot be named in env",
                    where=settings.origin("env"),
                    fix=(
                        f'names only: env = ["PATH", "HOME"]; {" and ".join(_OURS)} are set by'
                        " dolt_watch"
                    ),
                )
        self._argv = list(settings.argv)
        self._env = {name: environ[name] for name in settings.env if name in environ}

    def capacity(self) -> Capacity:
        """Not known; but none where there is no such program, so that nothing is claimed for it."""
        if shutil.which(self._argv[0], path=self._env.get("PATH", os.defpath)) is None:
            return Capacity(
                0, f"{sanitize(self._argv[0], 200)}: no such program, or not executable", down=True
            )
        return Capacity(None, "a program tells nothing of its capacity")

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        """Runs it once, and to its end."""
        given = json.dumps(bead_payload(task)).encode() + b"\n"
        env = {**self._env, "BEAD_ID": task.bead, "IDEMPOTENCY_KEY": token}
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen(
                self._argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env, start_new_session=True
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in the bead's id
            # Popen raises only where no program was executed.
            why = (
                f"{sanitize(self._argv[0], 200)} could not be started: {sanitize(str(error), 200)}"
            )
            return Refused(why, unreachable="" if isinstance(error, ValueError) else "target")
        end = ProcessResult(None)
        with process:  # which waits for it
            try:
                end = _Talk(process, given).until(time.monotonic() + self.timeout)
            finally:
                if end.code != 0:
                    with suppress(ProcessLookupError, PermissionError):
                        os.killpg(process.pid, signal.SIGKILL)
        return read_end(end, self.timeout)

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        return JobReport(Verdict.UNKNOWN)

    def close(self) -> None:
        """Nothing is held open between two dispatches."""


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """How it ended. ``code``: as subprocess has it, None: its time was over."""

    code: int | None
    out: bytes = b""
    err: bytes = b""


def read_end(end: ProcessResult, timeout: float) -> Answer:
    """What an end means: the table of docs/targets.md. Raises nothing."""
    said = sanitize(end.err.decode("utf-8", "replace").strip())
    if end.code is None:
        return Unknown(
            f"the program did not end within {timeout:g} s: killed, its process group with it"
        )
    if end.code < 0:
        return Unknown(f"the program was killed by signal {-end.code}: {said}".rstrip(": "))
    if end.code == os.EX_TEMPFAIL:
        return Busy(f"exit {end.code}: {said}".rstrip(": "))
    if end.code != 0:
        why = f"exit {end.code}: {said}".rstrip(": ")
        return Refused(why, not_found=names_no_bead(why))
    first = end.out.decode("utf-8", "replace").partition("\n")[0].strip()
    job = valid_job_id(first)
    # It says that it went well, so a run may have begun.
    return (
        Accepted(job, None)
        if job
        else Unknown(f"exit 0, no job id in the first line: {sanitize(first)}".rstrip(": "))
    )


class _Talk:
    """Gives a program its input and takes its outputs, all three at once, so that neither waits
    for the other.

    Temporary files would need no loop, but nothing would bound their size: RLIMIT_FSIZE also
    limits every file that the program and the run in its background write.
    """

    def __init__(self, process: subprocess.Popen[bytes], given: bytes) -> None:
        assert process.stdin and process.stdout and process.stderr
        self._process, self._left = process, given
        self._kept: dict[IO[bytes], bytearray] = {
            process.stdout: bytearray(),
            process.stderr: bytearray(),
        }
        self._selector = selectors.DefaultSelector()
        for stream in (process.stdin, *self._kept):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(
                stream, selectors.EVENT_WRITE if stream is process.stdin else selectors.EVENT_READ
            )

    def until(self, deadline: float) -> ProcessResult:
        """``deadline``: of time.monotonic()."""
        with self._selector:
            while (code := _code(self._process)) is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return ProcessResult(None)
                self._turn(min(left, LOOK_EVERY))
            # What it wrote before its end is there already; what others in its group still write
            # is not waited for.
            for stream in self._kept:
                self._read(stream)
        out, err = self._kept.values()
        return ProcessResult(code, bytes(out), bytes(err))

    def _turn(self, wait: float) -> None:
        for key, _ in self._selector.select(wait):
            if key.fileobj is self._process.stdin:
                self._write(key.fileobj)
            else:
                self._read(key.fileobj)  # type: ignore[arg-type]

    def _write(self, stream: IO[bytes]) -> None:
        with suppress(BlockingIOError):
            try:
                self._left = self._left[os.write(stream.fileno(), self._left) :]
            except BrokenPipeError:  # it does not want to read any more
                self._left = b""
        if not self._left:
            self._selector.unregister(stream)
            stream.close()

    def _read(self, stream: IO[bytes]) -> None:
        """One pipe's full, at most."""
        kept = self._kept[stream]
        with suppress(BlockingIOError, ValueError):  # ValueError: closed already
            data = os.read(stream.fileno(), MAX_OUTPUT)
            kept += data[: MAX_OUTPUT - len(kept)]
            if not data:
                self._selector.unregister(stream)
                stream.close()


def _code(process: subprocess.Popen[bytes]) -> int | None:
    """Its exit code, -N where signal N ended it, None while it runs.

    Without collecting it: until then nobody else gets its number, which its group has too.
    """
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return process.poll()
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
