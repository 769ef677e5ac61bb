"""The agent's output on disk: limited and rotated.

On a full disk, output is lost and the agent continues.

Uses the standard library only, because the runner loads this file by its path.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

LOG, OLDER_LOG = "log", "log.1"
TAIL_BYTES = 4000
"""Bytes of the last output that are stored in ``end.json``."""


class OutputLog:
    """``log`` and ``log.1`` of one run, together at most ``limit`` bytes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.path, self.older = folder / LOG, folder / OLDER_LOG
        self.half = max(limit // 2, 1)
        self.tail = bytearray()
        self.received = self.dropped = self.size = 0
        self.file = -1
        with suppress(OSError):
            self.file = self._open()

    def write(self, data: bytes) -> None:
        """Append output. Output that can't be written is dropped and counted."""
        self.received += len(data)
        self.tail += data
        del self.tail[:-TAIL_BYTES]
        left = memoryview(data)
        while left:
            try:
                if self.size >= self.half or self.file < 0:
                    self._rotate()
                written = os.write(self.file, left[: self.half - self.size])
            except OSError:  # ENOSPC, EDQUOT, EIO
                self.dropped += len(left)
                return
            self.size += written
            left = left[written:]

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_CLOEXEC
        return os.open(self.path, flags, 0o600)

    def _rotate(self) -> None:
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
            self.path.replace(self.older)
        self.file, self.size = self._open(), 0
