"""History as acts of others, which keep their time, and runs, which move with their dispatch. Pure.

A run is what follows a claim: the target's answer, the agent's signs of life, and the end. History
does not say who wrote a row, so the written cells decide. During a run, changes of the content of a
bead (title, criteria, priority, assignee …) belong to users; its status, notes, comments and events
belong to the agent. If a bead was taken from its agent and is reopened, a user reopened it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from dolt_watch.beads.readiness import changes_readiness
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

NOTHING_RUNS = ANSWERS - MAY_BE_RUNNING
OURS_TO_END = frozenset({EntryKind.REAP, EntryKind.REQUEUE, EntryKind.GIVE_UP, EntryKind.RETRY})
FROM_OUTSIDE = frozenset(
    {EntryKind.PAUSE, EntryKind.RESUME, EntryKind.RESYNC, EntryKind.OUTAGE, EntryKind.RECOVERED}
)
"""Decisions about no bead that don't depend on settings: those of users, and outages of targets."""


class ExternalAction(NamedTuple):
    """A change of a bead by others in one commit and table, or a decision about no bead."""

    place: int
    """Its index in history."""
    at: datetime
    event: Event
    """Without facts and row, because long histories have many events."""
    view: RowView | None = None
    """The row after it; None if the row did not change or was deleted."""
    status: str = ""
    """The status that it set, '' for none."""

    @property
    def changes_content(self) -> bool:
        """Whether it changed the content of the bead."""
        return not CONTENT_SET.isdisjoint(self.event.changed)

    @property
    def is_deletion(self) -> bool:
        return self.event.changed == ("deleted",)


CONTENT_SET = frozenset(CONTENT)


@dataclass(slots=True)
class AgentRun:
    """A recorded claim with its consequences."""

    bead: str
    token: str
    begun: datetime
    claim: LedgerEntry | None
    """None if it is older than the history that was read."""
    last: int
    """Index in history of the last event of the run."""
    answer: LedgerEntry | None = None
    acts: CompressedList[ExternalAction] = field(default_factory=CompressedList)
    verdicts: list[tuple[timedelta, JobReport]] = field(default_factory=list)
    """Time since its start, and the job report that a decision used then."""
    idle: bool = False
    """Whether its outcome was unknown, and the service reported that nothing runs."""
    taken: bool = False
    """Whether dolt_watch ended it: reaped, requeued, given up."""
    over: bool = False
    assumed: bool = False
    """Whether the simulation assumed it: it is not recorded."""

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
        """Return the last job report by then."""
        known = [report for after, report in self.verdicts if after <= since]
        return known[-1] if known else None


class RecordedTimeline:
    """The timeline, built commit by commit in the order of history.

    ``running``: beads with runs that are in flight at the beginning.
    """

    def __init__(self, running: Iterable[Bead] = ()) -> None:
        self.people: CompressedList[ExternalAction] = CompressedList()
        self.runs: dict[str, list[AgentRun]] = {}
        self.under_way: list[AgentRun] = []
        """The runs that are in flight at the beginning."""
        self.marks: list[tuple[datetime, str]] = []
        """Commits that may change the readiness of a bead, with their dates."""
        self._open: dict[str, AgentRun] = {}
        self._known: set[str] = set()
        self._place = 0
        self._at = datetime.min.replace(tzinfo=UTC)
        for bead in running:
            run = AgentRun(
                bead=bead.id, token=bead.token, begun=bead.sent_at or bead.since, claim=None, last=0
            )
            self._open[bead.id] = run
            self.under_way.append(run)

    def know(self, beads: Iterable[str]) -> None:
        """Add beads whose changes all count, whether or not their rows match a rule."""
        self._known.update(beads)

    def add(self, step: ReplayStep, views: RowViewFactory) -> None:
        """Add one commit.

        If clocks differ, dates can run backwards. No commit counts as earlier than the one before.
        """
        self._at = max(self._at, step.commit.date)
        rows = {row.bead: row for row in step.changes.rows if row.table == "issues"}
        fixed: set[str] = set()
        for event in step.events:
            self._place += 1
            if event.entry is not None:
                self._ours(event, event.entry, rows.get(event.bead), views)
            elif event.what is EventKind.RENAMED:
                self._renamed(event, rows[event.bead], views)
            elif event.what is not EventKind.OVERWRITTEN:
                self._others(event, rows.get(event.bead), views, fixed)
        if changes_readiness(step.changes):
            self.marks.append((self._at, step.commit.hash))

    # -- users and runs --------------------

    def _ours(
        self, event: Event, entry: LedgerEntry, row: RowChange | None, views: RowViewFactory
    ) -> None:
        if entry.bead == GLOBAL:
            if entry.kind in FROM_OUTSIDE:
                # its effects are not used, and some can't be pickled
                bare = event._replace(entry=entry._replace(wrote=EntryEffects({})))
                self.people.add(ExternalAction(self._place, self._at, bare))
            return
        self._heard(entry)
        if entry.kind is EntryKind.MANUAL_RETRY:
            self._retried(event, row, views)
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
        """Continue the run under the bead's new ID."""
        run = self._open.pop(event.other, None)
        if run is not None:
            self._open[event.bead] = run
        if event.other in self._known:
            self._known.add(event.bead)
        bare, view = event._replace(row=None), views.of(row, event.commit)
        self.people.add(ExternalAction(self._place, self._at, bare, view))

    def _retried(self, event: Event, row: RowChange | None, views: RowViewFactory) -> None:
        """Add a manual retry: for the simulation, a user's edit that leaves the bead open.

        ``row``: its change, which has the answers for all statuses. The event's own row has only
        the answers of the rules.
        """
        view = views.of(row, event.commit) if row is not None else None
        opened = row is not None and "status" in row.changed
        self._end(event.bead)
        self._known.add(event.bead)
        what, changed = (EventKind.MATCHED, "status") if opened else (EventKind.EDITED, "notes")
        bare = Event(what, event.bead, event.commit, event.at, changed=(changed,))
        status = view.status if view is not None and opened else ""
        self.people.add(ExternalAction(self._place, self._at, bare, view, status))

    def _heard(self, entry: LedgerEntry) -> None:
        """Add the job reports that the decision used."""
        given = RecordedInputs.decode(entry.detail)
        for bead, report in given.verdicts.items():
            run = self._open.get(bead)
            if run is not None and given.now is not None:
                run.verdicts.append((given.now - run.begun, report))

    def _others(
        self, event: Event, row: RowChange | None, views: RowViewFactory, fixed: set[str]
    ) -> None:
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
    """Return whether the act belongs to the run."""
    if act.is_deletion or (run.taken and act.status == OPEN):
        return False
    return bool(act.status) or not act.changes_content


def in_flight(beads: Mapping[str, Bead]) -> list[Bead]:
    return [bead for bead in beads.values() if bead.token and bead.phase in IN_FLIGHT]
