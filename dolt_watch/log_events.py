"""The events of the log: each line of ``run --log json`` names one of these in its ``event`` key.

The keys are an interface, like the names of metrics: they stay when a message is reworded.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

LOGGER = "dolt_watch"
"""The logger above all others of this package.

Nothing is printed unless its user adds a handler.
"""

logging.getLogger(LOGGER).addHandler(logging.NullHandler())


class LogEvent(StrEnum):
    """What a line of the log is about."""

    WATCHING = "watching"
    """`run` begins."""
    STOPPED = "stopped"
    """`run` ends after SIGTERM or SIGINT."""
    UNRECORDED = "unrecorded"
    """`run` ends before the answer of a target came; a later tick settles that attempt."""
    SERVING = "serving"
    """The address of /metrics, the health checks and the live report."""
    LEADING = "leading"
    """This process took the lock: it dispatches and reaps."""
    STANDING_BY = "standing-by"
    """Another process holds the lock."""
    ERROR = "error"
    """A tick broke off. `error` names the class of the error."""
    RECOVERED = "recovered"
    """The first good tick after an error."""
    IDLE = "idle"
    """A poll found nothing new."""
    NONE_ELIGIBLE = "none-eligible"
    """A tick found no eligible bead."""
    MERGING = "merging"
    """An unfinished merge: the tick is skipped."""
    MIGRATING = "migrating"
    """bd's schema migration is not committed: nothing is adopted, and decisions that would
    commit a part of it wait.
    """
    OVERTAKEN = "overtaken"
    """Other workers were faster too many times in a row: the tick ends."""
    DECISION = "decision"
    """An entry of the ledger was written.

    `kind`, `bead`, `version`, `rule` and `commit` name it.
    """
    RULE_HELD = "rule-held"
    """Something holds all beads of `rule` in its queue; `gate` names it."""
    HOLDING = "holding"
    """`bead` does not go now for a reason of its own; `gate` names it."""
    TARGET_BUSY = "target-busy"
    """The target takes no bead now."""
    KEEPING = "keeping"
    """`bead` runs and is not reaped now."""
    NOT_STOPPED = "not-stopped"
    """The run of `bead` could not be stopped after its attempt had ended."""
    ADOPTED = "adopted"
    """Rows that others left uncommitted were committed."""
    RESTORING = "restoring"
    """History lost a live attempt of `bead`: it is written again."""
    RESYNC = "resync"
    """The state was made anew."""
    REPROCESS = "reprocess"
    """History after a commit is folded again."""
    CLOCK = "clock"
    """A clock or a time zone is wrong somewhere."""
    NO_SUCH_RULE = "no-such-rule"
    """A rule is paused that the settings do not have."""
    IGNORED_TABLE = "ignored-table"
    """`dolt_ignore` keeps a watched table out of history."""
    NOTES_FULL = "notes-full"
    """The notes of a bead have no room: only the ledger carries the note."""
    NOTICE = "notice"
    """The receiver of notifications did not take one."""
    PROCESS = "process"
    """What Python or a library would write to stderr: an error in a thread, a warning.

    `logger` names the library.
    """
    DRY_RUN = "dry-run"
    """What a tick would do."""


def event_fields(event: LogEvent, *, steady: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return the ``extra`` of a log call: attributes that its record gets.

    Args:
        event: What the line is about.
        steady: For a condition that lasts, the part of the line that counts as news. None: it
            happens once.
        fields: The facts of the line. ``bead``, ``rule``, ``target`` or ``sign`` name the subject
            of a condition that lasts.
    """
    return {"event": event, "steady": steady, "fields": fields}


def log_condition(
    logger: logging.Logger, level: int, message: str, event: LogEvent, **fields: Any
) -> None:
    """Log a condition that lasts, and is news whenever its line changes."""
    logger.log(level, message, extra=event_fields(event, steady=message, **fields))


@contextlib.contextmanager
def handling(handler: logging.Handler) -> Iterator[None]:
    """Log this package's records from INFO on to ``handler`` until the block ends."""
    own = logging.getLogger(LOGGER)
    level = own.level
    own.addHandler(handler)
    own.setLevel(logging.INFO)
    try:
        yield
    finally:
        own.setLevel(level)
        own.removeHandler(handler)
