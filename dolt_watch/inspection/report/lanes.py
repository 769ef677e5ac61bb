"""Lanes: the phases of each bead over time, built in one pass over history. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from dolt_watch.core.model import (
    BLOCKED,
    CLOSED,
    GLOBAL,
    Bead,
    CommitChanges,
    EntryKind,
    Event,
    LedgerEntry,
    Phase,
    entry_payloads,
)
from dolt_watch.core.projection.projection import Projection
from dolt_watch.stats import QueueDepthSeries
from dolt_watch.timestamps import iso

SILENT, REAPED, STOPPED, DONE, LEFT = "silent", "reaped", "blocked", "done", "left"
"""Words that a lane uses besides the phases.

'silent' is a running bead without a sign of life for longer than ``stale_after``. The others are
the ways in which a bead leaves the queue.
"""

HELD_BACK = (Phase.BACKOFF, Phase.QUARANTINED, Phase.HELD)
UNDER_WAY = (Phase.CLAIMED, Phase.UNKNOWN, Phase.RUNNING)


class PhaseInterval(NamedTuple):
    """A period in which a bead is in one phase, and its cause."""

    phase: str
    """A ``Phase``, or one of the words above.

    'done' and 'left' are moments: their begin and end are equal.
    """
    begin: datetime
    end: datetime | None
    """None: the bead is still in the phase."""
    why: str
    commit: str = ""
    rule: str = ""
    attempt: int = 0
    job: str = ""


class _Change(NamedTuple):
    """The part of one commit that is about one bead."""

    at: datetime
    commit: str
    entries: Sequence[LedgerEntry]
    event: Event | None
    status: str | None

    def ending(self) -> tuple[str, str]:
        """Return the phase of a bead that leaves the queue, and its cause."""
        for entry in self.entries:
            if entry.kind in (EntryKind.REAP, EntryKind.GIVE_UP):
                return REAPED if entry.kind is EntryKind.REAP else STOPPED, entry.reason
        event = self.event
        sign = event.sign if event is not None else None
        by = f" by {sign.who}" if sign is not None and sign.who else ""
        if self.status == CLOSED:
            return DONE, f"closed{by}"
        if self.status == BLOCKED:
            return STOPPED, f"blocked{by}"
        if event is not None and event.changed == ("renamed",):
            return LEFT, f"renamed to {event.other}"
        changed = ", ".join(event.changed) if event is not None and event.changed else "row"
        return LEFT, f"no longer matches its rule: {changed} changed{by}"


class LaneBuilder:
    """Builds lanes, queue depths, and the commit of each entry, from the applied commits."""

    def __init__(self, commit: str, at: datetime, projection: Projection) -> None:
        self.commit, self.begins = commit, at
        self.projection = projection
        self.lanes: dict[str, list[PhaseInterval]] = {}
        self.depths = QueueDepthSeries()
        self.commits: dict[tuple[str, int], str] = {}
        """(bead, version) of an entry → the commit that contains it."""
        self._last = dict(projection.beads)
        self._phases = Counter(bead.phase for bead in self._last.values())
        """Number of these beads by phase. Counting all of them at each commit takes long."""
        why = "state at the start of this history"
        for bead in projection.beads.values():
            self._enter(bead, min(bead.since, at), why, bead.cause)
        self._sample(at)

    def apply(
        self, commit: str, changes: CommitChanges, events: Sequence[Event], projection: Projection
    ) -> None:
        """Add the next commit."""
        rebuilt = projection is not self.projection or any(event.bead == GLOBAL for event in events)
        self.commit, self.projection = commit, projection
        entries: dict[str, list[LedgerEntry]] = {}
        for entry in changes.entries:
            self.commits[entry.bead, entry.version] = commit
            entries.setdefault(entry.bead, []).append(entry)
        told_by = {event.bead: event for event in events}
        statuses = {
            row.bead: str(row.after.get("status")) for row in changes.rows if row.table == "issues"
        }
        beads = {*told_by, *self._last, *projection.beads} if rebuilt else set(told_by)
        for bead in sorted(beads - {GLOBAL}):
            own = entries.get(bead, [])
            at = max((entry.at for entry in own), default=changes.date)
            self._bead(bead, _Change(at, commit, own, told_by.get(bead), statuses.get(bead)))
        self._sample(max((entry.at for entry in changes.entries), default=changes.date))

    def forget(self, before: datetime, kept: Collection[tuple[str, int]]) -> None:
        """Drop intervals that ended before a time, and the commits of entries that are not kept.

        Without this, the memory of a live page grows with history.
        """
        self.commits = {key: commit for key, commit in self.commits.items() if key in kept}
        for bead, lane in list(self.lanes.items()):
            lasting = [stretch for stretch in lane if stretch.end is None or stretch.end >= before]
            if lasting:
                self.lanes[bead] = lasting
            else:
                del self.lanes[bead]
        self.depths.forget(before)

    # -- one bead --------------------

    def _bead(self, id: str, change: _Change) -> None:
        before, after = self._last.get(id), self.projection.beads.get(id)
        lane = self.lanes.get(id)
        if before is None and after is None:
            # A blocked bead that is closed or gets another status.
            if lane and lane[-1].end is None and change.status not in (None, BLOCKED):
                self._close(id, change.at)
                phase, why = change._replace(entries=()).ending()
                last = lane[-1]._replace(phase=phase, begin=change.at, end=change.at)
                lane.append(last._replace(why=why, commit=change.commit))
            return
        self._phases.subtract([before.phase] if before is not None else [])
        self._phases.update([after.phase] if after is not None else [])
        at = max(change.at, lane[-1].begin) if lane else change.at  # Clocks differ.
        for entry in change.entries:
            if entry.kind in (EntryKind.REAP, EntryKind.REQUEUE):
                self._fell_silent(id, entry)
        if after is not None:
            if before is None or _place(before) != _place(after):
                self._close(id, at)
                self._enter(after, at, _why(after, change.event), change.commit)
            self._last[id] = after
        elif before is not None:
            del self._last[id]
            self._close(id, at)
            phase, why = change.ending()
            end = None if phase in (REAPED, STOPPED) else at
            self._append(before, phase, at, end, why, change.commit)

    def _enter(self, bead: Bead, at: datetime, why: str, commit: str) -> None:
        self._append(bead, bead.phase.value, at, None, why, commit)

    def _append(
        self, bead: Bead, phase: str, begin: datetime, end: datetime | None, why: str, commit: str
    ) -> None:
        stretch = PhaseInterval(
            phase=phase,
            begin=begin,
            end=end,
            why=why,
            commit=commit,
            rule=bead.rule,
            attempt=bead.attempt,
            job=bead.job,
        )
        self.lanes.setdefault(bead.id, []).append(stretch)

    def _close(self, id: str, at: datetime) -> None:
        lane = self.lanes.get(id)
        if lane and lane[-1].end is None:
            lane[-1] = lane[-1]._replace(end=max(at, lane[-1].begin))

    def _fell_silent(self, id: str, entry: LedgerEntry) -> None:
        """Mark the lane as silent from the end of ``stale_after``."""
        reaped = entry_payloads.Reaped.decode(entry.detail)
        last, threshold = reaped.last_sign, reaped.stale_after_seconds
        lane = self.lanes.get(id)
        if last is not None and threshold is not None and lane and lane[-1].phase == Phase.RUNNING:
            lane[-1:] = split(lane[-1], last + timedelta(seconds=threshold))

    def _sample(self, at: datetime) -> None:
        under_way, held = (
            sum(self._phases[one] for one in group) for group in (UNDER_WAY, HELD_BACK)
        )
        self.depths.add(at, self._phases[Phase.WAITING], under_way, held)


def split(stretch: PhaseInterval, silent_from: datetime) -> Iterable[PhaseInterval]:
    """Split a running interval at the time at which the bead becomes silent."""
    cut = max(stretch.begin, silent_from)
    silent = stretch._replace(
        phase=SILENT, begin=cut, why="no sign of life for longer than `stale_after`"
    )
    return [stretch._replace(end=cut), silent] if cut > stretch.begin else [silent]


def _place(bead: Bead) -> tuple[str, int, str]:
    """Return the values of a bead whose change begins a new interval."""
    return bead.phase.value, bead.attempt, bead.rule


def _why(bead: Bead, event: Event | None) -> str:
    sign = event.sign if event is not None else None
    by = f", by {sign.who}" if sign is not None and sign.who else ""
    match bead.phase:
        case Phase.WAITING:
            return bead.reason or f"matches rule {bead.rule}{by}"
        case Phase.CLAIMED:
            return f"claimed for attempt {bead.attempt}"
        case Phase.RUNNING:
            return bead.reason or (
                f"accepted as job {bead.job}" if bead.job else f"in progress{by}"
            )
        case Phase.BACKOFF if bead.retry_at is not None:
            return f"{bead.reason}; next attempt at {iso(bead.retry_at)}"
        case _:
            return bead.reason
