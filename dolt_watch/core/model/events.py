"""Events, derived from row changes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from dolt_watch.core.model.bead import ActivitySignal, RuleMatch
from dolt_watch.core.model.ledger_entry import LedgerEntry
from dolt_watch.core.model.row_changes import RowChange

# -- what a change means --------------------


class EventKind(StrEnum):
    """Kinds of event."""

    LEDGER = "ledger"
    """A decision or report of ours came back through the feed."""
    MATCHED = "matched"
    UNMATCHED = "unmatched"
    STARTED = "started"
    LEFT = "left"
    """Stopped being watched: closed, blocked, reassigned, deleted."""
    EDITED = "edited"
    """Somebody else changed the bead's row, and it went on matching or running (or neither)."""
    SIGN = "sign-of-life"
    """Somebody else added a comment, a label, an event, a dependency."""
    OVERWRITTEN = "note-overwritten"
    """A note of ours is gone from the row."""
    RENAMED = "renamed"
    """The bead has another id from this commit on."""


class Origin(StrEnum):
    """Where a change of what a row is to the rules comes from.

    Only an act releases a live attempt.
    """

    ACT = "act"
    """Somebody set it so, on a line of history that holds the commit before."""
    SAME = "same"
    """The row matches and runs as it did before."""
    BACK = "back"
    """An older row came back: what the attempt wrote is gone with its status."""
    UNCLEAR = "unclear"
    """History does not say whether somebody meant it."""


class Event(NamedTuple):
    """What one change means for one bead."""

    what: EventKind
    bead: str
    commit: str
    at: datetime
    """The commit's date."""
    facts: RuleMatch | None = None
    """None where the commit did not change the bead's row."""
    sign: ActivitySignal | None = None
    entry: LedgerEntry | None = None
    changed: tuple[str, ...] = ()
    note: str = ""
    """OVERWRITTEN: the text that is gone."""
    row: RowChange | None = None
    """The row change that it was derived from; for an entry of ours, what its commit did to the
    bead's row.
    """
    origin: Origin = Origin.ACT
    freed: frozenset[str] = frozenset()
    """Tokens of the attempts that somebody ended on a line which a merge brought in, and which
    had seen them.
    """
    other: str = ""
    """The bead's other id, where it was renamed: RENAMED: the one before; LEFT: the one after."""
