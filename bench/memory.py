"""The memory of `dolt_watch run`, and the maximum of commands that read a long history."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.ground import FLOOR, Place
from bench.history import history
from bench.peak import held
from bench.service import POLL, arrived, running
from bench.table import Figure
from tests.stubs.beadboard import BeadBoardStub

MB = 1_000_000 / 1024
"""Number of the kernel's KB in a megabyte."""
PEAK = (sys.executable, str(Path(__file__).with_name("peak.py")))
COMMANDS = {"replay --verify": ("replay", "--verify"), "replay": ("replay",), "events": ("events",)}


def memory(
    here: Place, old: Place, board: BeadBoardStub, commits: tuple[int, int], dispatches: int
) -> Iterator[Figure]:
    """Measure the memory of ``run`` and of commands on a short and a long history.

    Args:
        here: Where ``run`` runs.
        old: The place of the history.
        commits: Length of a short history, and of the long one that continues it.
    """
    short, long = commits
    least = subprocess.run(
        (*FLOOR, *here.where, "bare", "held"), capture_output=True, text=True, check=True
    )
    floor = int(least.stdout) / MB
    yield from _service(here, board, dispatches, floor)
    history(old, long)
    (head,) = old.sql("SELECT HASHOF('HEAD')")[0]
    (early,) = old.sql(
        f"SELECT commit_hash FROM dolt_log ORDER BY commit_order LIMIT 1 OFFSET {short - 1}"
    )[0]
    for name, words in COMMANDS.items():
        for length, number, until in (("short", short, early), ("long", long, head)):
            peak = _peak(old, (*words, "--to", until)) / MB
            yield Figure(f"{name}, {length} history", peak, floor, at=f"{number:,} commits")


def _service(here: Place, board: BeadBoardStub, dispatches: int, floor: float) -> Iterator[Figure]:
    with running(here, "rules.agent.max_in_flight=1000") as process:
        time.sleep(3 * POLL)
        yield Figure("run: idle", held("VmRSS", str(process.pid)) / MB, floor)
        before = len(board.dispatches)
        here.assign(dispatches, "held")
        arrived(board, before + dispatches)
        time.sleep(3 * POLL)
        yield Figure(
            "run: after its work",
            held("VmRSS", str(process.pid)) / MB,
            floor,
            at=f"{dispatches} dispatches",
        )
    here.done()


def _peak(here: Place, words: tuple[str, ...]) -> int:
    """Return the maximum memory of a command in KB."""
    done = subprocess.run(
        (*PEAK, *words),
        cwd=here.run.cwd,
        env=dict(here.run.env),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{words}: {done.returncode}\n{done.stderr}")
    return int(done.stderr.splitlines()[-1])
