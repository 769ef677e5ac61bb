"""The inputs and outputs of planning: policy, candidates, observations, plan. Pure."""

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
"""Gates that a replay can't compute: earlier attempts of the same command, and uncommitted rows."""
UNVERSIONED = "unversioned"
"""Another such gate: the bead is not ready because of rows that no commit contains (a wisp), or
because of a mark that bd may not have committed (`is_blocked`).
"""
RECHECK_INTERVAL = timedelta(minutes=1)
"""Interval of repeated questions: about a running job, and about a stale bead that was spared. The
loop polls more often.
"""
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(days=366)
"""Longest pause before the next attempt. Without a bound, a doubled pause exceeds the range of
datetime.
"""
LAST_REST = timedelta(minutes=15)
"""Longest cooldown of a busy target."""
IMMEDIATELY = datetime(1970, 1, 1, tzinfo=UTC)
"""Due at any time, even after the clock was set back."""


class Scope(NamedTuple):
    """The kinds of decision that a command makes."""

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
    """The settings for decisions."""

    rules: Sequence[Rule]
    settle: timedelta
    descending: Mapping[str, Sequence[bool]] = EMPTY
    """Rule → direction of each ``order_by`` key."""
    settings_hash: str = ""
    job_reporting_targets: Collection[str] = ()
    """Targets that report how a job ended. They are asked while the job runs, so a failure is found
    early.
    """

    deduplicating: Collection[str] = ()
    """Targets that start each token at most once, and can report whether it runs."""
    poll: timedelta | None = None
    """Interval of the `run` that decides. None: a one-shot command, whose interval is not known."""

    def rule(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)


class Candidates(NamedTuple):
    """The beads for which a decision is possible, and the targets to ask."""

    queues: Mapping[str, tuple[Bead, ...]] = EMPTY
    """Rule → the waiting beads that may be dispatched if their gates allow it, in queue order."""
    slots: Mapping[str, int] = EMPTY
    """Rule → number of further claims that ``max_in_flight`` and ``max_per_hour`` allow."""
    stale: tuple[Bead, ...] = ()
    """Running beads that are stale. Fresh signs of life and the target's verdict are looked up."""
    jobs: tuple[Bead, ...] = ()
    """The other running beads with a job. Their target may report a failure."""
    unsettled: tuple[Bead, ...] = ()
    """All attempts of unknown outcome. A target that deduplicates is asked whether they run."""
    unknown: tuple[Bead, ...] = ()
    """Attempts of unknown outcome past ``unknown_after``. The service is asked whether it is idle.
    """
    tries: tuple[str, ...] = ()
    """Targets with an outage that are tried now, even if no bead may be dispatched."""
    held: Mapping[str, HoldReason] = EMPTY
    """Waiting beads that no observation could release now, with their hold. A bead's own hold
    precedes its rule's.
    """
    due: Mapping[str, datetime | None] = EMPTY
    """'dispatch' and 'reap' → the next time at which time alone changes a decision. None: never."""
    stops: Mapping[str, HoldReason] = EMPTY
    """Rule → the hold of all its waiting beads (a pause, no free slot), if there is one."""
    settles: bool = False
    """Whether a bead only has to settle, under a rule without a hold."""


class Observations(NamedTuple):
    """Observations for the candidates."""

    capacity: Mapping[str, Capacity] = EMPTY
    """By target."""
    holds: Mapping[str, HoldReason] = EMPTY
    """By bead: a gate that keeps a waiting bead (readiness), or spares a stale one (an uncommitted
    sign of life).
    """
    verdicts: Mapping[str, JobReport] = EMPTY
    """By bead."""
    leases: Mapping[str, Lease] = EMPTY
    """By bead, for stale beads and beads of unknown outcome."""
    jitter: float = 0.0
    """Random number from 0 to 1: the jitter of the pause before a target is tried again."""


GUARDED_BY_ROW = (
    EntryKind.CLAIM,
    EntryKind.RESTORE,
    EntryKind.REAP,
    EntryKind.REQUEUE,
    EntryKind.MANUAL_RETRY,
    EntryKind.MANUAL_STOP,
)
"""Decisions whose transaction checks the row itself. They apply to any status, since a rule's
``running`` may name other statuses.
"""


def sets_status(decision: Decision, status: str) -> bool:
    """Return whether the decision may change a row whose status is ``status``.

    Decisions in ``GUARDED_BY_ROW`` re-check the row in their own transaction. All other decisions
    change only rows that are still in progress.
    """
    return bool(decision.status) and (decision.kind in GUARDED_BY_ROW or status == IN_PROGRESS)


class Plan(NamedTuple):
    """The decisions in the order of their execution, and the hold of each other waiting bead."""

    decisions: tuple[Decision, ...] = ()
    holds: Mapping[str, HoldReason] = EMPTY
    rules: Mapping[str, tuple[HoldReason, ...]] = EMPTY
    """Rule → holds that its beads share. ``holds`` contains them for each of these beads."""

    @property
    def gates(self) -> frozenset[str]:
        """Return the names of all gates that hold something."""
        whole = (hold for holds in self.rules.values() for hold in holds)
        return frozenset(hold.gate for hold in (*self.holds.values(), *whole))


def active_pauses(state: State, now: datetime) -> tuple[Pause, ...]:
    """Return the pauses that have not ended."""
    return tuple(pause for pause in state.pauses.values() if pause.is_active(now))


def active_pause(state: State, rule: str, now: datetime, reaping: bool = False) -> Pause | None:
    for name in ("", rule):
        pause = state.pauses.get(name)
        if pause and pause.is_active(now) and (pause.reaping or not reaping):
            return pause
    return None


def last_activity(bead: Bead) -> datetime:
    """Return the time of the last sign of life, or the start of the attempt if it gave none."""
    return max(bead.since, bead.sign.at) if bead.sign else bead.since


def stale_at(bead: Bead, rule: Rule) -> datetime:
    """Return when the bead becomes stale: after more whole minutes than the threshold, as in the
    original.

    A threshold of less than a minute counts in seconds.
    """
    return last_activity(bead) + silence(rule)


def silence(rule: Rule) -> timedelta:
    """Return how long a bead must be silent to be stale."""
    return (
        rule.stale_after if rule.stale_after < MINUTE else MINUTE * (rule.stale_after // MINUTE + 1)
    )


def busy_answers(state: State, target: str, now: datetime) -> int:
    """Return the number of consecutive busy answers.

    Answers older than the longest cooldown don't count.
    """
    rest = state.cooldowns.get(target)
    return state.busy.get(target, 0) if rest is not None and now < rest + LAST_REST else 0


def retry_pause(rule: Rule, attempt: int, jitter: float = 0.0) -> timedelta:
    """Return the pause after a failed attempt: ``retry_after``, doubled with each attempt.

    Args:
        rule: The rule of the bead.
        attempt: Number of the failed attempt, from 1.
        jitter: From 0 to 1. Adds up to a quarter of the pause, so that beads that failed together
            aren't retried together.
    """
    doublings = min(max(attempt, 1), 20) - 1
    pause: timedelta = rule.retry_after * 2**doublings * (1 + jitter / 4)
    return min(pause, LONGEST_PAUSE)


class Planned(NamedTuple):
    """Decisions of one kind, and the holds of the beads that they leave out."""

    decisions: tuple[Decision, ...] = ()
    holds: Mapping[str, HoldReason] = EMPTY
