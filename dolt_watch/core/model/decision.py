"""Decisions, hold reasons, and the results of gates."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dolt_watch.core.model.bead import EMPTY, Bead
from dolt_watch.core.model.entry_kinds import EntryKind
from dolt_watch.core.model.reason_codes import ReasonCode

# -- decisions and the ledger --------------------


class Decision(NamedTuple):
    """A decision of the planner about one bead.

    ``detail`` contains each input that a replay needs.
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
    """Text to append to the bead's notes. '' for none."""
    status: str = ""
    """Status to set. '' keeps the status."""
    detail: Mapping[str, Any] = EMPTY
    reason_code: ReasonCode | None = None
    """The code of ``reason``, for programs."""

    @classmethod
    def of_attempt(cls, kind: EntryKind, bead: Bead) -> "Decision":
        """Return a decision about the bead's current attempt: its rule, number, cause and token."""
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
    """A gate that keeps a matching bead waiting: the gate's name, which is also the code of the
    hold, and the value that the gate saw, as text.
    """

    gate: str
    why: str


class GateResult(NamedTuple):
    """The result of one gate: its name, whether it lets the bead pass, and the value that it saw,
    as text.
    """

    gate: str
    ok: bool
    why: str
    due: datetime | None = None
    """When time alone changes this result; None: it does not."""

    @property
    def hold(self) -> HoldReason | None:
        return None if self.ok else HoldReason(self.gate, self.why)
