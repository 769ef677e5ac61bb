"""A target's answer to a dispatch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accepted:
    """A run began or is queued. ``job`` is the service's ID of the run."""

    job: str
    status: int | None = 200
    """The HTTP status. None if the answer did not come by HTTP."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing runs.

    ``why`` follows 'dispatch failed ' in the note. ``permanent``: an unchanged attempt can't
    succeed.
    """

    why: str
    status: int | None = None
    permanent: bool = False
    halts_rule: bool = False
    """The target rejected the credential, or reports that it is gone. The bead is not at fault.
    Stops the rule until a user resumes it, and counts against no bead.
    """
    unreachable: str = ""
    """The part that can't be reached: 'target', 'service' (the service behind it), or '' if the
    target answered. Starts an outage, and counts against no bead.
    """
    not_found: bool = False
    """The target can't find the bead.

    The target's database may be away, so the first such answer is temporary. The second in a row
    counts as ``permanent``.
    """


@dataclass(frozen=True, slots=True)
class Busy:
    """Nothing runs, because no slot is free.

    ``retry_after``: seconds until the target accepts requests again. None if the target named no
    time.
    """

    why: str
    status: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """A run may have begun. The bead is not sent again until the outcome is known."""

    why: str
    status: int | None = None
    unreachable: str = ""
    """As in ``Refused``."""


Answer = Accepted | Refused | Busy | Unknown
