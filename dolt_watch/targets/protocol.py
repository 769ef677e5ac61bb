"""The contract between dolt_watch and a target.

A target is an object with three methods and ``close``. It keeps no state that matters, because the
process may end after any call. It raises nothing for an answer of its service. Each target
classifies the answers in a table of its own (docs/reference/target-answers.md). DO answer
``Unknown`` if a run may have begun: a second agent costs more than a bead that waits. DON'T retry
inside a method: one token is one request.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from dolt_watch.core.model import Capacity, JobReport
from dolt_watch.core.model.target_answers import Answer


@dataclass(frozen=True, slots=True)
class BeadTask:
    """The bead for a target: its id, and the columns of its row at the time of the claim.

    The row is still open, and doesn't contain the claim's note.
    """

    bead: str
    row: dict[str, Any]
    rule: str = ""
    """The rule of the bead. '' if it is not known."""
    attempt: int = 0
    """Number of the attempt, from 1. 0 if it is not known."""


class Target(Protocol):
    name: str
    timeout: float
    """Seconds after which ``dispatch`` stops waiting. The claim's deadline depends on it."""

    def capacity(self) -> Capacity: ...

    def dispatch(self, task: BeadTask, token: str) -> Answer: ...

    def verdict(self, job: str, started: datetime | None) -> JobReport: ...

    def close(self) -> None: ...
