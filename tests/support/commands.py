"""Real commands as processes, on a DoltLite file, with a BeadBoard that accepts every bead."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dolt_watch.engines.address import FileAddress
from dolt_watch.engines.connect import open_engine
from tests.stubs.beadboard import BeadBoardStub
from tests.support import forked
from tests.support.embedded_tracker import Light


class Commands:
    """A runner of commands on a tracker.

    Args:
        here: The tracker, in this process.
    """

    def __init__(self, here: Light, path: str, board: BeadBoardStub, folder: Path) -> None:
        self.here, self.board, self.folder = here, board, folder
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DOLT_WATCH_", "BEAD"))
        }
        clean.pop("_DOLTLITE_BOOTSTRAPPED", None)
        self.env = {
            **clean,
            "DOLT_WATCH_DATABASE": f"doltlite://{path}",
            "BEADBOARD_URL": board.url,
            "DOLT_WATCH_SETTLE": "0s",
        }

    def run(self, *args: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command.

        Args:
            more: Arguments of ``forked.dolt_watch``. ``env`` has additional variables.
        """
        env: Mapping[str, str] = {**self.env, **more.pop("env", {})}
        return forked.dolt_watch(args, cwd=more.pop("cwd", self.folder), env=env, **more)

    def decisions(self) -> int:
        return int(self.here.engine.query("SELECT COUNT(*) FROM watch_decision")[0][0])


@contextmanager
def commands(path: FileAddress) -> Iterator[Commands]:
    engine = open_engine(path, create=True)
    try:
        with BeadBoardStub() as board:
            yield Commands(Light(engine), path.path, board, Path(path.path).parent)
    finally:
        engine.close()
