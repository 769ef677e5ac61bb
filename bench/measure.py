"""How things are measured: processes by the wall clock, database time inside the engine's calls,
disk by the files' lengths.
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
"""Figures in milliseconds."""
CALLS = ("send", "begin", "end", "abandon")


def alternate(runs: int, *each: Callable[[int], float]) -> list[float]:
    """Run all of them in turn, ABAB; the median of each.

    One round more goes before, and is not counted.
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
        """Seconds by the wall clock.

        Raises where it fails, or does not say what is expected: then something else was
        measured.
        """
        start = time.perf_counter()
        env = {
            name: value for name, value in self.env.items() if name != "PYTHONDONTWRITEBYTECODE"
        }  # as an installed package: compiled
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
    """Time inside the engine's calls to the server, in this process; the connecting is not
    counted.
    """
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
    """A ``dolt_watch dispatch`` in this process: its seconds of database time."""
    with database_time() as spent, contextlib.redirect_stdout(io.StringIO()) as said:
        code = run_tick(settings, ("dispatch",), dry_run=False, now=None)
    if code or expect not in said.getvalue():
        raise RuntimeError(f"dispatch: {code}, not {expect!r}\n{said.getvalue()}")
    return spent.seconds


def size(folder: Path) -> int:
    """Return the bytes of a database's files without ``.dolt/stats``.

    Dolt's background job writes there at its own times.
    """
    return sum(
        file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file() and "stats" not in file.parts
    )
