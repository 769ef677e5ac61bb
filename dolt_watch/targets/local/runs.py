"""The facts about a run, and the errors of its store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class StoreUnavailable(Exception):
    """The state directory can't be used now. The text says why."""


class AlreadyMade(Exception):
    """A run with this token exists, so it is never started again."""


class NoSlot(Exception):
    """All slots are taken by living runs."""


@dataclass(frozen=True, slots=True)
class Run:
    """The facts about one run.

    ``state`` is 'running', 'ended' (``end`` has the record), 'lost' (no process is left and no end
    was recorded), 'abandoned' (the agent was never started), 'refused' (the agent could not be
    started) or 'unclear' (its processes can't be ended; ``why``).
    """

    token: str
    state: str
    record: dict[str, Any] = field(default_factory=dict)
    """The content of ``run.json``."""
    end: dict[str, Any] = field(default_factory=dict)
    why: str = ""

    @property
    def lives(self) -> bool:
        """Return whether a process of the run may exist."""
        return self.state in ("running", "unclear")


def state_of(end: Mapping[str, Any]) -> str:
    """Return the state of a run whose end was recorded."""
    return "refused" if "refused" in end else "lost" if end.get("lost") else "ended"
