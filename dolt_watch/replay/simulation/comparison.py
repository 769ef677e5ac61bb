"""Comparison of two simulations and the record: paired dispatches and reaps, and figures. Pure.

The dispatches and reaps of each bead are paired in order of time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import zip_longest
from typing import NamedTuple, TypeVar

from dolt_watch.core.model import EntryKind
from dolt_watch.replay.simulation.attempt_log import AWAY, DELETED, Attempt, AttemptLog, ReapRecord
from dolt_watch.stats import DurationStats

SAME = timedelta(seconds=30)
"""Times that differ by less than this, or by less than a tick interval, are equal.

The pod of a CronJob takes several seconds to start.
"""

HOUR = timedelta(hours=1)
_T = TypeVar("_T", Attempt, ReapRecord)


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


class Difference(NamedTuple):
    """One dispatch or reap that the changed settings move, add or remove."""

    what: DifferenceKind
    bead: str
    rule: str
    recorded: datetime | None
    simulated: datetime | None
    why: str = ""
    unchanged: datetime | None = None
    """Its time in the simulation of the recorded settings."""

    @property
    def by(self) -> timedelta | None:
        """Return the delay relative to the simulation of the recorded settings."""
        return (
            self.simulated - self.unchanged
            if self.simulated is not None and self.unchanged is not None
            else None
        )


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
    simulated: datetime | None
    assumed: bool
    difference: Difference | None
    unchanged: datetime | None = None
    """Its time in the simulation of the recorded settings."""


def dispatches(journal: AttemptLog) -> list[Attempt]:
    """Return the attempts that started a run and were claimed within the history."""
    return [
        attempt for attempt in journal.attempts if attempt.sent is not None and not attempt.earlier
    ]


def figures(journal: AttemptLog, span: timedelta) -> Figures:
    sent = dispatches(journal)
    unsent: dict[str, int] = {}
    for attempt in journal.attempts:
        if attempt.sent is None and not attempt.earlier and attempt.outcome:
            unsent[attempt.outcome] = unsent.get(attempt.outcome, 0) + 1
    return Figures(
        dispatched=len(sent),
        unsent=unsent,
        reaped=sum(1 for one in journal.taken if one.kind is EntryKind.REAP),
        requeued=sum(1 for one in journal.taken if one.kind is EntryKind.REQUEUE),
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
    simulated: AttemptLog,
    every: timedelta,
    why_not: Callable[[str], str],
    rule: str = "",
    unchanged: AttemptLog | None = None,
) -> list[Pair]:
    """Return the dispatches and reaps in order of time, each with its difference.

    Args:
        every: The interval of the ticks. Times that differ by less are equal.
        why_not: Returns the reason why a bead was not dispatched.
        rule: The rule whose beads to compare; '' for all rules.
        unchanged: The simulation of the recorded settings; None: the record itself.
    """
    # A setting's effect is the difference between two simulations, not between simulation and
    # record.
    base = recorded if unchanged is None else unchanged
    same = min(SAME, every)
    pairs = []
    for was, at, now in _tripled(dispatches(recorded), dispatches(base), dispatches(simulated)):
        one = now or at or was
        assert one is not None
        times = tuple(each.claimed if each is not None else None for each in (was, at, now))
        what = _which(times[1], times[2], same, DISPATCHES)
        why = why_not(one.bead) if what is DifferenceKind.NEVER else ""
        assumed = now is not None and now.assumed
        pairs.append(_pair(EntryKind.DISPATCHED, one, times, what, why, assumed))
    # Ends are compared like starts.
    for gone, then, ends in _tripled(recorded.taken, base.taken, simulated.taken):
        end = ends or then or gone
        assert end is not None
        times = tuple(each.at if each is not None else None for each in (gone, then, ends))
        what = _which(times[1], times[2], same, REAPS)
        why = (
            _instead(end.bead, simulated.attempts)
            if what is DifferenceKind.SPARED
            else ends.why
            if ends is not None
            else ""
        )
        pairs.append(_pair(end.kind, end, times, what, why))
    chosen = [pair for pair in pairs if not rule or pair.rule == rule]
    # In order of time, by whichever side has one.
    never = datetime.max.replace(tzinfo=UTC)
    return sorted(
        chosen,
        key=lambda pair: (pair.recorded or pair.unchanged or pair.simulated or never, pair.bead),
    )


def _pair(
    kind: EntryKind,
    one: Attempt | ReapRecord,
    times: tuple[datetime | None, ...],
    what: DifferenceKind | None,
    why: str,
    assumed: bool = False,
) -> Pair:
    """Return a pair. ``times``: recorded, and simulated under the recorded and changed settings."""
    recorded, unchanged, simulated = times
    difference = (
        Difference(
            what=what,
            bead=one.bead,
            rule=one.rule,
            recorded=recorded,
            simulated=simulated,
            why=why,
            unchanged=unchanged,
        )
        if what is not None
        else None
    )
    return Pair(
        kind=kind,
        bead=one.bead,
        rule=one.rule,
        recorded=recorded,
        simulated=simulated,
        assumed=assumed,
        difference=difference,
        unchanged=unchanged,
    )


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
    recorded: Iterable[_T], unchanged: Iterable[_T], simulated: Iterable[_T]
) -> Iterable[tuple[_T | None, _T | None, _T | None]]:
    """Yield the items of each bead, matched by their position."""
    each = [_by_bead(one) for one in (recorded, unchanged, simulated)]
    for bead in {**each[0], **each[1], **each[2]}:
        yield from zip_longest(*(found.get(bead, []) for found in each))


def _by_bead(all_: Iterable[_T]) -> dict[str, list[_T]]:
    found: dict[str, list[_T]] = {}
    for one in all_:
        found.setdefault(one.bead, []).append(one)
    return found


def _instead(bead: str, attempts: Iterable[Attempt]) -> str:
    """Return the end of a run that was spared by the reaper."""
    last = [attempt for attempt in attempts if attempt.bead == bead and attempt.sent is not None]
    if not last:
        return "never dispatched"
    return f"it ended: {last[-1].outcome}" if last[-1].outcome else "it still runs at the end"
