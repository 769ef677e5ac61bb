"""Lines for whoever reads them: text on a terminal, JSON otherwise. A line of a decision carries its bead, version, rule and commit."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import orjson

from dolt_watch.text import Said, Say, outside


class Log:
    """``say`` writes a line at once. ``json`` None: by what the stream is.

    A line that cannot be written is lost, and nothing else: it is said between a claim and its POST, too.
    """

    def __init__(self, stream: IO[str] | None = None, json: bool | None = None) -> None:
        self.stream = stream or sys.stdout
        self.json = not self.stream.isatty() if json is None else json
        self._gone: BrokenPipeError | None = None
        self._lock = threading.RLock()
        """Other threads say lines too, and a finalizer may within a line of this one."""

    def check(self) -> None:
        """Raises BrokenPipeError where whoever read the lines has gone. A full disk may have room again."""
        if self._gone is not None:
            raise self._gone

    def say(self, line: str) -> None:
        try:
            with self._lock:
                self._write(line)
        except BrokenPipeError as error:
            self._gone = error
        except (OSError, ValueError, RuntimeError):  # RuntimeError: a finalizer within a write
            return

    def _write(self, line: str) -> None:
        fields = getattr(line, "fields", {})
        now = datetime.now(UTC)
        if self.json:
            level = "error" if line.startswith("error") else "warning" if line.startswith("warning") else "info"
            said = {"time": now, "level": level, "message": str(line), **fields}
            self.stream.write(_json(said) + "\n")
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


def _json(said: dict[str, Any]) -> str:
    """Return one line of JSON, whatever the values are: JSON has no lone surrogates, orjson no other keys."""
    try:
        return orjson.dumps(said, default=str).decode()
    except TypeError:
        plain = {str(name): str(value) for name, value in said.items()}
        text = {name: value.encode("utf-8", "backslashreplace").decode() for name, value in plain.items()}
        return orjson.dumps(text).decode()


class _Handler(logging.Handler):
    """Hands on what a library logs. Without a handler Python writes its warnings to stderr."""

    def __init__(self, say: Say) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        self._say(Said(f"{level}: {outside(message)}", logger=record.name))


@contextlib.contextmanager
def captured(say: Say) -> Iterator[None]:
    """Say in one line each what Python itself would write to stderr.

    These are errors that end a thread, errors in finalizers, warnings, and records of libraries.
    """

    def ended(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            name = args.thread.name if args.thread else "?"
            say(failure(f"error: thread {name} ended", args.exc_type, args.exc_value))

    def unraisable(args: Any) -> None:
        say(failure(f"error: {args.err_msg or 'ignored'}", args.exc_type, args.exc_value))

    def warned(message: Warning | str, category: type[Warning], *more: Any, **named: Any) -> None:
        say(Said(f"warning: {category.__name__}: {outside(str(message))}"))

    before = threading.excepthook, sys.unraisablehook, warnings.showwarning
    handler, root = _Handler(say), logging.getLogger()
    threading.excepthook, sys.unraisablehook = ended, unraisable
    warnings.showwarning = warned
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        threading.excepthook, sys.unraisablehook, warnings.showwarning = before


def failure(what: str, kind: type[BaseException], error: BaseException | None) -> Said:
    """Return one line for an exception that no code handles, with the place that raised it."""
    trace = error.__traceback__ if error is not None else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = f" (at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""
    return Said(f"{what}: {kind.__name__}: {outside(str(error))}{at}", error=kind.__name__)
