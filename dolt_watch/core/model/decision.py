"""Decisions, the holds that keep a bead waiting, and the results of its gates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dolt_watch.core.model.bead import EMPTY, Bead
from dolt_watch.core.model.entry_kinds import EntryKind
from dolt_watch.core.model.reason_codes import ReasonCode

# -- decisions and the ledger --------------------


class Decision(NamedTuple):
    """What ``decide`` says should be done with one bead, and on what:

    ``detail`` holds each input that a replay needs.
    """

    kind: EntryKind
    bead: str
    rule: str
    attempt: int
    cause: str
    token: str = ""
    job: str = ""
    reason: str = ""
    note: str = ""
    """Text to append to the bead's notes, '' for none."""
    status: str = ""
    """Status to set, '' to leave it."""
    detail: Mapping[str, Any] = EMPTY
    reason_code: ReasonCode | None = None
    """The code of ``reason``: what programs compare."""

    @classmethod
    def of_attempt(cls, kind: EntryKind, bead: Bead) -> Decision:
        """Return a decision about the bead's attempt, as its record has it: rule, number, cause
        and token.
        """
        return cls(
            kind=kind,
            bead=bead.id,
            rule=bead.rule,
            attempt=bead.attempt,
            cause=bead.cause,
            token=bead.token,
        )


# -- why not --------------------


class HoldReason(NamedTuple):
    """A gate that holds a matching bead back: its name, which is the hold's code, and the value
    that it saw, in words.
    """

    gate: str
    why: str


class GateResult(NamedTuple):
    """One gate, asked: whether it lets the bead go, and the value that it saw, in words."""

    gate: str
    ok: bool
    why: str
    due: datetime | None = None
    """When time alone changes this result; None: it does not."""

    @property
    def hold(self) -> HoldReason | None:
        return None if self.ok else HoldReason(self.gate, self.why)
