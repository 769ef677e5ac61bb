"""Methods of measurement.

Processes are measured by the wall clock, database time inside the engine's calls, and disk by the
lengths of files.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from dolt_watch.cli.tick_runner import run_tick
from dolt_watch.config import Settings
from dolt_watch.engines.dolt.connection import DoltConnection

MS = 1000
"""Factor from seconds to milliseconds."""
CALLS = ("send", "begin", "end", "abandon")


def alternate(runs: int, *each: Callable[[int], float]) -> list[float]:
    """Run all functions in turn, ABAB. Return the median of each.

    An additional first round isn't counted.
    """
    took: list[list[float]] = [[] for _ in each]
    for run in range(-1, runs):
        for one, times in zip(each, took, strict=True):
            value = one(run)
            if run >= 0:
                times.append(value)
    return [median(times) for times in took]


@dataclass(frozen=True)
class Process:
    """The folder and the environment of a process."""

    cwd: Path
    env: Mapping[str, str]

    def __call__(self, command: Sequence[str], expect: str = "") -> float:
        """Run a command. Return its seconds by the wall clock.

        Raises RuntimeError if the command fails or its output lacks ``expect``. Then something else
        was measured.
        """
        start = time.perf_counter()
        # Allow compiled modules, as in an installed package.
        env = {name: value for name, value in self.env.items() if name != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            command, cwd=self.cwd, env=env, capture_output=True, text=True, timeout=120
        )
        took = time.perf_counter() - start
        if done.returncode or expect not in done.stdout:
            raise RuntimeError(
                f"{list(command)}: {done.returncode}, not {expect!r}\n{done.stdout}\n{done.stderr}"
            )
        return took


@dataclass
class Spent:
    seconds: float = 0.0
    calls: int = 0


@contextlib.contextmanager
def database_time() -> Iterator[Spent]:
    """Measure the time inside the engine's calls in this process, without the connecting."""
    spent, depth = Spent(), 0

    def timed(plain: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            depth += 1
            start = time.perf_counter()
            try:
                return plain(*args, **kwargs)
            finally:
                depth -= 1
                if not depth:
                    spent.seconds += time.perf_counter() - start
                    spent.calls += 1

        return call

    plain = {name: getattr(DoltConnection, name) for name in CALLS}
    for name, method in plain.items():
        setattr(DoltConnection, name, timed(method))
    try:
        yield spent
    finally:
        for name, method in plain.items():
            setattr(DoltConnection, name, method)


def ticked(settings: Settings, expect: str = "") -> float:
    """Run ``dolt_watch dispatch`` in this process. Return its seconds of database time."""
    with database_time() as spent, contextlib.redirect_stdout(io.StringIO()) as said:
        code = run_tick(settings, ("dispatch",), dry_run=False, now=None)
    if code or expect not in said.getvalue():
        raise RuntimeError(f"dispatch: {code}, not {expect!r}\n{said.getvalue()}")
    return spent.seconds


def size(folder: Path) -> int:
    """Return the bytes of a database's files without ``.dolt/stats``.

    Dolt's background job writes there at arbitrary times.
    """
    return sum(
        file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file() and "stats" not in file.parts
    )
