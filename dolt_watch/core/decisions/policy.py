"""What deciding takes and gives: the policy, what must be asked of the world, its answers, the
plan. Pure.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

from dolt_watch.core.model import (
    EMPTY,
    IN_PROGRESS,
    Bead,
    Capacity,
    Decision,
    EntryKind,
    HoldReason,
    JobReport,
    Lease,
    Pause,
    Rule,
    State,
)

ATTEMPTED, UNCOMMITTED = "attempted", "uncommitted"
"""Gates that no replay can ask again: what a command did before, and what stood uncommitted."""
UNVERSIONED = "unversioned"
"""Another such gate: a bead is not ready because of rows that no commit holds (a wisp), or of a
mark that bd may not have committed (`is_blocked`).
"""
RECHECK_INTERVAL = timedelta(minutes=1)
"""A target is asked about a job that runs, and a stale bead that was spared (a child was at
work) is looked at, again after this, not at every poll.
"""
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
IMMEDIATELY = datetime(1970, 1, 1, tzinfo=UTC)
"""Due whatever the clock says, also one that was set back since."""


class Scope(NamedTuple):
    """Which kinds of decision a command takes."""

    dispatch: bool = False
    reap: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind in ("dispatch", "reap") if getattr(self, kind))

    @classmethod
    def of(cls, kinds: Collection[str]) -> Self:
        """Return the scope with these kinds."""
        return cls(dispatch="dispatch" in kinds, reap="reap" in kinds)


BOTH = Scope(dispatch=True, reap=True)


class Policy(NamedTuple):
    """The settings that decisions are made under."""

    rules: Sequence[Rule]
    settle: timedelta
    descending: Mapping[str, Sequence[bool]] = EMPTY
    """Rule → direction of each ``order_by`` key."""
    settings_hash: str = ""
    job_reporting_targets: Collection[str] = ()
    """Targets that tell what became of a job: they are asked while it runs, so that nobody waits
    for one that failed.
    """

    deduplicating: Collection[str] = ()
    """Targets that start each token at most once, and can tell whether it runs."""

    def rule(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)


class Candidates(NamedTuple):
    """What must be known before deciding."""

    queues: Mapping[str, tuple[Bead, ...]] = EMPTY
    """Rule → the waiting beads that may go now, first in the queue first: their gates decide."""
    slots: Mapping[str, int] = EMPTY
    """Rule → how many more ``max_in_flight`` and ``max_per_hour`` allow."""
    stale: tuple[Bead, ...] = ()
    """Running beads without a sign of life for too long: asked for fresh signs, and the target
    for its verdict.
    """
    jobs: tuple[Bead, ...] = ()
    """The other running beads that have a job: its target may say that it failed."""
    unsettled: tuple[Bead, ...] = ()
    """All attempts of unknown outcome: a target that deduplicates is asked whether they run."""
    unknown: tuple[Bead, ...] = ()
    """Unknown attempts past ``unknown_after``: the service is asked whether it is idle."""
    tries: tuple[str, ...] = ()
    """Targets with an outage that are to be tried now, whether or not a bead may go."""
    held: Mapping[str, HoldReason] = EMPTY
    """Waiting beads that no answer could let go now, and why: a bead's own reason before its
    rule's.
    """
    due: Mapping[str, datetime | None] = EMPTY
    """'dispatch' and 'reap' → when time alone will make the next difference, None: it will not."""
    stops: Mapping[str, HoldReason] = EMPTY
    """Rule → what holds all of its waiting beads (a pause, no free slot), where something does."""
    settles: bool = False
    """Does a bead only have to settle, under a rule that nothing holds?"""


class Observations(NamedTuple):
    """The answers."""

    capacity: Mapping[str, Capacity] = EMPTY
    """By target."""
    holds: Mapping[str, HoldReason] = EMPTY
    """By bead: a gate that keeps a waiting bead back (readiness), or spares a stale one (an
    uncommitted sign).
    """
    verdicts: Mapping[str, JobReport] = EMPTY
    """By bead."""
    leases: Mapping[str, Lease] = EMPTY
    """By bead: those that are stale or unknown."""
    jitter: float = 0.0
    """From 0 to 1, drawn once: the random part of the pause before a target is tried again."""


GUARDED_BY_ROW = (
    EntryKind.CLAIM,
    EntryKind.RESTORE,
    EntryKind.REAP,
    EntryKind.REQUEUE,
    EntryKind.MANUAL_RETRY,
    EntryKind.MANUAL_STOP,
)
"""Decisions that hold for the row as their own transaction reads it, whatever word its status
is: a rule's ``running`` may name others.
"""


def sets_status(decision: Decision, status: str) -> bool:
    """Does it set its status on a row that has this one?

    It is restored only where it is still ours; a claim's and a reap's guard was the row itself.
    """
    return bool(decision.status) and (decision.kind in GUARDED_BY_ROW or status == IN_PROGRESS)


class Plan(NamedTuple):
    """Decisions in the order in which they should be handled, and why each other waiting bead is
    held.
    """

    decisions: tuple[Decision, ...] = ()
    holds: Mapping[str, HoldReason] = EMPTY
    rules: Mapping[str, tuple[HoldReason, ...]] = EMPTY
    """Rule → what holds its beads for no reason of their own: those beads' ``holds`` are among
    these.
    """

    @property
    def gates(self) -> frozenset[str]:
        """Names of all gates that hold something."""
        whole = (hold for holds in self.rules.values() for hold in holds)
        return frozenset(hold.gate for hold in (*self.holds.values(), *whole))


def active_pauses(state: State, now: datetime) -> tuple[Pause, ...]:
    """The pauses whose end is not over."""
    return tuple(pause for pause in state.pauses.values() if pause.is_active(now))


def active_pause(state: State, rule: str, now: datetime, reaping: bool = False) -> Pause | None:
    for name in ("", rule):
        pause = state.pauses.get(name)
        if pause and pause.is_active(now) and (pause.reaping or not reaping):
            return pause
    return None


def earliest(*moments: datetime | None) -> datetime | None:
    """Return the first of these moments; None if there is none."""
    return min((moment for moment in moments if moment is not None), default=None)


class Planned(NamedTuple):
    """Decisions of one kind, and why the beads that they leave out are held."""

    decisions: tuple[Decision, ...] = ()
    holds: Mapping[str, HoldReason] = EMPTY
