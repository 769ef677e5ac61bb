"""Reading of a run's output, during the run or later."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from dolt_watch.targets.local.output_log import LOG, OLDER_LOG

CHUNK = 65536


def read_output(folder: Path) -> Iterator[bytes]:
    """Yield the stored output of a run, the oldest first."""
    for name in (OLDER_LOG, LOG):
        try:
            with (folder / name).open("rb") as file:
                while data := file.read(CHUNK):
                    yield data
        except FileNotFoundError:
            continue


def follow_output(
    folder: Path, lives: Callable[[], bool], wait: Callable[[], None]
) -> Iterator[bytes]:
    """Yield a run's output until the run ends. ``wait`` is called while there is nothing new.

    The log is rotated by a rename. The rest of the renamed file is read before the new one.
    """
    older = folder / OLDER_LOG
    if older.exists():
        yield older.read_bytes()
    opened = None
    try:
        while True:
            alive = lives()  # Asked before reading, so that the last output is read after the end.
            if opened is None and (folder / LOG).exists():
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
            if not got:
                wait()
    finally:
        if opened is not None:
            opened.close()


def _rotated(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino != os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False  # Between the rename and the new file.
