"""The events of the log. The key ``event`` of each line of ``run --log json`` is one of these.

The names are an interface, like the names of metrics: they stay the same if a message changes.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

LOGGER = "dolt_watch"
"""Name of the package's top logger. Nothing is printed unless a program adds a handler."""

logging.getLogger(LOGGER).addHandler(logging.NullHandler())


class LogEvent(StrEnum):
    """The event of a log line."""

    WATCHING = "watching"
    """`run` started."""
    STOPPED = "stopped"
    """`run` ended after SIGTERM or SIGINT."""
    UNRECORDED = "unrecorded"
    """`run` ended before a target answered. A later tick settles the attempt."""
    SERVING = "serving"
    """The address of /metrics, the health checks and the live page."""
    LEADING = "leading"
    """This process acquired the lock. It dispatches and reaps."""
    STANDING_BY = "standing-by"
    """Another process has the lock. This process waits for it."""
    ERROR = "error"
    """A tick failed. `error` is the class of the error."""
    RECOVERED = "recovered"
    """The first successful tick after an error."""
    IDLE = "idle"
    """A poll found no changes."""
    NONE_ELIGIBLE = "none-eligible"
    """A tick found no eligible bead."""
    MERGING = "merging"
    """The database has an unfinished merge. The tick is skipped."""
    MIGRATING = "migrating"
    """bd's schema migration is not committed. Until it is, nothing is adopted, and decisions that
    would commit a part of the migration wait.
    """
    OVERTAKEN = "overtaken"
    """Too many consecutive transactions conflicted with other workers. The tick ends."""
    DECISION = "decision"
    """An entry was appended to the ledger.

    `kind`, `bead`, `version`, `rule` and `commit` identify the entry.
    """
    RULE_HELD = "rule-held"
    """The gate `gate` holds all waiting beads of `rule`."""
    HOLDING = "holding"
    """The gate `gate` holds `bead`."""
    TARGET_BUSY = "target-busy"
    """The target accepts no bead at the moment."""
    KEEPING = "keeping"
    """`bead` is running, and is not reaped."""
    NOT_STOPPED = "not-stopped"
    """The run of `bead` could not be stopped after its attempt ended."""
    ADOPTED = "adopted"
    """Changes that other programs left uncommitted were committed."""
    RESTORING = "restoring"
    """History no longer contains the current attempt of `bead`. The attempt is recorded again."""
    RESYNC = "resync"
    """The state was rebuilt."""
    REPROCESS = "reprocess"
    """History after a commit is reprocessed."""
    CLOCK = "clock"
    """A clock or a time zone is wrong."""
    NO_SUCH_RULE = "no-such-rule"
    """A pause names a rule that the settings don't contain."""
    IGNORED_TABLE = "ignored-table"
    """`dolt_ignore` excludes a watched table from history."""
    NOTES_FULL = "notes-full"
    """The notes of a bead are full. Only the ledger contains the note."""
    NOTICE = "notice"
    """The receiver of notifications refused one, or could not be reached."""
    PROCESS = "process"
    """An error in a thread, or a warning of Python or a library. `logger` names the library."""
    DRY_RUN = "dry-run"
    """A decision that a live tick would make."""


def event_fields(event: LogEvent, *, steady: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return the ``extra`` of a log call: attributes of its record.

    Args:
        event: The event of the line.
        steady: For a lasting condition, the part of the line whose change makes the condition new.
            None for an event that happens once.
        fields: The values of the line. ``bead``, ``rule``, ``target`` or ``sign`` identify the
            subject of a lasting condition.
    """
    return {"event": event, "steady": steady, "fields": fields}


def log_condition(
    logger: logging.Logger, level: int, message: str, event: LogEvent, **fields: Any
) -> None:
    """Log a lasting condition, which is new whenever its message changes."""
    logger.log(level, message, extra=event_fields(event, steady=message, **fields))


@contextlib.contextmanager
def handling(handler: logging.Handler) -> Iterator[None]:
    """Send records of at least INFO to a handler until the block ends."""
    own = logging.getLogger(LOGGER)
    level = own.level
    own.addHandler(handler)
    own.setLevel(logging.INFO)
    try:
        yield
    finally:
        own.setLevel(level)
        own.removeHandler(handler)
