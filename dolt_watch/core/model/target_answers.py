"""A target's answer to a dispatch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accepted:
    """A run began or is queued. ``job`` is the service's name for it."""

    job: str
    status: int | None = 200
    """HTTP's; None where the answer came by another way."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing runs.

    ``why`` is what the note says after 'dispatch failed '; ``permanent``: trying again unchanged
    cannot help.
    """

    why: str
    status: int | None = None
    permanent: bool = False
    halts_rule: bool = False
    """The way to the target is wrong, not this bead: it does not take our credential, or says
    that it is gone. Stops the rule until a person resumes it, and counts against no bead.
    """
    unreachable: str = ""
    """What cannot be reached:

    'target', 'service' (the one behind it), '' where the target answered. Begins an outage, and
    counts against no bead.
    """
    not_found: bool = False
    """The target does not find the bead.

    Once may be a database that is away; twice in a row counts as ``permanent``.
    """


@dataclass(frozen=True, slots=True)
class Busy:
    """Nothing runs: no free slot.

    ``retry_after``: seconds the target asked to be left alone, None where it did not say.
    """

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
