"""What dolt_watch asks of whoever runs beads: the whole contract, on one page.

A target is an object with three methods. It keeps no state that matters: the process may end after any call. It raises nothing for what a service may
answer; what an answer means is its own table (docs/targets.md). DO answer ``Unknown`` whenever a run may have begun: a second agent costs
more than a bead that waits. DON'T retry inside: never a second request for one token.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from dolt_watch.model import Capacity, JobReport

__all__ = ["Accepted", "Answer", "Busy", "Capacity", "JobReport", "Refused", "Target", "Task", "Unknown"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A run began or is queued. ``job`` is the service's name for it."""

    job: str
    status: int | None = 200
    """HTTP's; None where the answer came by another way."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing runs. ``why`` is what the note says after 'dispatch failed '; ``for_good``: trying again unchanged cannot help."""

    why: str
    status: int | None = None
    for_good: bool = False
    stops: bool = False
    """The way to the target is wrong, not this bead: it does not take our credential, or says that it is gone. Stops the rule until a person resumes
    it, and counts against no bead."""
    unreachable: str = ""
    """What cannot be reached: 'target', 'service' (the one behind it), '' where the target answered. Begins an outage, and counts against no bead."""
    not_found: bool = False
    """The target does not find the bead. Once may be a database that is away; twice in a row counts as ``for_good``."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Nothing runs: no free slot. ``retry_after``: seconds the target asked to be left alone, None where it did not say."""

    why: str
    status: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """A run may have begun, or not: never sent again until it is known."""

    why: str
    status: int | None = None
    unreachable: str = ""
    """As in ``Refused``."""


Answer = Accepted | Refused | Busy | Unknown


@dataclass(frozen=True, slots=True)
class Task:
    """The bead as it is handed to a target: its id and the row's columns, as the claim found them (open, our claim's note not in it yet)."""

    bead: str
    row: dict[str, Any]
    rule: str = ""
    """Under which rule; '' where it is not known."""
    attempt: int = 0
    """Number of the attempt, from 1; 0 if it is not known."""


class Target(Protocol):
    name: str
    timeout: float
    """Seconds after which ``dispatch`` gives up waiting: the claim's deadline is reckoned from it."""

    def capacity(self) -> Capacity: ...

    def dispatch(self, task: Task, token: str) -> Answer: ...

    def verdict(self, job: str, started: datetime | None) -> JobReport: ...

    def close(self) -> None: ...
