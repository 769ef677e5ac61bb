"""One entry of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dolt_watch.core.model.bead import EMPTY
from dolt_watch.core.model.entry_kinds import EntryKind
from dolt_watch.core.model.reason_codes import ReasonCode


class EntryEffects(NamedTuple):
    """Exactly what an entry's own commit changed, so that the fold can tell our cells from
    anybody else's in the same commit.

    ``cells``: column of issues → (before, after), as its own transaction read and set them;
    notes are told by ``note``, the appended text. ``events``: ids of its rows of events.
    ``events_in_history`` false: no commit holds these, since bd (1.3) keeps the table out of
    history.
    """

    cells: Mapping[str, tuple[Any, Any]] = EMPTY
    note: str = ""
    events: tuple[str, ...] = ()
    events_in_history: bool = True
    """False if bd keeps `events` out of history (since bd 1.3): the rows were written, and no
    commit holds them.
    """


class LedgerEntry(NamedTuple):
    """One row of the ledger, ``watch_decision``: a decision, or a report of what happened
    outside.
    """

    bead: str
    version: int
    kind: EntryKind
    attempt: int
    rule: str
    token: str
    cause: str
    observed: str
    at: datetime
    """Database clock, microseconds."""
    job: str
    reason: str
    bead_hash: str
    settings_hash: str
    actor: str
    detail: Mapping[str, Any]
    wrote: EntryEffects
    reason_code: ReasonCode | None = None
    """The code of ``reason``, as recorded; of an entry from before the codes, as its text says."""
