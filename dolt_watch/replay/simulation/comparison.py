"""The difference between what was decided and what would have been: dispatches paired bead by
bead, in their order, and the figures. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, TypeVar

from dolt_watch.core.model import EntryKind
from dolt_watch.replay.simulation.attempt_log import AWAY, DELETED, Attempt, AttemptLog, ReapRecord
from dolt_watch.stats import DurationStats

SAME = timedelta(seconds=30)
"""Less than this apart (or less than a period, where that is shorter) is the same: a CronJob's
pod takes a while to start.
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
    """One dispatch or reap that is not as it was recorded."""

    what: DifferenceKind
    bead: str
    rule: str
    recorded: datetime | None
    simulated: datetime | None
    why: str = ""

    @property
    def by(self) -> timedelta | None:
        return (
            self.simulated - self.recorded
            if self.simulated is not None and self.recorded is not None
            else None
        )


class Figures(NamedTuple):
    """One telling of the history in numbers."""

    dispatched: int
    unsent: Mapping[str, int]
    """Attempts that came to nothing, by what the ledger says: 'busy', 'failed' …"""
    reaped: int
    requeued: int
    waiting: DurationStats
    """From matching the rule to the claim, of what was dispatched."""
    running: DurationStats
    """From the dispatch to how it left, of what left."""
    an_hour: float
    """Dispatches."""


class Pair(NamedTuple):
    """A dispatch or a reap, recorded and simulated."""

    kind: EntryKind
    bead: str
    rule: str
    recorded: datetime | None
    simulated: datetime | None
    assumed: bool
    difference: Difference | None


def dispatches(journal: AttemptLog) -> list[Attempt]:
    """The attempts that came to run, of those claimed within the history."""
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
    """How long a run takes: the median of those that were left by whoever ran them."""
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
) -> list[Pair]:
    """In the order of time.

    ``why_not``: why a bead was not dispatched by the end; ``rule``: only its beads, '' for all.
    """
    same = min(SAME, every)
    pairs = []
    for was, now in _paired(dispatches(recorded), dispatches(simulated)):
        one = was or now
        assert one is not None
        before, after = (was.claimed if was else None), (now.claimed if now else None)
        what = _which(before, after, same, DISPATCHES)
        why = why_not(one.bead) if what is DifferenceKind.NEVER else ""
        difference = (
            Difference(what, one.bead, one.rule, before, after, why) if what is not None else None
        )
        assumed = now is not None and now.assumed
        pairs.append(
            Pair(
                kind=EntryKind.DISPATCHED,
                bead=one.bead,
                rule=one.rule,
                recorded=before,
                simulated=after,
                assumed=assumed,
                difference=difference,
            )
        )
    for gone, ends in _paired(recorded.taken, simulated.taken):
        end = gone or ends
        assert end is not None
        before, after = (gone.at if gone else None), (ends.at if ends else None)
        what = _which(before, after, same, REAPS)
        why = (
            _instead(end.bead, simulated.attempts)
            if what is DifferenceKind.SPARED
            else ends.why
            if ends is not None
            else ""
        )
        difference = (
            Difference(what, end.bead, end.rule, before, after, why) if what is not None else None
        )
        pairs.append(
            Pair(
                kind=end.kind,
                bead=end.bead,
                rule=end.rule,
                recorded=before,
                simulated=after,
                assumed=False,
                difference=difference,
            )
        )
    chosen = [pair for pair in pairs if not rule or pair.rule == rule]
    never = datetime.max.replace(tzinfo=UTC)
    return sorted(chosen, key=lambda pair: (pair.recorded or pair.simulated or never, pair.bead))


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
        return added
    if now is None:
        return missing
    if abs(now - was) < same:
        return None
    return earlier if now < was else later


def _paired(
    recorded: Iterable[_T], simulated: Iterable[_T]
) -> Iterable[tuple[_T | None, _T | None]]:
    """The first of a bead with the first, the second with the second."""
    was, now = _by_bead(recorded), _by_bead(simulated)
    for bead in {**was, **now}:
        ours, theirs = was.get(bead, []), now.get(bead, [])
        for place in range(max(len(ours), len(theirs))):
            yield (
                (ours[place] if place < len(ours) else None),
                (theirs[place] if place < len(theirs) else None),
            )


def _by_bead(all_: Iterable[_T]) -> dict[str, list[_T]]:
    found: dict[str, list[_T]] = {}
    for one in all_:
        found.setdefault(one.bead, []).append(one)
    return found


def _instead(bead: str, attempts: Iterable[Attempt]) -> str:
    """How the run ended that was not reaped."""
    last = [attempt for attempt in attempts if attempt.bead == bead and attempt.sent is not None]
    if not last:
        return "never dispatched"
    return f"it ended: {last[-1].outcome}" if last[-1].outcome else "it still runs at the end"
