"""The runner: starts one agent, stores its output, and records its end.

It is started by its path in an isolated interpreter (``python -I -S runner.py FOLDER LOCK_FD
STATUS_FD``), with the agent's environment as its own, in a session without a terminal. It outlives
dolt_watch. It keeps the lock of its folder for as long as a process of the run may live. It reports
the start on STATUS_FD: ``started``, or ``refused REASON`` if no agent was started.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dolt_watch.targets.local import output_log, processes, run_files
else:  # The isolated interpreter finds no installed package.
    sys.path.append(str(Path(__file__).resolve().parent))
    import output_log
    import processes
    import run_files

CHUNK = 65536
DRAIN_SECONDS = 0.5
"""Seconds for which output is read after the agent's exit, if a child keeps the pipe open."""
KILL_SECONDS = 5.0
"""Seconds for which the runner tries to kill the survivors of SIGTERM."""
CHILD_GRACE_SECONDS = 1.0
"""Seconds that the agent's remaining processes have after SIGTERM."""


class Runner:
    """One run from its start to its end."""

    def __init__(self, folder: Path, status: int) -> None:
        self.folder, self.status = folder, status
        self.run = run_files.read(folder / run_files.RUN) or {}
        self.agent: subprocess.Popen[bytes] | None = None
        self.exit: int | None = None
        """The agent's exit code, -N if signal N killed it. None while it runs."""
        self.stopping = self.timed_out = False
        self.began = time.monotonic()

    def main(self) -> None:
        """Run the agent to its end."""
        if (self.folder / run_files.ABANDONED).exists():
            self._report("refused the attempt was given up before its runner started")
            return
        if not self.run:
            self._report("refused run.json can't be read")
            return
        processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
        output, child_end = os.pipe()
        wake, wake_end = os.pipe()
        for descriptor in (output, wake, wake_end):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not self._start(child_end):
            return
        os.close(child_end)
        log = output_log.OutputLog(self.folder, int(self.run["log_bytes"]))
        self._supervise(output, wake, log)
        survivors = self._end_all(output, log)
        while _copy(output, log, wait=False):
            pass
        self._record_end(log, survivors)

    def _start(self, child_end: int) -> bool:
        pid = os.getpid()
        started = {
            "runner": {"pid": pid, "start": processes.start_time(pid)},
            "boot": processes.boot_id(),
            "init": processes.start_time(1),
            "session": os.getsid(0),
            "at": time.time(),
        }
        try:
            # From here on the agent may run. A runner that dies without started.json has started
            # none.
            run_files.write_reserved(self.folder, run_files.STARTED, started)
            stdin = self.folder / run_files.PROMPT if self.run["stdin"] else Path(os.devnull)
            with stdin.open("rb") as prompt:
                self.agent = subprocess.Popen(
                    self.run["argv"],
                    stdin=prompt,
                    stdout=child_end,
                    stderr=child_end,
                    cwd=self.run["cwd"],
                    # By name: an interpreter in the C locale adds LC_CTYPE to its own (PEP 538).
                    env={name: os.environ[name] for name in self.run["env"] if name in os.environ},
                    process_group=0,
                    preexec_fn=lambda: _die_with(pid),  # The runner has one thread.
                )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            # The bead is part of the arguments: their size and characters are its own.
            own = isinstance(error, ValueError) or getattr(error, "errno", None) == errno.E2BIG
            why = f"{self.run['argv'][0]} could not be started: {error}"
            self._refuse(why, at_fault=not own)
            return False
        agent = {"pid": self.agent.pid, "start": processes.start_time(self.agent.pid)}
        with suppress(OSError):
            run_files.write_reserved(self.folder, run_files.AGENT, agent)
        self._report("started")
        return True

    def _refuse(self, reason: str, at_fault: bool) -> None:
        """Record that no agent was started. ``at_fault``: none would be, for any bead."""
        end = {"refused": reason[:2000], "at_fault": at_fault, "ended_at": time.time()}
        try:
            run_files.write_reserved(self.folder, run_files.END, end)
        # There is no proof that nothing ran, so the run counts as lost.
        except (OSError, ValueError):
            reason = f"{reason} (and this could not be recorded)"
        self._report(f"refused {reason}")

    def _report(self, text: str) -> None:
        with suppress(OSError):  # The dispatcher has ended.
            os.write(self.status, text.encode("utf-8", "replace")[:4000] + b"\n")
        with suppress(OSError):
            os.close(self.status)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _supervise(self, output: int, wake: int, log: output_log.OutputLog) -> None:
        """Read output until the agent exits, is stopped, or exceeds its time."""
        deadline = self.began + float(self.run["run_timeout"])
        reading = [output, wake]
        while self.exit is None and not self.stopping and not self.timed_out:
            left = deadline - time.monotonic()
            if left <= 0:
                self.timed_out = True
                return
            ready, _, _ = select.select(reading, [], [], min(left, 3600.0))
            if wake in ready:
                with suppress(BlockingIOError):
                    os.read(wake, CHUNK)
            if output in ready and not _copy(output, log):
                reading.remove(output)  # All processes closed it. The agent continues.
            self._collect()

    def _collect(self) -> None:
        """Collect every child that ended, adopted orphans included."""
        assert self.agent is not None
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.agent.pid:
                self.exit = self.agent.returncode = os.waitstatus_to_exitcode(status)

    def _end_all(self, output: int, log: output_log.OutputLog) -> set[int]:
        """End the agent, its process group and all descendants. Returns the survivors.

        The group is signalled only while the agent or a descendant lives, so its number is not
        another group's yet.
        """
        assert self.agent is not None
        if self.exit is not None:
            until = time.monotonic() + DRAIN_SECONDS  # For the output before the agent's exit.
            while time.monotonic() < until and _wait_and_copy(output, log):
                pass
        self._collect()
        self._signal(signal.SIGTERM)
        grace = CHILD_GRACE_SECONDS if self.exit is not None else float(self.run["grace"])
        until = time.monotonic() + grace
        while self._living() and time.monotonic() < until:
            _wait_and_copy(output, log)
            self._collect()
        until = time.monotonic() + KILL_SECONDS
        while self._living() and time.monotonic() < until:
            self._signal(signal.SIGKILL)
            _wait_and_copy(output, log)
            self._collect()
        return self._living()

    def _living(self) -> set[int]:
        found = processes.descendants(os.getpid())
        if self.agent is not None and self.exit is None:
            found.add(self.agent.pid)
        return found

    def _signal(self, number: int) -> None:
        assert self.agent is not None
        living = self._living()
        if self.exit is None:  # Not collected yet, so the number of its group can't be reused.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.agent.pid, number)
        processes.send(living, number)

    def _record_end(self, log: output_log.OutputLog, survivors: set[int]) -> None:
        code = self.exit
        stop = run_files.read(self.folder / run_files.STOP) if self.stopping else None
        end: dict[str, Any] = {
            "exit": code if code is not None and code >= 0 else None,
            "signal": -code if code is not None and code < 0 else None,
            "timed_out": self.timed_out,
            "stopped": {"by": "signal", "reason": "", **(stop or {})} if self.stopping else None,
            "seconds": round(time.monotonic() - self.began, 3),
            "ended_at": time.time(),
            "output_bytes": log.received,
            "dropped_bytes": log.dropped,
            "survivors": sorted(survivors)[:50],
        }
        tail = bytes(log.tail).decode("utf-8", "replace")
        while True:
            text = {**end, "tail": tail}
            if len(run_files.encode(text)) <= run_files.RESERVED[run_files.END]:
                break
            tail = tail[len(tail) // 4 + 1 :]
        run_files.write_reserved(self.folder, run_files.END, text)


def _die_with(parent: int) -> None:
    """Run in the agent before it executes: the kernel kills it when its runner dies."""
    processes.prctl(processes.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(127)


def _wait_and_copy(output: int, log: output_log.OutputLog) -> bool:
    """Read the available output, waiting a moment. Returns False at the end of the output."""
    ready, _, _ = select.select([output], [], [], processes.POLL_SECONDS)
    if not ready:
        return True
    if _copy(output, log):
        return True
    time.sleep(processes.POLL_SECONDS)  # At its end the output is always ready.
    return False


def _copy(output: int, log: output_log.OutputLog, wait: bool = True) -> bool:
    """Copy one chunk.

    Returns False at the end of the output; without ``wait`` also if it is empty.
    """
    try:
        data = os.read(output, CHUNK)
    except BlockingIOError:
        return wait
    log.write(data)
    return bool(data)


if __name__ == "__main__":
    if os.fork() == 0:  # The dispatcher collects its child at once, so no zombie remains.
        Runner(Path(sys.argv[1]), int(sys.argv[3])).main()
        sys.exit(0)
    os._exit(0)
