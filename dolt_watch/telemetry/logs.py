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

from dolt_watch.log_events import LogEvent
from dolt_watch.text import Said, Say, outside


class Log:
    """``say`` writes a line at once. ``json`` None: by what the stream is.

    A line that cannot be written is lost, and nothing else: it is said between a claim and its POST, too.
    """

    def __init__(self, stream: IO[str] | None = None, json: bool | None = None, verbose: bool = False) -> None:
        self.verbose = verbose
        """Write lines of level debug too."""
        self.stream = stream or sys.stdout
        self.json = not self.stream.isatty() if json is None else json
        self._gone: BrokenPipeError | None = None
        self._lock = threading.RLock()
        """Other threads say lines too, and a finalizer may within a line of this one."""

    def check(self) -> None:
        """Raises BrokenPipeError where whoever read the lines has gone. A full disk may have room again."""
        if self._gone is not None:
            raise self._gone

    def say(self, line: Said) -> None:
        self._try(line, _level(line))

    def debug(self, line: Said) -> None:
        if self.verbose:
            self._try(line, "debug")

    def _try(self, line: Said, level: str) -> None:
        try:
            with self._lock:
                self._write(line, level)
        except BrokenPipeError as error:
            self._gone = error
        except (OSError, ValueError, RuntimeError):  # RuntimeError: a finalizer within a write
            return

    def _write(self, line: Said, level: str) -> None:
        fields = line.fields
        now = datetime.now(UTC)
        if self.json:
            said = {"time": now, "level": level, "event": line.event, "message": str(line), **fields}
            self.stream.write(_json(said) + "\n")
        else:
            text = " · ".join(part.strip() for part in line.split("\n")) if "error" in fields else str(line)
            # a condition that lasts says its subject in words
            shown = fields if line.steady is None else {}
            told = [(name, value) for name, value in shown.items() if name not in ("bead", "kind")]
            more = " ".join(f"{name}={value}" for name, value in told)
            self.stream.write(f"{now:%Y-%m-%dT%H:%M:%SZ} {outside(text, 2000)}{' · ' + more if more else ''}\n")
        self.stream.flush()


def _level(line: Said) -> str:
    return next((level for level in ("error", "warning") if line.startswith(level)), "info")


UNDECIDED = frozenset({LogEvent.IDLE, LogEvent.MERGING, LogEvent.OVERTAKEN})
"""A tick that says only these decided nothing: what was held before it still is."""


class Changes:
    """Hands a condition on when it begins or changes; a tick that only repeats it goes to ``repeat``.

    What happens once (``Said.steady`` is None) is handed on each time.
    """

    def __init__(self, say: Say, repeat: Say = lambda line: None) -> None:
        self.hand_on, self.repeat = say, repeat
        self._before: dict[_Subject, str] = {}
        self._now: dict[_Subject, str] = {}
        self._decided = False

    def say(self, line: Said) -> None:
        self._decided = self._decided or line.event not in UNDECIDED
        if line.steady is None:
            self.hand_on(line)
            return
        subject = _subject(line)
        known = self._now.get(subject, self._before.get(subject))
        (self.repeat if known == line.steady else self.hand_on)(line)
        self._now[subject] = line.steady

    def next(self) -> None:
        """Another tick begins. One that said nothing changes nothing."""
        if not self._decided:
            rest = {key: said for key, said in self._before.items() if key[0] not in UNDECIDED}
            self._now = (rest | self._now) if self._now else self._before
        self._before, self._now, self._decided = self._now, {}, False


_Subject = tuple[object, ...]


def _subject(line: Said) -> _Subject:
    """What a condition is about: lines of one subject replace one another."""
    event: LogEvent = line.event
    if event is LogEvent.NONE_ELIGIBLE:
        event = LogEvent.IDLE  # one condition, though a poll says less of it than a tick
    names = [line.fields.get(name) for name in ("bead", "rule", "target", "sign")]
    return (event, *names, None if any(names) else line.fields.get("gate"))


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
        self._say(Said(f"{level}: {outside(message)}", LogEvent.PROCESS, logger=record.name))


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
        say(Said(f"warning: {category.__name__}: {outside(str(message))}", LogEvent.PROCESS))

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
    return Said(f"{what}: {kind.__name__}: {outside(str(error))}{at}", LogEvent.PROCESS, error=kind.__name__)
