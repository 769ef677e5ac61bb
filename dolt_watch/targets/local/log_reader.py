"""Reading of a run's output, during the run or later."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from dolt_watch.targets.local.output_log import LOG, OLDER_LOG

CHUNK = 65536


def read_output(
    folder: Path, lives: Callable[[], bool] = lambda: False, wait: Callable[[], None] | None = None
) -> Iterator[bytes]:
    """Yield a run's output, the oldest first, until ``lives`` returns False.

    ``wait`` is called while there is nothing new. The log is rotated by a rename. The rest of the
    renamed file is read before the new one.
    """
    with suppress(FileNotFoundError):
        yield (folder / OLDER_LOG).read_bytes()
    opened = None
    try:
        while True:
            alive = lives()  # Asked before reading, so that the last output is read after the end.
            if opened is None:
                with suppress(FileNotFoundError):
                    opened = (folder / LOG).open("rb")
            got = False
            while opened is not None and (data := opened.read(CHUNK)):
                got = True
                yield data
            if opened is not None and _rotated(folder / LOG, opened.fileno()):
                yield opened.read()
                opened.close()
                opened = None
                continue
            if not alive:
                return
            if not got and wait is not None:
                wait()
    finally:
        if opened is not None:
            opened.close()


def _rotated(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino != os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False  # Between the rename and the new file.
