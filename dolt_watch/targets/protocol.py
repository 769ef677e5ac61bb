"""What dolt_watch asks of whoever runs beads: the whole contract, on one page.

A target is an object with three methods. It keeps no state that matters: the process may end
after any call. It raises nothing for what a service may answer; what an answer means is its own
table (docs/targets.md). DO answer ``Unknown`` whenever a run may have begun: a second agent
costs more than a bead that waits. DON'T retry inside: never a second request for one token.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from dolt_watch.core.model import Capacity, JobReport
from dolt_watch.core.model.target_answers import Answer


@dataclass(frozen=True, slots=True)
class BeadTask:
    """The bead as it is handed to a target: its id and the row's columns, as the claim found
    them (open, our claim's note not in it yet).
    """

    bead: str
    row: dict[str, Any]
    rule: str = ""
    """Under which rule; '' where it is not known."""
    attempt: int = 0
    """Number of the attempt, from 1; 0 if it is not known."""


class Target(Protocol):
    name: str
    timeout: float
    """Seconds after which ``dispatch`` gives up waiting: the claim's deadline is reckoned from
    it.
    """

    def capacity(self) -> Capacity: ...

    def dispatch(self, task: BeadTask, token: str) -> Answer: ...

    def verdict(self, job: str, started: datetime | None) -> JobReport: ...

    def close(self) -> None: ...
