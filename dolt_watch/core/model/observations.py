"""Observations outside of history: capacity, job reports, leases."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """A target's verdict on one of its jobs."""

    RUNNING = "running"
    FINISHED = "finished"
    LOST = "lost"
    UNKNOWN = "unknown"


class Capacity(NamedTuple):
    """The number of further runs that a target accepts now.

    ``slots`` is ``None`` if the number is not known; ``why`` has the reason. ``idle`` is evidence:
    it is True only if the service itself said that nothing runs and nothing is queued.
    """

    slots: int | None
    why: str = ""
    idle: bool = False
    down: bool = False
    """The target did not answer, or something else answered in its place. If beads wait, the
    command exits with 1.
    """
    proof: str = ""
    """The part that this answer proves to be reachable: 'target', 'service' (the target and the
    service behind it), or '' if nothing was asked.
    """
    speaks_for: str = ""
    """The service behind the target, if that service is the busy one. Not recorded."""


class Lease(NamedTuple):
    """A bead's lease in bd (since bd 1.3). No commit contains it."""

    holder: str
    """The actor that sends the heartbeats."""
    heartbeat: datetime
    expires: datetime
    """Until this time, bd gives the bead to no other actor."""


class Health(NamedTuple):
    """The health of a target when a bead is sent to it. Recorded with the answer."""

    busy: int = 0
    """Number of consecutive busy answers before this one."""
    tries: int = 0
    """Number of failed tries in the outage. 0: there is no outage."""
    noted: bool = False
    """Whether the bead's notes already mention this outage."""
    note: str = ""
    """The claim's note, if it is written only after an answer after which an agent runs."""


class JobReport(NamedTuple):
    """A target's statement about one job.

    ``status_text`` is the target's own word ('timeout'), ``error`` its own error text.
    """

    verdict: Verdict
    status_text: str = ""
    error: str = ""
    dead: bool = False
    """The target knows that no process of the job exists."""
    started: bool = True
    """False: the target knows that the job never started."""
    limited: bool = False
    """A usage limit of the agent ended the job."""
    resets_at: datetime | None = None
    """When the usage limit resets, if the agent named a time."""
    job: str = ""
    """The job's ID, if the target was asked by token."""
    active_at: datetime | None = None
    """When the job last wrote output, if output counts as a sign of life."""
    failed_at_start: bool = False
    """The job failed within seconds of its start. The agent may not work at all."""
    target_failed: bool = False
    """The last jobs of the target failed at their start, on different beads. The target is at
    fault, not the bead.
    """

    @property
    def ended(self) -> str:
        """Return how the job ended, in a word. '' if that is not known."""
        return (
            (self.status_text or self.verdict.value)
            if self.verdict in (Verdict.FINISHED, Verdict.LOST)
            else ""
        )

    @property
    def failed(self) -> bool:
        """Return whether the target reports a failure, so that waiting is useless."""
        if self.dead and self.status_text != "completed":
            return True
        return self.verdict is Verdict.FINISHED and self.status_text in ("failed", "error")

    @property
    def has_ended(self) -> bool:
        """Return whether no agent works on the job any more, as far as the target knows.

        A service that does not end a job after its time-out, or that failed while it was read, says
        nothing about the agent. If the target could not be asked, nothing is known. For a target
        that reports nothing about its jobs, the silence of the bead decides.
        """
        if self.verdict is Verdict.UNKNOWN:
            return not self.error
        if self.dead:
            return True
        return self.verdict is Verdict.LOST or (
            self.verdict is Verdict.FINISHED and self.status_text == "failed"
        )
