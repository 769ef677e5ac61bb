"""``python -m tests.stubs PORT``: the stub of BeadBoard for manual experiments.

The stub accepts every bead, prints a line for each, and runs nothing.
"""

from __future__ import annotations

import sys
import threading

from tests.stubs.beadboard import BeadBoardStub


def main(port: int) -> None:
    def told(bead: str, job: str) -> None:
        print(f"BeadBoard: {bead} runs as job {job}", flush=True)  # noqa: T201

    with BeadBoardStub(port=port, on_accept=told) as board:
        print(f"The stub of BeadBoard listens on {board.url}", flush=True)  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))
