"""The effects of a worker: each statement of its engine, and each call of its target.

A test can kill the worker at any of them.

The effects are found while the worker runs, so a sweep includes new writes. Effects are finer than
the engine's protocol. A Dolt commit is a DOLT_ADD, a DOLT_COMMIT and the end of the SQL
transaction. A worker may die between them.
"""

from __future__ import annotations

import os
import re
import select
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from dolt_watch.core.model import Capacity, JobReport
from dolt_watch.core.model.target_answers import Answer
from dolt_watch.engines import Engine
from dolt_watch.targets.protocol import BeadTask, Target
from tests.support.servers import die_with_parent

T = TypeVar("T")
Tell = Callable[[str], None]

READ = "read"
POST = "target.dispatch"

Grain = Callable[[str], bool]
"""A function that returns whether effects with this name count as points."""


def every(name: str) -> bool:
    return True


def writes(name: str) -> bool:
    """Return whether the effect is a write. A kill before or after a read has the same result."""
    return name != READ


def lasting(name: str) -> bool:
    """Return whether the effect outlives its worker: a commit or a sent request.

    The database rolls back open transactions of a dead worker.
    """
    return name == POST or name.split()[0] in ("commit", "dolt_commit")


PATIENCE = 300.0
"""Seconds after which a running worker counts as stuck."""

_WRITE = re.compile(
    r"\s*(?:(?:CALL|SELECT)\s+(dolt_(?:add|commit))\b"
    r"|(UPDATE|DELETE\s+FROM|(?:INSERT|REPLACE)[\w\s]*?\sINTO)\s+`?(\w+)"
    r"|(START TRANSACTION|BEGIN IMMEDIATE|COMMIT|ROLLBACK))",
    re.IGNORECASE,
)


def name_of(sql: str, params: Sequence[Any] = ()) -> str:
    """Return a short name for the effect of a statement, or 'read' if it changes nothing."""
    found = _WRITE.match(sql)
    if found is None:
        return READ
    call, verb, table, bare = found.groups()
    if bare:
        return "begin" if bare[0] in "SB" else bare.lower()
    if verb:
        saves = table == "watch_cursor" and "commit_hash" in sql
        if table == "watch_bead":
            # The order in which beads are written or deleted isn't defined.
            return "save watch_bead"
        return f"{verb.split()[0].lower()} {table}{' (save)' if saves else ''}"
    if call.lower() == "dolt_add":
        return "dolt_add"
    decision = re.search(r"^Decision: (\S+)$", str(params[0]), re.MULTILINE)
    return f"dolt_commit {decision[1] if decision else 'adopt'}"


class Effects:
    """A reporter of points before and after each effect. It strikes at the point ``fatal``.

    Points are counted from 1. By default, a strike kills the process itself.
    """

    def __init__(
        self,
        tell: Tell,
        fatal: int = 0,
        grain: Grain = every,
        strike: Callable[[], None] | None = None,
    ) -> None:
        self.tell, self.fatal, self.grain = tell, fatal, grain
        self.strike = strike or (lambda: os.kill(os.getpid(), signal.SIGKILL))
        self.count = 0

    def around(self, name: str, call: Callable[[], T]) -> T:
        if not self.grain(name):
            return call()
        self._at(f"before {name}")
        try:
            return call()
        finally:
            self._at(f"after {name}")

    def _at(self, point: str) -> None:
        self.count += 1
        self.tell(point)
        if self.count == self.fatal:
            self.strike()


def watched(engine: Engine, effects: Effects) -> Engine:
    """Return the engine after it is changed so that each of its statements is an effect."""
    place, method = (engine._link, "send") if engine.name == "dolt" else (engine, "execute_sqlite")  # type: ignore[attr-defined]
    original = getattr(place, method)

    def recorded(sql: str, params: Sequence[Any] = (), **more: Any) -> Any:
        return effects.around(name_of(sql, params), lambda: original(sql, params, **more))

    setattr(place, method, recorded)
    return engine


class WatchedTarget:
    """A target whose calls are effects."""

    def __init__(self, target: Target, effects: Effects) -> None:
        self.name, self.timeout = target.name, target.timeout
        self._target, self._effects = target, effects

    def capacity(self) -> Capacity:
        return self._effects.around("target.capacity", self._target.capacity)

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        return self._effects.around(POST, lambda: self._target.dispatch(task, token))

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        return self._effects.around("target.verdict", lambda: self._target.verdict(job, started))

    def close(self) -> None:
        self._target.close()


# -- the process --------------------


@dataclass(frozen=True)
class Ended:
    """The end of a worker, and its reports before that."""

    signal: int
    """The signal that killed it. 0 means that it ended by itself with ``code``."""
    code: int
    told: list[str] = field(default_factory=list)

    @property
    def killed(self) -> bool:
        return self.signal == signal.SIGKILL

    @property
    def points(self) -> list[str]:
        return [line for line in self.told if line.startswith(("before ", "after "))]

    @property
    def clock(self) -> float:
        """Return the clock's offset in seconds in the last report."""
        return float(
            next((line.split()[1] for line in reversed(self.told) if line.startswith("clock ")), 0)
        )

    @property
    def error(self) -> str:
        return "\n".join(
            line.removeprefix("error ") for line in self.told if line.startswith("error ")
        )


class Worker:
    """A forked process that runs ``work(tell)`` after ``start`` and ends with its exit code.

    The process never returns into pytest, and never outlives the ``with``. Its reports go through a
    pipe. The end of the pipe means that the process is dead.
    """

    def __init__(self, work: Callable[[Tell], int]) -> None:
        gate, self._gate = os.pipe()
        self._told, tell = os.pipe()
        with warnings.catch_warnings():
            # Python 3.12 warns about forking with threads. The stub's threads wait in accept() and
            # hold no lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            os.close(self._gate)
            os.close(self._told)
            _live(work, gate, tell)
        os.close(gate)
        os.close(tell)
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._over:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._told)
        os.close(self._gate)

    def start(self) -> None:
        # Closing the pipe isn't enough, because a worker that is forked later holds a copy.
        os.write(self._gate, b"!")

    def ended(self) -> Ended:
        """Wait for the end of the process. Raises AssertionError if the process is stuck."""
        end, text = time.monotonic() + PATIENCE, b""
        while True:
            ready, _, _ = select.select([self._told], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"worker stuck after {text.decode().splitlines()[-3:]}"
            piece = os.read(self._told, 65536)
            if not piece:
                break
            text += piece
        _, status = os.waitpid(self.pid, 0)
        self._over = True
        died = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        return Ended(died, 0 if died else os.WEXITSTATUS(status), text.decode().splitlines())


def _live(work: Callable[[Tell], int], gate: int, pipe: int) -> None:
    def tell(line: str) -> None:
        os.write(pipe, f"{line}\n".encode())

    code = 70
    try:
        die_with_parent()
        os.read(gate, 1)
        code = work(tell)
    except BaseException:
        for line in traceback.format_exc().splitlines():
            tell(f"error {line}")
    finally:
        # Skip pytest's own flushes, atexit handlers and finally blocks.
        os._exit(code)
