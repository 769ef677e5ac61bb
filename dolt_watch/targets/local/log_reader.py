"""Reading of a run's output, during the run or later."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from dolt_watch.targets.local.output_log import LOG, OLDER_LOG

CHUNK = 65536


def read_output(
    folder: Path, lives: Callable[[], bool] | None = None, wait: Callable[[], None] | None = None
) -> Iterator[bytes]:
    """Yield a run's output, the oldest first. With ``lives``, until it returns False.

    ``wait`` is called while there is nothing new. The log is rotated by a rename. The rest of the
    renamed file is read before the new one.
    """
    # Both are opened first, because the log can be rotated while the older one is read.
    opened, older = _open(folder / LOG), _open(folder / OLDER_LOG)
    try:
        if older is not None and not (opened and _same(opened, older)):
            yield from _rest(older)
        if lives is None:  # Later output isn't followed: an agent may print without end.
            yield from _rest(opened)
            return
        while True:
            alive = lives()  # Asked before reading, so that the last output is read after the end.
            opened = opened or _open(folder / LOG)
            got = False
            for data in _rest(opened):
                got = True
                yield data
            if opened is not None and _rotated(folder / LOG, opened.fileno()):
                yield from _rest(opened)
                opened.close()
                opened = None
                continue
            if not alive:
                return
            if not got and wait is not None:
                wait()
    finally:
        for file in (opened, older):
            if file is not None:
                file.close()


def _open(path: Path) -> BinaryIO | None:
    with suppress(FileNotFoundError):
        return path.open("rb")
    return None


def _rest(file: BinaryIO | None) -> Iterator[bytes]:
    while file is not None and (data := file.read(CHUNK)):
        yield data


def _same(one: BinaryIO, other: BinaryIO) -> bool:
    return os.path.sameopenfile(one.fileno(), other.fileno())


def _rotated(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino != os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False  # Between the rename and the new file.
