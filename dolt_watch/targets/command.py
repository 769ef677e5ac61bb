"""The target ``command``: a local program that hands the bead over.

It gets the bead as JSON on standard input, and the first line of its output is the job's id. No
shell is involved. Its exit code is the outcome of the dispatch. If it exits with 0, it may leave a
run in the background. Otherwise its process group ends with it.
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
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.bead_payload import bead_payload
from dolt_watch.targets.command_settings import CommandSettings
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.responses import names_no_bead, valid_job_id
from dolt_watch.targets.settings import invalid, missing
from dolt_watch.targets.validation import checked_timeout

MAX_OUTPUT = 64 * 1024
"""Bytes that are kept of each output. The rest is read and discarded, so that the program doesn't
block.
"""
LOOK_EVERY = 0.02
"""Interval in seconds of the checks whether the program has ended.

The outputs don't show that, because a process in the background may keep them open.
"""
_OURS = ("BEAD_ID", "IDEMPOTENCY_KEY")


class Command:
    """The target: one program, started once for each bead."""

    def __init__(self, settings: CommandSettings, environ: Mapping[str, str] = os.environ) -> None:
        """Check the settings.

        Raises:
            SettingsError: There is no program, or a name in ``env`` is invalid.
        """
        self.name = settings.name
        self.timeout = checked_timeout(settings)
        if not settings.argv or not settings.argv[0]:
            fix = f'[targets.{self.name}] argv = ["/path/of/the/program", "argument"]'
            raise missing(settings, "argv", "program to run", fix)
        for name in settings.env:
            if not name or "=" in name or name in _OURS:
                problem = f"{sanitize(name, 80)!r} isn't allowed in env"
                fix = f"dolt_watch sets {' and '.join(_OURS)}."
                fix = f'Write names only: env = ["PATH", "HOME"]. {fix}'
                raise invalid(settings, "env", problem, fix)
        self._argv = list(settings.argv)
        self._env = {name: environ[name] for name in settings.env if name in environ}

    def capacity(self) -> Capacity:
        """Return an unknown capacity.

        If the program is missing, the target is down, so that nothing is claimed for it.
        """
        if shutil.which(self._argv[0], path=self._env.get("PATH", os.defpath)) is None:
            why = f"{sanitize(self._argv[0], 200)}: no such program, or not executable"
            return Capacity(0, why, down=True)
        return Capacity(None, "a program reports no capacity")

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        """Run the program once, to its end, and return the answer."""
        given = json.dumps(bead_payload(task)).encode() + b"\n"
        env = {**self._env, "BEAD_ID": task.bead, "IDEMPOTENCY_KEY": token}
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen(
                self._argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env, start_new_session=True
            )
        # ValueError: the bead's id contains a NUL character.
        except (OSError, ValueError) as error:
            # Popen raises only if no program was executed.
            program, cause = sanitize(self._argv[0], 200), sanitize(str(error), 200)
            why = f"{program} could not be started: {cause}"
            return Refused(why, unreachable="" if isinstance(error, ValueError) else "target")
        end = ProcessResult(None)
        with process:  # Leaving the block waits for the program.
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
        """Do nothing: nothing is open between two dispatches."""


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """The end of the program. ``code`` is as in subprocess. None: its time was over."""

    code: int | None
    out: bytes = b""
    err: bytes = b""


def read_end(end: ProcessResult, timeout: float) -> Answer:
    """Return the answer for an end.

    By the table in docs/reference/target-answers.md. Raises nothing.
    """
    text = sanitize(end.err.decode("utf-8", "replace").strip())
    if end.code is None:
        why = f"the program didn't end within {timeout:g} s and was killed with its process group"
        return Unknown(why)
    if end.code < 0:
        return Unknown(f"the program was killed by signal {-end.code}: {text}".rstrip(": "))
    if end.code != 0:
        why = f"exit {end.code}: {text}".rstrip(": ")
        busy = end.code == os.EX_TEMPFAIL
        return Busy(why) if busy else Refused(why, not_found=names_no_bead(why))
    first = end.out.decode("utf-8", "replace").partition("\n")[0].strip()
    if job := valid_job_id(first):
        return Accepted(job, None)
    # The program reports success, so a run may have begun.
    return Unknown(f"exit 0, no job id in the first line: {sanitize(first)}".rstrip(": "))


class _Talk:
    """Writes a program's input and reads its two outputs at the same time, so that none blocks the
    others.

    Temporary files would need no loop, but their size would have no limit: RLIMIT_FSIZE also limits
    every file that the program and its background run write.
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
            event = selectors.EVENT_READ if stream in self._kept else selectors.EVENT_WRITE
            self._selector.register(stream, event)

    def until(self, deadline: float) -> ProcessResult:
        """Return the end of the program. ``deadline`` is a value of time.monotonic()."""
        with self._selector:
            while (code := _code(self._process)) is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return ProcessResult(None)
                self._turn(min(left, LOOK_EVERY))
            # Everything that the program wrote is already in the pipe. Output of other processes in
            # its group is not awaited.
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
            except BrokenPipeError:  # The program has stopped reading.
                self._left = b""
        if not self._left:
            self._selector.unregister(stream)
            stream.close()

    def _read(self, stream: IO[bytes]) -> None:
        """Read at most the content of one full pipe."""
        kept = self._kept[stream]
        with suppress(BlockingIOError, ValueError):  # ValueError: the pipe is already closed.
            data = os.read(stream.fileno(), MAX_OUTPUT)
            kept += data[: MAX_OUTPUT - len(kept)]
            if not data:
                self._selector.unregister(stream)
                stream.close()


def _code(process: subprocess.Popen[bytes]) -> int | None:
    """Return the exit code, -N after signal N, or None while the program runs.

    The process is not collected here. Until it is, no other process gets its PID, which is also the
    ID of its group.
    """
    if not hasattr(os, "waitid"):  # macOS before Python 3.13.
        return process.poll()
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
