"""Loops and services that pass their log lines to a test, each separately."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from dolt_watch.cli import composition
from dolt_watch.controller import service
from dolt_watch.controller.loop import ControlLoop
from dolt_watch.controller.state_reader import StateReader
from dolt_watch.log_events import LOGGER, LogEvent, event_fields

Hear = Callable[[str], object]
READING = ("current_state", "survey", "decision_context")
"""Names of the methods of a reader that log."""


def ignore(line: str) -> None:
    return None


def record(
    message: str, event: LogEvent, level: int = logging.INFO, **named: Any
) -> logging.LogRecord:
    """Return a log record of the package.

    Args:
        named: Arguments of ``event_fields``.
    """
    more = event_fields(event, **named)
    return logging.makeLogRecord({"name": LOGGER, "msg": message, "levelno": level, **more})


def lasting(message: str, event: LogEvent, **fields: Any) -> logging.LogRecord:
    """Return a log record of a condition that lasts."""
    return record(message, event, steady=message, **fields)


class Hearing(logging.Handler):
    """A handler that passes on the message of each record."""

    def __init__(self, hear: Hear) -> None:
        super().__init__()
        self.hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        self.hear(record.getMessage())


class Records(logging.Handler):
    """A handler that keeps the records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Router(logging.Handler):
    """A handler that passes each record to the latest handler of its thread, or of any thread."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, logging.Handler]] = []

    def emit(self, record: logging.LogRecord) -> None:
        own = [to for thread, to in self.asked if thread == threading.get_ident()]
        for to in (own or [to for _, to in self.asked])[-1:]:
            to.handle(record)


_router = Router()
_lock = threading.Lock()


@contextmanager
def heard(hear: Hear | logging.Handler) -> Iterator[None]:
    """Pass the package's log only to ``hear`` until the block ends."""
    own = logging.getLogger(LOGGER)
    entry = (threading.get_ident(), hear if isinstance(hear, logging.Handler) else Hearing(hear))
    with _lock:
        _router.asked.append(entry)
        own.addHandler(_router)
        own.propagate = False
        own.setLevel(logging.INFO)
    try:
        yield
    finally:
        with _lock:
            _router.asked.remove(entry)
            if not _router.asked:
                own.removeHandler(_router)
                own.propagate = True
                own.setLevel(logging.NOTSET)


def heard_by(hear: Hear | logging.Handler, call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def called(*args: Any, **named: Any) -> Any:
        with heard(hear):
            return call(*args, **named)

    return called


def build(
    engine: Any, settings: Any, targets: Any, clock: Any, hear: Any = ignore, **more: Any
) -> ControlLoop:
    """Return the loop of ``composition.build``. ``hear`` gets each line that this loop logs."""
    return _loop(composition.build(engine, settings, targets, clock, **more), hear)


def build_dry_run(
    engine: Any, settings: Any, targets: Any, clock: Any, hear: Any = ignore
) -> ControlLoop:
    """Return the loop of ``composition.build_dry_run``. ``hear`` gets each line that it logs."""
    return _loop(composition.build_dry_run(engine, settings, targets, clock), hear)


def _loop(made: ControlLoop, hear: Hear | logging.Handler) -> ControlLoop:
    made.tick = heard_by(hear, made.tick)
    return made


def build_reader(
    engine: Any, settings: Any, targets: Any, clock: Any, hear: Any = ignore
) -> StateReader:
    """Return a reader that logs the lines of a dry run. ``hear`` gets each line."""
    made = StateReader(composition.build_dry_run(engine, settings, targets, clock).parts)
    for name in READING:
        # The reader is frozen, and only tests listen to it.
        object.__setattr__(made, name, heard_by(hear, getattr(made, name)))
    return made


class Service(service.Service):
    """A service. ``hear`` gets its lines, and those of a loop without its own handler."""

    def __init__(self, connect: Any, loop: Any, hear: Any, watching: Any, **more: Any) -> None:
        super().__init__(connect, loop, watching, **more)
        self.hear = hear

    def step(self) -> float:
        with heard(self.hear):
            return super().step()

    def run(self) -> None:
        with heard(self.hear):
            super().run()
