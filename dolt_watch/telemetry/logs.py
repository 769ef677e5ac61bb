"""Lines for whoever reads them: text on a terminal, JSON otherwise. A line of a decision carries its bead, version, rule and commit."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import IO

import orjson

from dolt_watch.text import Say, outside


class Log:
    """``say`` writes a line at once. ``json`` None: by what the stream is.

    A line that cannot be written is lost, and nothing else: it is said between a claim and its POST, too.
    """

    def __init__(self, stream: IO[str] | None = None, json: bool | None = None) -> None:
        self.stream = stream or sys.stdout
        self.json = not self.stream.isatty() if json is None else json
        self._gone: BrokenPipeError | None = None

    def check(self) -> None:
        """Raises BrokenPipeError where whoever read the lines has gone. A full disk may have room again."""
        if self._gone is not None:
            raise self._gone

    def say(self, line: str) -> None:
        try:
            self._write(line)
        except BrokenPipeError as error:
            self._gone = error
        except (OSError, ValueError):
            return

    def _write(self, line: str) -> None:
        fields = getattr(line, "fields", {})
        now = datetime.now(UTC)
        if self.json:
            level = "error" if line.startswith("error") else "warning" if line.startswith("warning") else "info"
            said = {"time": now, "level": level, "message": str(line), **fields}
            self.stream.write(orjson.dumps(said, default=str).decode() + "\n")
        else:
            text = " · ".join(part.strip() for part in line.split("\n")) if "error" in fields else str(line)
            more = " ".join(f"{name}={value}" for name, value in fields.items() if name not in ("bead", "kind"))
            self.stream.write(f"{now:%Y-%m-%dT%H:%M:%SZ} {outside(text, 2000)}{' · ' + more if more else ''}\n")
        self.stream.flush()


class Changes:
    """Hands on what is new: a line that the tick before had said as well is left out. Decisions are always new."""

    def __init__(self, say: Say) -> None:
        self.hand_on = say
        self._before: set[str] = set()
        self._now: set[str] = set()

    def say(self, line: str) -> None:
        if getattr(line, "fields", None) or line not in self._before | self._now:
            self.hand_on(line)
        self._now.add(line)

    def next(self) -> None:
        """Another tick begins; one that said nothing changes nothing."""
        if self._now:
            self._before, self._now = self._now, set()
