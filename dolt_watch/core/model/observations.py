"""What was observed outside of history: capacity, jobs, leases."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """A target's word on one of its jobs."""

    RUNNING = "running"
    FINISHED = "finished"
    LOST = "lost"
    UNKNOWN = "unknown"


class Capacity(NamedTuple):
    """How many more runs the target takes now.

    ``slots`` None: not known (``why`` says so). ``idle`` is evidence, not courtesy: True only
    where the service itself said that nothing runs and nothing is queued.
    """

    slots: int | None
    why: str = ""
    idle: bool = False
    down: bool = False
    """The target did not answer at all (or not as itself): beads that wait make the command exit
    1.
    """
    proof: str = ""
    """What this answer proves to be reachable: 'target', 'service' (the target and the one behind
    it), or '': nobody was asked."""
    speaks_for: str = ""
    """The service behind the target, if that is the busy one. Not recorded."""


class Lease(NamedTuple):
    """A bead's lease as bd keeps it (since bd 1.3). No commit holds it."""

    holder: str
    """The actor whose heartbeat it is."""
    heartbeat: datetime
    expires: datetime
    """Until then bd gives the bead to nobody else."""


class Health(NamedTuple):
    """What is known of a target when a bead is sent to it; recorded with the answer."""

    busy: int = 0
    """Busy answers in a row before this one."""
    tries: int = 0
    """Tries that failed in its outage; 0: there is none."""
    noted: bool = False
    """The bead's notes tell of this outage already."""
    note: str = ""
    """The claim's note, where it waits for an answer after which something runs."""


class JobReport(NamedTuple):
    """What the target says of a job.

    ``word`` is its own status word ('timeout'), ``error`` its own error text.
    """

    verdict: Verdict
    status_text: str = ""
    error: str = ""
    dead: bool = False
    """The target knows that no process of the job is left."""
    started: bool = True
    """False: the target knows that the job never started."""
    limited: bool = False
    """A usage limit of the agent ended the job, not the bead."""
    resets_at: datetime | None = None
    """When the usage limit resets, if the agent named a time."""
    job: str = ""
    """The job's ID, if the target was asked by its token."""
    active_at: datetime | None = None
    """When the job last wrote output, if that counts as a sign of life."""

    @property
    def ended(self) -> str:
        """How it ended, in a word; '' where that is not known."""
        return (
            (self.status_text or self.verdict.value)
            if self.verdict in (Verdict.FINISHED, Verdict.LOST)
            else ""
        )

    @property
    def failed(self) -> bool:
        """Its target itself says that no good can come of waiting."""
        if self.dead and self.status_text != "completed":
            return True
        return self.verdict is Verdict.FINISHED and self.status_text in ("failed", "error")

    @property
    def has_ended(self) -> bool:
        """Is nobody at work on it any more, as far as its target can tell?

        A service that does not kill what timed out, or broke while it was being read, says
        nothing of the agent; and one that could not be asked says nothing at all. A target that
        tells nothing of its jobs leaves it to the silence of the bead.
        """
        if self.verdict is Verdict.UNKNOWN:
            return not self.error
        if self.dead:
            return True
        return self.verdict is Verdict.LOST or (
            self.verdict is Verdict.FINISHED and self.status_text == "failed"
        )
