"""Comparison of two simulations and the record: paired dispatches and reaps, and figures. Pure.

The dispatches and reaps of each bead are paired in order of time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import zip_longest
from typing import NamedTuple

from dolt_watch.core.model import EntryKind
from dolt_watch.replay.simulation.attempt_log import AWAY, DELETED, Attempt, AttemptLog, EntryRecord
from dolt_watch.stats import DurationStats

SAME = timedelta(seconds=30)
"""Times that differ by less than this, or by less than a tick interval, are equal.

The pod of a CronJob takes several seconds to start.
"""

HOUR = timedelta(hours=1)


class DifferenceKind(StrEnum):
    """Kinds of difference."""

    EARLIER = "dispatched-earlier"
    LATER = "dispatched-later"
    NEVER = "never-dispatched"
    ADDED = "only-here-dispatched"
    REAPED = "only-here-reaped"
    SPARED = "spared"
    REAPED_EARLIER = "reaped-earlier"
    REAPED_LATER = "reaped-later"


class Figures(NamedTuple):
    """The figures of the record or of a simulation."""

    dispatched: int
    unsent: Mapping[str, int]
    """Outcome ('busy', 'failed', …) → number of attempts that started no run."""
    reaped: int
    requeued: int
    waiting: DurationStats
    """Time from the match of the rule to the claim, for dispatched attempts."""
    running: DurationStats
    """Time from the dispatch to the end of the run, for ended runs."""
    an_hour: float
    """Dispatches per hour."""


class Pair(NamedTuple):
    """A dispatch or a reap in the record and in both simulations."""

    kind: EntryKind
    bead: str
    rule: str
    recorded: datetime | None
    unchanged: datetime | None
    """Its time in the simulation of the recorded settings."""
    simulated: datetime | None
    assumed: bool
    difference: DifferenceKind | None
    """How the changed settings move, add or remove it; None if they don't."""
    why: str = ""

    @property
    def by(self) -> timedelta | None:
        """Return the delay relative to the simulation of the recorded settings."""
        return (
            self.simulated - self.unchanged
            if self.simulated is not None and self.unchanged is not None
            else None
        )


def dispatches(journal: AttemptLog) -> list[Attempt]:
    """Return the attempts that started a run and were claimed within the history."""
    return [
        attempt for attempt in journal.attempts if attempt.sent is not None and not attempt.earlier
    ]


def figures(journal: AttemptLog, span: timedelta) -> Figures:
    sent = dispatches(journal)
    return Figures(
        dispatched=len(sent),
        unsent=Counter(
            one.outcome
            for one in journal.attempts
            if one.sent is None and not one.earlier and one.outcome
        ),
        reaped=sum(one.kind is EntryKind.REAP for one in journal.taken),
        requeued=sum(one.kind is EntryKind.REQUEUE for one in journal.taken),
        waiting=DurationStats.of(
            attempt.claimed - (attempt.matched or attempt.claimed) for attempt in sent
        ),
        running=DurationStats.of(
            run_duration(attempt)
            for attempt in journal.attempts
            if attempt.sent is not None and attempt.ended
        ),
        an_hour=len(sent) / (span / HOUR) if span else 0.0,
    )


def run_duration(attempt: Attempt) -> timedelta:
    assert attempt.sent is not None and attempt.ended is not None
    return max(timedelta(), attempt.ended - attempt.sent)


def median_run_time(journal: AttemptLog) -> timedelta | None:
    """Return the median duration of the runs that their agents ended, or None."""
    others = {*EntryKind, AWAY, DELETED}
    ended = [
        one
        for one in journal.attempts
        if one.sent is not None and one.ended and one.outcome not in others
    ]
    return DurationStats.of(map(run_duration, ended)).median


def compare(
    recorded: AttemptLog,
    unchanged: AttemptLog,
    simulated: AttemptLog,
    every: timedelta,
    why_not: Callable[[str], str],
    rule: str = "",
) -> list[Pair]:
    """Return the dispatches and reaps in order of time, each with its difference.

    Args:
        unchanged: The simulation of the recorded settings.
        every: The interval of the ticks. Times that differ by less are equal.
        why_not: Returns the reason why a bead was not dispatched.
        rule: The rule whose beads to compare; '' for all rules.
    """
    # A setting's effect is the difference between two simulations, not between simulation and
    # record.
    logs = (recorded, unchanged, simulated)
    pairs = []
    for names, records in ((DISPATCHES, map(_starts, logs)), (REAPS, (log.taken for log in logs))):
        for was, at, now in _tripled(*records):
            one = now or at or was
            assert one is not None
            times = [each.at if each is not None else None for each in (was, at, now)]
            what = _which(times[1], times[2], min(SAME, every), names)
            why = now.reason if now is not None else ""
            if what is DifferenceKind.NEVER:
                why = why_not(one.bead)
            elif what is DifferenceKind.SPARED:
                why = _instead(one.bead, simulated.attempts)
            pair = Pair(
                kind=one.kind,
                bead=one.bead,
                rule=one.rule,
                recorded=times[0],
                unchanged=times[1],
                simulated=times[2],
                assumed=now is not None and now.assumed,
                difference=what,
                why=why,
            )
            if rule in ("", pair.rule):
                pairs.append(pair)
    # In order of time, by whichever side has one.
    never = datetime.max.replace(tzinfo=UTC)
    return sorted(
        pairs,
        key=lambda pair: (pair.recorded or pair.unchanged or pair.simulated or never, pair.bead),
    )


def _starts(journal: AttemptLog) -> list[EntryRecord]:
    return [
        EntryRecord(
            bead=one.bead,
            kind=EntryKind.DISPATCHED,
            at=one.claimed,
            attempt=one.number,
            rule=one.rule,
            assumed=one.assumed,
        )
        for one in dispatches(journal)
    ]


DISPATCHES = (
    DifferenceKind.EARLIER,
    DifferenceKind.LATER,
    DifferenceKind.NEVER,
    DifferenceKind.ADDED,
)
REAPS = (
    DifferenceKind.REAPED_EARLIER,
    DifferenceKind.REAPED_LATER,
    DifferenceKind.SPARED,
    DifferenceKind.REAPED,
)


def _which(
    was: datetime | None, now: datetime | None, same: timedelta, names: Sequence[DifferenceKind]
) -> DifferenceKind | None:
    earlier, later, missing, added = names
    if was is None:
        return added if now is not None else None
    if now is None:
        return missing
    if abs(now - was) < same:
        return None
    return earlier if now < was else later


def _tripled(
    *records: Iterable[EntryRecord],
) -> Iterable[tuple[EntryRecord | None, EntryRecord | None, EntryRecord | None]]:
    """Yield the records of each bead, matched by their position in the three logs."""
    found: dict[str, tuple[list[EntryRecord], ...]] = {}
    for number, each in enumerate(records):
        for one in each:
            found.setdefault(one.bead, ([], [], []))[number].append(one)
    for lists in found.values():
        yield from zip_longest(*lists)


def _instead(bead: str, attempts: Iterable[Attempt]) -> str:
    """Return the end of a run that was spared by the reaper."""
    last = [attempt for attempt in attempts if attempt.bead == bead and attempt.sent is not None]
    if not last:
        return "never dispatched"
    return f"it ended: {last[-1].outcome}" if last[-1].outcome else "it still runs at the end"
