"""Events, derived from row changes."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from dolt_watch.core.model.bead import ActivitySignal, RuleMatch
from dolt_watch.core.model.ledger_entry import LedgerEntry
from dolt_watch.core.model.row_changes import RowChange

# -- what a change means --------------------


class EventKind(StrEnum):
    """The kind of an event."""

    LEDGER = "ledger"
    """An entry of dolt_watch came back through the change feed."""
    MATCHED = "matched"
    UNMATCHED = "unmatched"
    STARTED = "started"
    LEFT = "left"
    """The bead is no longer watched: closed, blocked, reassigned or deleted."""
    EDITED = "edited"
    """Another writer changed the bead's row, and its match did not change."""
    SIGN = "sign-of-life"
    """Another writer added a comment, a label, an event or a dependency."""
    OVERWRITTEN = "note-overwritten"
    """A note of dolt_watch is missing from the row."""
    RENAMED = "renamed"
    """The bead has another id from this commit on."""


class Origin(StrEnum):
    """The origin of a change that affects whether a row matches or runs.

    Only an act frees a bead with a live attempt.
    """

    ACT = "act"
    """A user set the values, on a line of history that contains the commit before."""
    SAME = "same"
    """The row matches and runs under the same rules as before."""
    BACK = "back"
    """An older row came back. The cells that the attempt wrote are gone with its status."""
    UNCLEAR = "unclear"
    """History does not show whether a user made the change."""


class Event(NamedTuple):
    """The meaning of one change for one bead."""

    what: EventKind
    bead: str
    commit: str
    at: datetime
    """The commit's date."""
    facts: RuleMatch | None = None
    """None if the commit did not change the bead's row."""
    sign: ActivitySignal | None = None
    entry: LedgerEntry | None = None
    changed: tuple[str, ...] = ()
    note: str = ""
    """OVERWRITTEN: the missing text."""
    row: RowChange | None = None
    """The row change that the event is derived from. For an entry of dolt_watch, the change of the
    bead's row in its commit.
    """
    origin: Origin = Origin.ACT
    freed: frozenset[str] = frozenset()
    """Tokens of the attempts that a user ended on a line of history that a merge brought in. That
    line contained their claims.
    """
    other: str = ""
    """The other id of a renamed bead. RENAMED: the id before. LEFT: the id after."""
