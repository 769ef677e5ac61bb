"""One entry of the ledger."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dolt_watch.core.model.bead import EMPTY
from dolt_watch.core.model.entry_kinds import EntryKind
from dolt_watch.core.model.reason_codes import ReasonCode


class EntryEffects(NamedTuple):
    """The exact changes of an entry's own commit.

    Projection uses them to tell the cells of dolt_watch from those of other writers in the same
    commit.

    ``cells``: column of issues → (before, after), as its transaction read and set them. Notes are
    in ``note``, the appended text. ``events``: ids of its rows in the table ``events``.
    """

    cells: Mapping[str, tuple[Any, Any]] = EMPTY
    note: str = ""
    events: tuple[str, ...] = ()
    events_in_history: bool = True
    """False if bd keeps `events` out of history (since bd 1.3): the rows were written, and no
    commit contains them.
    """


class LedgerEntry(NamedTuple):
    """One row of the ledger, ``watch_decision``: a decision or an outcome entry."""

    bead: str
    version: int
    kind: EntryKind
    attempt: int
    rule: str
    token: str
    cause: str
    observed: str
    at: datetime
    """Time of the database server, in microseconds."""
    job: str
    reason: str
    bead_hash: str
    settings_hash: str
    actor: str
    detail: Mapping[str, Any]
    wrote: EntryEffects
    reason_code: ReasonCode | None = None
    """The recorded code of ``reason``. For an entry without a code, the code that its text implies.
    """
