"""The report's data: the current state, the lanes, and the ledger entries. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from dolt_watch.config.model import Links
from dolt_watch.core.decisions.candidates import in_flight
from dolt_watch.core.decisions.policy import stale_at
from dolt_watch.core.model import LedgerEntry, Phase, Rule
from dolt_watch.core.model.recorded_inputs import RecordedInputs
from dolt_watch.inspection.attempts import BeadRow
from dolt_watch.inspection.causes import Cause, group_causes
from dolt_watch.inspection.report.attempts import Attempt, attempts_of
from dolt_watch.inspection.report.figures import (
    Figures,
    Measured,
    Timed,
    all_ranges,
    runs_of,
    waits_of,
)
from dolt_watch.inspection.report.lanes import SILENT, LaneBuilder, PhaseInterval, split
from dolt_watch.inspection.status import BeadStatus, Status
from dolt_watch.stats import QueueDepth

MINUTE = timedelta(minutes=1)
ATTENTION, RUNNING, QUEUE, FINISHED = "attention", "running", "queue", "finished"
"""Groups of the table of beads, in this order."""
GROUPS = {
    Phase.QUARANTINED: ATTENTION,
    Phase.UNKNOWN: ATTENTION,
    Phase.HELD: ATTENTION,
    Phase.CLAIMED: RUNNING,
    Phase.RUNNING: RUNNING,
    Phase.WAITING: QUEUE,
    Phase.BACKOFF: QUEUE,
}


class Place(NamedTuple):
    """The tracker that a report is about."""

    tracker: str = ""
    """Name of the tracker."""
    database: str = ""
    """Address of its database, without user and password."""
    links: Links = Links()


class Row(NamedTuple):
    """A row of the table of beads."""

    bead: str
    facts: BeadRow
    group: str
    state: str
    """A phase as in ``status``, 'silent', or the way in which the bead left the queue."""
    rule: str
    since: datetime
    why: str
    place: int | None
    """Place in the queue of its rule; None if another reason keeps the bead waiting."""
    attempt: int
    job: str
    gate: str
    lane: tuple[PhaseInterval, ...]
    attempts: tuple[Attempt, ...]
    entries: tuple[LedgerEntry, ...]
    """Entries that no interval shows, oldest first."""


class RuleUse(NamedTuple):
    """A rule and its slots."""

    name: str
    target: str
    slots: int
    used: int
    held: str
    """The reason that holds all waiting beads of the rule, or ''."""


class Report(NamedTuple):
    """The data of the page."""

    place: Place
    since: datetime
    """Begin of the requested span."""
    first: datetime
    """First event in the span."""
    now: Status
    only: tuple[str, ...]
    """IDs of the beads to show. Empty: all beads."""
    begins: datetime
    """Begin of the lanes. Earlier history is not read."""
    rules: tuple[RuleUse, ...]
    rows: tuple[Row, ...]
    ranges: tuple[Figures, ...]
    causes: tuple[tuple[Cause, ...], ...]
    """Causes of failures, grouped, for each range."""
    depths: tuple[QueueDepth, ...]
    slots: tuple[tuple[datetime, int], ...]
    """Free slots that targets reported when decisions were made."""
    entries: tuple[LedgerEntry, ...]
    """Newest first, as in ``log --entries``."""
    commits: Mapping[tuple[str, int], str]
    """(bead, version) of an entry → its commit."""

    def row(self, bead: str) -> Row | None:
        return next((one for one in self.rows if one.bead == bead), None)


def build_report(
    history: LaneBuilder,
    now: Status,
    entries: Sequence[LedgerEntry],
    facts: Mapping[str, BeadRow],
    rules: Sequence[Rule],
    since: datetime,
    only: Collection[str] = (),
    place: Place | None = None,
) -> Report:
    """Return the report.

    Args:
        history: The lanes of the history that was read.
        now: The current state.
        entries: Ledger entries since ``since``, newest first.
        facts: The row of each bead that the report can show.
        rules: The current rules.
        since: Begin of the span.
        only: IDs of the beads to show. Empty: all beads.
        place: The tracker.
    """
    # Everything below sees only the selected beads.
    shown = now._replace(beads=tuple(bead for bead in now.beads if not only or bead.bead in only))
    kept = tuple(entry for entry in entries if not only or entry.bead in only)
    lanes = _lanes(history, now, rules, since, only)
    rows = tuple(_rows(lanes, shown, facts, kept, history.commits))
    # The page begins at the first event, so that a new tracker isn't a dot at the right edge.
    moments = [max(since, lane[0].begin) for lane in lanes.values()]
    moments += [entry.at for entry in kept[-1:]]
    first = min([*moments, now.now])
    depths = _depths(history, now, since)
    # Ranges end at a whole minute: two refreshes without a change are equal.
    minute = now.now.replace(second=0, microsecond=0) + MINUTE
    ranges = all_ranges(_measured(rows, depths, kept), first, minute)
    known = {*facts, *lanes}
    return Report(
        place=place or Place(),
        since=since,
        first=first,
        now=shown,
        only=tuple(only),
        begins=history.begins,
        rules=tuple(
            RuleUse(
                name=rule.name,
                target=rule.target,
                slots=rule.max_in_flight,
                used=len(in_flight(now.state, rule)),
                held=(hold.why or hold.gate) if (hold := now.rules.get(rule.name)) else "",
            )
            for rule in rules
        ),
        rows=rows,
        ranges=ranges,
        causes=tuple(tuple(group_causes(kept, known, one.begin)) for one in ranges),
        depths=depths,
        slots=tuple(_slots(entries)),
        entries=kept,
        commits=history.commits,
    )


# -- lanes --------------------


def _lanes(
    history: LaneBuilder,
    now: Status,
    rules: Sequence[Rule],
    since: datetime,
    only: Collection[str],
) -> dict[str, tuple[PhaseInterval, ...]]:
    """Return bead → its phases in the span, oldest first. The last interval can be open."""
    silent = {
        bead.id: stale_at(bead, rule)
        for bead in now.state.beads.values()
        for rule in rules
        if rule.name == bead.rule and bead.phase is Phase.RUNNING and stale_at(bead, rule) < now.now
    }
    found = {}
    for bead, intervals in history.lanes.items():
        if only and bead not in only:
            continue
        if bead in silent and intervals[-1].end is None and intervals[-1].phase == Phase.RUNNING:
            intervals = [*intervals[:-1], *split(intervals[-1], silent[bead])]
        clipped = (_clip(one, since, now.now) for one in intervals)
        if kept := tuple(one for one in clipped if one is not None):
            found[bead] = kept
    return found


def _clip(one: PhaseInterval, since: datetime, now: datetime) -> PhaseInterval | None:
    """Return the interval with its original beginning; None if it ended before the span.

    A time after ``now`` comes from a wrong clock. It is replaced by ``now``.
    """
    if one.end is None:
        return one._replace(begin=min(one.begin, now))
    end = min(one.end, now)
    if end < since:
        return None
    begin = min(one.begin, now)
    return one._replace(begin=begin, end=max(begin, end))


# -- rows --------------------


def _rows(
    lanes: Mapping[str, tuple[PhaseInterval, ...]],
    now: Status,
    facts: Mapping[str, BeadRow],
    entries: Sequence[LedgerEntry],
    commits: Mapping[tuple[str, int], str],
) -> Iterator[Row]:
    """Yield the current beads in the order of ``status``, then finished beads, newest first."""
    own: dict[str, list[LedgerEntry]] = {}
    for entry in reversed(entries):
        own.setdefault(entry.bead, []).append(entry)

    def row(one: BeadStatus, group: str) -> Row:
        lane = lanes.get(one.bead, ())
        silent = lane and lane[-1].phase == SILENT and lane[-1].end is None
        shown = {each.commit for each in lane}
        made = {commits.get((each.bead, each.version), ""): each for each in own.get(one.bead, ())}
        return Row(
            bead=one.bead,
            facts=facts.get(one.bead, BeadRow()),
            group=group,
            state=SILENT if silent and one.phase == Phase.RUNNING else one.phase,
            rule=one.rule,
            since=one.since,
            why=one.why,
            place=one.place if not one.gate else None,
            attempt=one.attempt,
            job=one.job,
            gate=one.gate,
            lane=lane,
            attempts=tuple(attempts_of(one.bead, lane, made)),
            entries=tuple(entry for commit, entry in made.items() if commit not in shown),
        )

    for bead in now.beads:
        yield row(bead, GROUPS[Phase(bead.phase)])
    # The others have left: their lane is all that is known.
    here = {bead.bead for bead in now.beads}
    left = [(lane[-1], id) for id, lane in lanes.items() if id not in here]
    for last, id in sorted(left, key=lambda one: (one[0].begin, one[1]), reverse=True):
        gone = BeadStatus(
            bead=id,
            phase=last.phase,
            rule=last.rule,
            since=last.begin,
            attempt=last.attempt,
            job=last.job,
            why=last.why,
        )
        yield row(gone, FINISHED)


# -- input of figures and charts --------------------


def _measured(
    rows: Sequence[Row], depths: Sequence[QueueDepth], entries: Sequence[LedgerEntry]
) -> Measured:
    attempts = [one for row in rows for one in row.attempts if one.end is not None]
    waits: list[Timed] = [one for row in rows for one in waits_of(row.lane)]
    runs: list[Timed] = [one for row in rows for one in runs_of(row.lane)]
    return Measured(attempts, waits, runs, depths, entries)


def _depths(history: LaneBuilder, now: Status, since: datetime) -> tuple[QueueDepth, ...]:
    depths = sorted((one for one in history.depths if one.at <= now.now), key=lambda one: one.at)
    before = [one._replace(at=since) for one in depths if one.at < since][-1:]
    return tuple(before + [one for one in depths if one.at >= since])


def _slots(entries: Sequence[LedgerEntry]) -> Iterator[tuple[datetime, int]]:
    for entry in reversed(entries):
        free = [
            one.slots
            for one in RecordedInputs.decode(entry.detail).capacity.values()
            if one.slots is not None
        ]
        if free:
            yield entry.at, sum(free)
