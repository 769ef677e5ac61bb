"""History as a script: what people did, which stays where it is, and the runs, which move with
our dispatches. Pure.

A run is what followed a claim of ours: the target's answer, the agent's signs of life, and how
it left. Nothing in history says who wrote a row, so it is told by what was written while the run
was under way: what a bead is about (its title, criteria, priority, assignee …) is a person's;
its status, its notes, comments and events are the agent's. A bead that we took from its agent
and that is set open again is a person's doing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from dolt_watch.beads.readiness import INACTIVE, OWN_COLUMNS
from dolt_watch.core.model import (
    ANSWERS,
    GLOBAL,
    IN_FLIGHT,
    IN_PROGRESS,
    MAY_BE_RUNNING,
    OPEN,
    Bead,
    EntryEffects,
    EntryKind,
    Event,
    EventKind,
    JobReport,
    LedgerEntry,
    RowChange,
)
from dolt_watch.core.model.recorded_inputs import RecordedInputs
from dolt_watch.ledger.writer import CONTENT
from dolt_watch.replay.replayer import ReplayStep
from dolt_watch.replay.simulation.compressed_list import CompressedList
from dolt_watch.replay.simulation.row_views import RowView, RowViewFactory

"""What may come of a claim at once."""
NOTHING_RUNS = ANSWERS - MAY_BE_RUNNING
OURS_TO_END = frozenset({EntryKind.REAP, EntryKind.REQUEUE, EntryKind.GIVE_UP, EntryKind.RETRY})
FROM_OUTSIDE = frozenset(
    {EntryKind.PAUSE, EntryKind.RESUME, EntryKind.RESYNC, EntryKind.OUTAGE, EntryKind.RECOVERED}
)
"""Decisions about no bead that no other settings would have changed: of people, and what the
targets' health was.
"""


class ExternalAction(NamedTuple):
    """What others did to a bead, in one commit and one table; or a decision of a person's about
    no bead.
    """

    place: int
    """Its place in history."""
    at: datetime
    event: Event
    """Without facts and row: long histories have many."""
    view: RowView | None = None
    """The row after it; None where the row did not change, or is gone."""
    status: str = ""
    """The status that they set, '' for none."""

    @property
    def changes_content(self) -> bool:
        """Did it change what the bead is about?"""
        return not CONTENT_SET.isdisjoint(self.event.changed)

    @property
    def is_deletion(self) -> bool:
        return self.event.changed == ("deleted",)


CONTENT_SET = frozenset(CONTENT)


@dataclass(slots=True)
class AgentRun:
    """A recorded claim and what followed it."""

    bead: str
    token: str
    begun: datetime
    claim: LedgerEntry | None
    """None: it is older than the history that was read."""
    last: int
    """The place in history of the last thing that belongs to it."""
    answer: LedgerEntry | None = None
    acts: CompressedList[ExternalAction] = field(default_factory=CompressedList)
    verdicts: list[tuple[timedelta, JobReport]] = field(default_factory=list)
    """Since its beginning → the target's word on its job, where a decision of ours rested on it."""
    idle: bool = False
    """Its outcome was unknown, and the service said that it runs nothing."""
    taken: bool = False
    """We ended it: reaped, given back, given up."""
    over: bool = False
    assumed: bool = False
    """Nobody recorded it: the simulation made it up."""

    def add_act(self, act: ExternalAction, place: int) -> None:
        """Add an event by others. ``place``: its index in history."""
        self.acts.add(act)
        self.last = place

    def add_entry(self, entry: LedgerEntry, place: int) -> None:
        """Add a later entry of the same attempt. ``place``: its index in history."""
        self.last = place
        if entry.kind in ANSWERS and self.answer is None:
            self.answer = entry
        if entry.kind is EntryKind.RETRY:
            self.idle = self.idle or any(
                one.idle for one in RecordedInputs.decode(entry.detail).capacity.values()
            )
        self.taken = self.taken or entry.kind in OURS_TO_END

    def verdict(self, since: timedelta) -> JobReport | None:
        """The last one that was known by then."""
        known = [report for after, report in self.verdicts if after <= since]
        return known[-1] if known else None


