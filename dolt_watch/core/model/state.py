"""The state at one commit: beads, pauses, outages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from dolt_watch.core.model.bead import EMPTY, Bead


class Pause(NamedTuple):
    """``rule`` '' means all rules; ``reaping`` too only with --all."""

    rule: str
    reason: str
    at: datetime
    by: str
    until: datetime | None = None
    reaping: bool = False

    def is_active(self, now: datetime) -> bool:
        return self.until is None or self.until > now


class Outage(NamedTuple):
    """A target that cannot be reached."""

    since: datetime
    why: str
    part: str
    """What cannot be reached: 'target', 'service' (the one behind it), or 'capacity': its own
    answer to ``capacity()`` says that it is down."""
    next_at: datetime
    """When it is tried again. Tries by ``capacity()`` move it in the saved state alone."""
    tries: int = 1
    """Tries that failed so far."""
    recorded: bool = False
    """Does its own entry stand in the ledger?"""
    answered: bool = False
    """A dispatch was answered: it is over, and that has no entry yet."""
    noted: tuple[str, ...] = ()
    """Beads whose notes tell of it already."""


class State(NamedTuple):
    """The whole projection, at one commit."""

    commit: str = ""
    made: str = ""
    """The commit at which it was made anew from the rows as they were, the first time or after
    history was rewritten. From there on it was folded.
    """
    beads: Mapping[str, Bead] = EMPTY
    pauses: Mapping[str, Pause] = EMPTY
    """By rule, '' for all."""
    cooldowns: Mapping[str, datetime] = EMPTY
    """Target → left alone until."""
    halted_rules: Mapping[str, str] = EMPTY
    """Rule → why: its target did not take our credential, or was gone, under the settings that
    stand.
    """
    claims: Mapping[str, tuple[datetime, ...]] = EMPTY
    """Rule → times of its claims in the last hour, for ``max_per_hour``."""
    version: int = 0
    """The last version of the stream of decisions about no bead that was folded; 0 where that is
    not known.
    """
    outages: Mapping[str, Outage] = EMPTY
    """By target."""
    busy: Mapping[str, int] = EMPTY
    """Target → busy answers in a row."""
