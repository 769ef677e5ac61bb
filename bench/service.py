"""From the commit of an assignment to the POST: ``dolt_watch run`` on real Dolt."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from statistics import median, quantiles

from bench.ground import INSERT, Place, _committed, _row
from tests.stubs.beadboard import BeadBoardStub

POLL, SETTLE = 1.0, 0.5
MARGIN = 0.05
RUN = (
    sys.executable,
    "-m",
    "dolt_watch",
    "run",
    "--poll",
    f"{POLL:g}s",
    "--log",
    "json",
    "--set",
    f"settle={SETTLE:g}s",
)


def latency(here: Place, board: BeadBoardStub, samples: int) -> list[tuple[str, str, str, str, str]]:
    """As lines of the table. The assignments fall at any moment between two polls."""
    here.sql(
        "UPDATE issues SET status = 'closed' WHERE assignee = 'agent'", *_committed("what other measurements left")
    )
    took = []
    with subprocess.Popen(RUN, cwd=here.run.cwd, env=dict(here.run.env), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            while "leading" not in process.stdout.readline():
                pass
            time.sleep(2 * POLL)
            for number in range(samples):
                time.sleep(random.uniform(0, POLL))
                bead, sent = f"bd-late{number}", len(board.dispatches)
                here.sql(INSERT + _row(bead, "agent", "it works"), *_committed("assign"))
                begun = time.perf_counter()
                while len(board.dispatches) == sent:
                    if time.perf_counter() - begun > 30:
                        raise RuntimeError(f"{bead} was not dispatched in 30 s")
                    time.sleep(0.001)
                took.append(time.perf_counter() - begun)
                time.sleep(0.2)
                here.done()
        finally:
            process.terminate()
            process.communicate()
    most = POLL + SETTLE + MARGIN
    p95 = quantiles(took, n=20)[-1]
    return [
        (f"run: commit to POST, poll {POLL:g} s, settle {SETTLE:g} s: median", f"{median(took):.2f} s", "", "", ""),
        ("run: the same, 95th percentile", f"{p95:.2f} s", "", "", f"<= {most:.2f} s"),
    ]
