"""Log lines: text on a terminal, JSON otherwise.

The line of a decision contains its bead, version, rule and commit.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from dolt_watch.log_events import LOGGER, LogEvent, event_fields
from dolt_watch.sanitize import sanitize

logger = logging.getLogger(__name__)


class LogHandler(logging.Handler):
    """A handler that writes each record in one line: text on a terminal, else JSON.

    A line that can't be written is dropped without an error, because lines are also written between
    a claim and its POST. Records of other libraries are written from WARNING on.
    """

    def __init__(self, stream: IO[str] | None = None, json: bool | None = None) -> None:
        """Log to a stream. ``json`` None: JSON unless the stream is a terminal."""
        super().__init__()
        self.stream = stream or sys.stdout
        self.json = not self.stream.isatty() if json is None else json
        self._gone: BrokenPipeError | None = None

    def check(self) -> None:
        """Raise BrokenPipeError if the reader of the lines has gone.

        Other errors can be temporary, such as a full disk.
        """
        if self._gone is not None:
            raise self._gone

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = _line(record)
            if line is not None:
                self.stream.write((_json(line) if self.json else _text(line)) + "\n")
                self.stream.flush()
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the record. The base class prints a traceback to stderr."""
        error = sys.exc_info()[1]
        if isinstance(error, BrokenPipeError):
            self._gone = error


class _Line(NamedTuple):
    """A record as it is written."""

    time: datetime
    level: str
    event: LogEvent
    message: str
    fields: Mapping[str, Any]
    steady: str | None


def _line(record: logging.LogRecord) -> _Line | None:
    """Return the line of a record. Return None for another library's records below WARNING."""
    now = datetime.fromtimestamp(record.created, UTC)
    level = "error" if record.levelno >= logging.ERROR else "warning"
    event: LogEvent | None = getattr(record, "event", None)
    if event is not None:
        if record.levelno < logging.WARNING:
            level = "info"
        if getattr(record, "repeated", False):
            level = "debug"
        fields, steady = getattr(record, "fields", {}), getattr(record, "steady", None)
        return _Line(now, level, event, record.getMessage(), fields, steady)
    if record.levelno < logging.WARNING:
        return None
    try:
        message = record.getMessage()
    except (TypeError, ValueError):
        message = str(record.msg)
    words = f"{level}: {sanitize(message)}"
    return _Line(now, level, LogEvent.PROCESS, words, {"logger": record.name}, None)


def _text(line: _Line) -> str:
    words = line.message
    if "error" in line.fields:
        words = " · ".join(part.strip() for part in words.split("\n"))
    # The message of a lasting condition already names its subject.
    shown = line.fields if line.steady is None else {}
    named = [(name, value) for name, value in shown.items() if name not in ("bead", "kind")]
    more = " ".join(f"{name}={value}" for name, value in named)
    return f"{line.time:%Y-%m-%dT%H:%M:%SZ} {sanitize(words, 2000)}{' · ' + more if more else ''}"


UNDECIDED = frozenset({LogEvent.IDLE, LogEvent.MERGING, LogEvent.OVERTAKEN})
"""Events without a decision. After a tick with only these events, lasting conditions remain."""


OF_THE_PROCESS = frozenset(
    {
        LogEvent.WATCHING,
        LogEvent.STOPPED,
        LogEvent.UNRECORDED,
        LogEvent.SERVING,
        LogEvent.LEADING,
        LogEvent.STANDING_BY,
        LogEvent.ERROR,
        LogEvent.RECOVERED,
        LogEvent.PROCESS,
    }
)
"""Events about `run` itself, not about the decisions of a tick."""


class RepeatFilter(logging.Filter):
    """A filter that passes a condition when it begins or changes, and drops repetitions.

    A record of a single event (no ``steady`` text) always passes.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        """Create the filter.

        Args:
            verbose: whether to pass repetitions too, marked as ``repeated``.
        """
        super().__init__()
        self.verbose = verbose
        self._before: dict[_Subject, str] = {}
        self._now: dict[_Subject, str] = {}
        self._decided = False

    def filter(self, record: logging.LogRecord) -> bool:
        event: LogEvent | None = getattr(record, "event", None)
        if event is None or event in OF_THE_PROCESS:
            return True
        self._decided = self._decided or event not in UNDECIDED
        steady: str | None = getattr(record, "steady", None)
        if steady is None:
            return True
        subject = _subject(event, getattr(record, "fields", {}))
        repeated = self._now.get(subject, self._before.get(subject)) == steady
        self._now[subject] = steady
        record.repeated = repeated
        return not repeated or self.verbose

    def next_tick(self) -> None:
        """Begin another tick. A tick that logged nothing changes nothing."""
        if not self._decided:
            rest = {key: record for key, record in self._before.items() if key[0] not in UNDECIDED}
            self._now = (rest | self._now) if self._now else self._before
        self._before, self._now, self._decided = self._now, {}, False


_Subject = tuple[object, ...]


def _subject(event: LogEvent, fields: Mapping[str, Any]) -> _Subject:
    """Return the subject of a condition: lines of one subject replace each other."""
    if event is LogEvent.NONE_ELIGIBLE:
        event = LogEvent.IDLE  # the same condition, in less detail
    names = [fields.get(name) for name in ("bead", "rule", "target", "sign")]
    return (event, *names, None if any(names) else fields.get("gate"))


def _json(line: _Line) -> str:
    """Return one line of JSON for any values.

    JSON has no lone surrogates, and orjson accepts only string keys.
    """
    time, level, event, message, fields, _ = line
    record = {"time": time, "level": level, "event": event, "message": message, **fields}
    try:
        return orjson.dumps(record, default=str).decode()
    except TypeError:
        text = {
            str(name): str(value).encode("utf-8", "backslashreplace").decode()
            for name, value in record.items()
        }
        return orjson.dumps(text).decode()


@contextlib.contextmanager
def logging_to(handler: logging.Handler) -> Iterator[None]:
    """Log to ``handler``: this package from INFO on, other libraries by their own level.

    The handler also gets one line for each message that Python would write to stderr: errors that
    end a thread, errors in finalizers, and warnings. The previous settings are restored at the end
    of the block.
    """

    def ended(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            name = args.thread.name if args.thread else "?"
            log_failure(f"error: thread {name} ended", args.exc_type, args.exc_value)

    def unraisable(args: Any) -> None:
        log_failure(f"error: {args.err_msg or 'ignored'}", args.exc_type, args.exc_value)

    def warned(message: Warning | str, category: type[Warning], *more: Any, **named: Any) -> None:
        words = f"warning: {category.__name__}: {sanitize(str(message))}"
        logger.warning(words, extra=event_fields(LogEvent.PROCESS))

    before = threading.excepthook, sys.unraisablehook, warnings.showwarning
    root, own = logging.getLogger(), logging.getLogger(LOGGER)
    level = own.level
    threading.excepthook, sys.unraisablehook = ended, unraisable
    warnings.showwarning = warned
    root.addHandler(handler)
    own.setLevel(logging.INFO)
    try:
        yield
    finally:
        own.setLevel(level)
        root.removeHandler(handler)
        threading.excepthook, sys.unraisablehook, warnings.showwarning = before


def log_failure(what: str, kind: type[BaseException], error: BaseException | None) -> None:
    """Log one line for an exception that no code handles, with the place that raised it."""
    trace = error.__traceback__ if error is not None else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = f" (at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""
    words = f"{what}: {kind.__name__}: {sanitize(str(error))}{at}"
    logger.error(words, extra=event_fields(LogEvent.PROCESS, error=kind.__name__))
