"""The state at one commit: beads, pauses, outages."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from dolt_watch.core.model.bead import EMPTY, Bead


class Pause(NamedTuple):
    """A pause of one rule, or of all rules if ``rule`` is ''. ``reaping``: of the reaper, too
    (``pause --all``).
    """

    rule: str
    reason: str
    at: datetime
    by: str
    until: datetime | None = None
    reaping: bool = False

    def is_active(self, now: datetime) -> bool:
        return self.until is None or self.until > now


class Outage(NamedTuple):
    """An outage of a target."""

    since: datetime
    why: str
    part: str
    """The part that can't be reached: 'target', 'service' (the service behind it), or 'capacity' if
    ``capacity()`` itself reports the target as down.
    """
    next_at: datetime
    """When the target is tried again. Tries by ``capacity()`` move this time in the saved state
    only.
    """
    tries: int = 1
    """Number of failed tries."""
    recorded: bool = False
    """Whether the ledger contains the entry of the outage."""
    answered: bool = False
    """A dispatch was answered: the outage is over, and no entry records that yet."""
    noted: tuple[str, ...] = ()
    """Beads whose notes mention this outage."""


class State(NamedTuple):
    """The projection at one commit."""

    commit: str = ""
    made: str = ""
    """The commit at which the state was last rebuilt from the rows. The changes after it were
    applied.
    """
    beads: Mapping[str, Bead] = EMPTY
    pauses: Mapping[str, Pause] = EMPTY
    """By rule. '' for all rules."""
    cooldowns: Mapping[str, datetime] = EMPTY
    """Target → end of its cooldown."""
    halted_rules: Mapping[str, str] = EMPTY
    """Rule → hash of the settings under which its target rejected the credential or was gone."""
    claims: Mapping[str, tuple[datetime, ...]] = EMPTY
    """Rule → times of its claims in the last hour, for ``max_per_hour``."""
    version: int = 0
    """The last applied version of the stream of decisions about no bead. 0 if it is not known."""
    outages: Mapping[str, Outage] = EMPTY
    """By target."""
    busy: Mapping[str, int] = EMPTY
    """Target → number of consecutive busy answers."""