class RecordedTimeline:
    """Built step by step, in the order of history.

    ``running``: beads whose runs were under way when it begins.
    """

    def __init__(self, running: Iterable[Bead] = ()) -> None:
        self.people: CompressedList[ExternalAction] = CompressedList()
        self.runs: dict[str, list[AgentRun]] = {}
        self.under_way: list[AgentRun] = []
        """The runs that were under way at the beginning."""
        self.marks: list[tuple[datetime, str]] = []
        """Commits at which a bead may have become ready, or ceased to be."""
        self._open: dict[str, AgentRun] = {}
        self._known: set[str] = set()
        self._place = 0
        self._at: datetime | None = None
        for bead in running:
            run = AgentRun(
                bead=bead.id, token=bead.token, begun=bead.sent_at or bead.since, claim=None, last=0
            )
            self._open[bead.id] = run
            self.under_way.append(run)

    def know(self, beads: Iterable[str]) -> None:
        """Beads of whom everything counts, however their rows look."""
        self._known.update(beads)

    def add(self, step: ReplayStep, views: RowViewFactory) -> None:
        """One commit.

        Dates may run backwards where clocks differ: nothing is taken to be earlier than what it
        rests on.
        """
        date = step.commit.date
        self._at = date if self._at is None else max(self._at, date)
        rows = {row.bead: row for row in step.changes.rows if row.table == "issues"}
        fixed: set[str] = set()
        for event in step.events:
            self._place += 1
            if event.entry is not None:
                self._ours(event, event.entry, views)
            elif event.what is EventKind.RENAMED:
                self._renamed(event, rows[event.bead], views)
            elif event.what is not EventKind.OVERWRITTEN:
                self._others(event, rows.get(event.bead), views, fixed)
        if any(row.table == "dependencies" for row in step.changes.rows) or any(
            map(_readies, rows.values())
        ):
            self.marks.append((self._at, step.commit.hash))

    # -- whose is it --------------------

    def _ours(self, event: Event, entry: LedgerEntry, views: RowViewFactory) -> None:
        assert self._at is not None
        if entry.bead == GLOBAL:
            if entry.kind in FROM_OUTSIDE:
                # nothing asks what it wrote, and where that is not said it cannot be pickled
                bare = event._replace(entry=entry._replace(wrote=EntryEffects({})))
                self.people.add(ExternalAction(self._place, self._at, bare))
            return
        self._heard(entry)
        if entry.kind is EntryKind.MANUAL_RETRY:
            self._retried(event, views)
            return
        if entry.kind is EntryKind.CLAIM:
            self._end(entry.bead)
            run = AgentRun(
                bead=entry.bead, token=entry.token, begun=entry.at, claim=entry, last=self._place
            )
            self._open[entry.bead] = run
            self._known.add(entry.bead)
            self.runs.setdefault(entry.bead, []).append(run)
            return
        open_ = self._open.get(entry.bead)
        if open_ is None or (entry.token and entry.token != open_.token):
            return
        open_.add_entry(entry, self._place)
        if entry.kind in NOTHING_RUNS or entry.kind is EntryKind.RETRY:
            self._end(entry.bead)

    def _renamed(self, event: Event, row: RowChange, views: RowViewFactory) -> None:
        """What follows under the new id belongs to the run that began under the old one."""
        assert self._at is not None
        run = self._open.pop(event.other, None)
        if run is not None:
            self._open[event.bead] = run
        if event.other in self._known:
            self._known.add(event.bead)
        self.people.add(
            ExternalAction(
                self._place, self._at, event._replace(row=None), views.of(row, event.commit)
            )
        )

    def _retried(self, event: Event, views: RowViewFactory) -> None:
        """A person's doing: to the simulation it is an edit that leaves the bead open."""
        assert self._at is not None
        row = event.row
        view = views.of(row, event.commit) if row is not None else None
        opened = row is not None and "status" in row.changed
        what, changed = (
            (EventKind.MATCHED, ("status",)) if opened else (EventKind.EDITED, ("notes",))
        )
        self._end(event.bead)
        self._known.add(event.bead)
        bare = Event(what, event.bead, event.commit, event.at, changed=changed)
        status = view.status if view is not None and opened else ""
        self.people.add(ExternalAction(self._place, self._at, bare, view, status))

    def _heard(self, entry: LedgerEntry) -> None:
        """What the targets said of running jobs, when this was decided."""
        given = RecordedInputs.decode(entry.detail)
        for bead, report in given.verdicts.items():
            run = self._open.get(bead)
            if run is not None and given.now is not None:
                run.verdicts.append((given.now - run.begun, report))

    def _others(
        self, event: Event, row: RowChange | None, views: RowViewFactory, fixed: set[str]
    ) -> None:
        assert self._at is not None
        changed_row = event.what is not EventKind.SIGN and row is not None and row.kind != "removed"
        view = views.of(row, event.commit) if changed_row and row is not None else None
        run = self._open.get(event.bead)
        if run is None and event.bead not in self._known:
            if view is None or not view.matters:
                return
            self._known.add(event.bead)
        status = view.status if view is not None and "status" in event.changed else ""
        bare = event._replace(facts=None, row=None)  # the view has what they say
        act = ExternalAction(self._place, self._at, bare, view, status)
        if run is None or event.bead in fixed or not _belongs_to_run(run, act):
            if event.what is not EventKind.SIGN:
                fixed.add(event.bead)
                if status or act.is_deletion:
                    self._end(event.bead)
            self.people.add(act)
            return
        run.add_act(act, self._place)
        if status and status != IN_PROGRESS:
            self._end(event.bead)

    def _end(self, bead: str) -> None:
        run = self._open.pop(bead, None)
        if run is not None:
            run.over = True
            run.acts.pack()


def _belongs_to_run(run: AgentRun, act: ExternalAction) -> bool:
    """Is it the run's own?"""
    if act.is_deletion or (run.taken and act.status == OPEN):
        return False
    return bool(act.status) or not act.changes_content


def _readies(row: RowChange) -> bool:
    """May this change decide whether some bead is ready?"""
    if row.kind != "modified" or not READINESS.isdisjoint(row.changed):
        return True
    return _blocks(row.before.get("status")) != _blocks(row.after.get("status"))


def _blocks(status: object) -> str:
    """Return the part of a status that readiness depends on: closed, pinned, or '' for active."""
    return str(status) if status in INACTIVE else ""


READINESS = frozenset(OWN_COLUMNS)


def in_flight(beads: Mapping[str, Bead]) -> list[Bead]:
    return [bead for bead in beads.values() if bead.token and bead.phase in IN_FLIGHT]
