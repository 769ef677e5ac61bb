"""What is known of a run, and the errors of the store that keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class StoreUnavailable(Exception):
    """The state directory cannot be used now. The text says why."""


class AlreadyMade(Exception):
    """A run with this token exists: it is never started again."""


class NoSlot(Exception):
    """As many runs live as there are slots."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of one run.

    ``state``: 'running', 'ended' (``end`` has the record), 'lost' (no process is left and no end
    was recorded), 'abandoned' (the agent was never started), 'refused' (the agent could not be
    started), 'unclear' (its processes cannot be ended; ``why``).
    """

    token: str
    state: str
    record: dict[str, Any] = field(default_factory=dict)
    """``run.json``."""
    end: dict[str, Any] = field(default_factory=dict)
    why: str = ""

    @property
    def lives(self) -> bool:
        """Return whether a process of the run may exist."""
        return self.state in ("running", "unclear")
