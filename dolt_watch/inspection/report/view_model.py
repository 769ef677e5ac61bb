"""What the page shows, as plain data: from lanes, entries and the present. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from dolt_watch.controller.tick_result import TickResult
from dolt_watch.core.decisions.reap_policy import stale_at
from dolt_watch.core.model import EntryKind, LedgerEntry, Phase, Rule, entry_payloads
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.model.recorded_inputs import RecordedInputs
from dolt_watch.inspection.report.lanes import (
    HELD_BACK,
    SILENT,
    UNDER_WAY,
    LaneBuilder,
    PhaseInterval,
    split,
)
from dolt_watch.inspection.status import Status
from dolt_watch.stats import DurationStats, QueueDepth
from dolt_watch.timestamps import format_span

WENT_WRONG = frozenset(
    {
        EntryKind.FAILED,
        EntryKind.QUARANTINED,
        EntryKind.STOPPED,
        EntryKind.RETRY,
        EntryKind.GIVE_UP,
        EntryKind.UNKNOWN,
        EntryKind.OVERDUE,
        EntryKind.REAP,
        EntryKind.REQUEUE,
    }
)
BUCKETS = tuple(
    timedelta(seconds=seconds)
    for seconds in (10, 30, 60, 300, 900, 1800, 3600, 4 * 3600, 12 * 3600, 86400)
)


class Stat(NamedTuple):
    label: str
    value: int
    note: str = ""


class Lane(NamedTuple):
    """A bead and where it stood in the span, oldest first."""

    bead: str
    title: str
    stretches: tuple[PhaseInterval, ...]


class Bar(NamedTuple):
    label: str
    number: int


class Durations(NamedTuple):
    """How long something took: the distribution, and its figures."""

    bars: tuple[Bar, ...]
    stats: DurationStats


class Report(NamedTuple):
    """Everything on the page."""

    since: datetime
    now: Status
    only: tuple[str, ...]
    """Shown are these beads; empty: all."""
    begins: datetime
    """Where the lanes begin: what was before it, nobody folded."""
    titles: Mapping[str, str]
    lanes: tuple[Lane, ...]
    depths: tuple[QueueDepth, ...]
    slots: tuple[tuple[datetime, int], ...]
    """Free slots, as a target said when a decision was made."""
    entries: tuple[LedgerEntry, ...]
    """Newest first, as ``log`` has them."""
    commits: Mapping[tuple[str, int], str]


def build_report(
    history: LaneBuilder,
    now: Status,
    entries: Sequence[LedgerEntry],
    titles: Mapping[str, str],
    rules: Sequence[Rule],
    since: datetime,
    only: Collection[str] = (),
) -> Report:
    """``entries``: those since ``since``. ``rules``: as they are now, for who is silent already."""
    shown = now._replace(beads=tuple(bead for bead in now.beads if not only or bead.bead in only))
    depths = sorted(
        (depth for depth in history.depths if depth.at <= now.now), key=lambda depth: depth.at
    )
    before = [depth._replace(at=since) for depth in depths if depth.at < since][-1:]
    return Report(
        since=since,
        now=shown,
        only=tuple(only),
        begins=history.begins,
        titles=titles,
        lanes=tuple(_lanes(history, now, titles, rules, since, only)),
        depths=tuple(before + [depth for depth in depths if depth.at >= since]),
        slots=tuple(_slots(entries)),
        entries=tuple(entry for entry in entries if not only or entry.bead in only),
        commits=history.commits,
    )


def _lanes(
    history: LaneBuilder,
    now: Status,
    titles: Mapping[str, str],
    rules: Sequence[Rule],
    since: datetime,
    only: Collection[str],
) -> Iterator[Lane]:
    """Whoever is with us first, then who was last."""
    silent = {
        bead.id: stale_at(bead, rule)
        for bead in now.state.beads.values()
        for rule in rules
        if rule.name == bead.rule and bead.phase is Phase.RUNNING and stale_at(bead, rule) < now.now
    }
    lanes = []
    for bead, stretches in history.lanes.items():
        if only and bead not in only:
            continue
        if bead in silent and stretches[-1].end is None and stretches[-1].phase == Phase.RUNNING:
            stretches = [*stretches[:-1], *split(stretches[-1], silent[bead])]
        kept = tuple(
            clipped for one in stretches if (clipped := _clip(one, since, now.now)) is not None
        )
        if kept:
            lanes.append(Lane(bead, titles.get(bead, ""), kept))
    lanes.sort(key=lambda lane: lane.bead)
    lanes.sort(key=lambda lane: lane.stretches[-1].begin, reverse=True)
    lanes.sort(key=lambda lane: lane.bead not in now.state.beads)
    yield from lanes


def _clip(stretch: PhaseInterval, since: datetime, now: datetime) -> PhaseInterval | None:
    """What reaches into the span, with its true beginning.

    A time past now is a clock's mistake, and shown at the end.
    """
    end = min(stretch.end or now, now)
    if end < since:
        return None
    begin = min(stretch.begin, now)
    return stretch._replace(begin=begin, end=max(begin, end))


def _slots(entries: Sequence[LedgerEntry]) -> Iterator[tuple[datetime, int]]:
    for entry in reversed(entries):
        free = [
            one.slots
            for one in RecordedInputs.decode(entry.detail).capacity.values()
            if one.slots is not None
        ]
        if free:
            yield entry.at, sum(free)


def headline(report: Report) -> list[Stat]:
    """Now: as ``status`` counts. In the span: as the exit code counts (``round.TickResult``)."""
    phases = Counter(bead.phase for bead in report.now.beads)
    done = TickResult()
    for entry in report.entries:
        done.count(entry.kind)

    def now(label: str, *group: Phase) -> Stat:
        parts = [
            f"{phases[phase]} {phase.value}" for phase in group if phases[phase] and len(group) > 1
        ]
        return Stat(label, sum(phases[phase] for phase in group), ", ".join(parts))

    return [
        now("waiting", Phase.WAITING),
        now("under way", *UNDER_WAY),
        now("held back", *HELD_BACK),
        Stat("dispatched", done.dispatched),
        Stat(
            "failed", done.failed, f"and {done.unknown} of unknown outcome" if done.unknown else ""
        ),
        Stat("reaped", done.reaped),
    ]


def wait_durations(report: Report) -> Durations | None:
    """From matching its rule to being claimed."""
    return _durations(
        [
            (here.end or here.begin) - here.begin
            for lane in report.lanes
            for here, after in pairwise(lane.stretches)
            if here.phase == Phase.WAITING and after.phase == Phase.CLAIMED
        ]
    )


def run_durations(report: Report) -> Durations | None:
    """From the target's word to the end, silence included. What still runs is not counted."""
    spans = []
    for lane in report.lanes:
        begun: datetime | None = None
        for here in lane.stretches:
            if here.phase in (Phase.RUNNING, SILENT):
                begun = begun or here.begin
            elif begun is not None:
                spans.append(here.begin - begun)
                begun = None
    return _durations(spans)


def _durations(spans: list[timedelta]) -> Durations | None:
    if not spans:
        return None
    edges = [timedelta(), *BUCKETS, timedelta.max]
    bars = []
    for low, high in pairwise(edges):
        label = f"up to {_round(high)}" if high < timedelta.max else f"over {_round(low)}"
        bars.append(Bar(label, sum(low < span <= high or (not low and not span) for span in spans)))
    while not bars[-1].number:
        bars.pop()
    while not bars[0].number:
        bars.pop(0)

    return Durations(tuple(bars), DurationStats.of(spans))


def _round(span: timedelta) -> str:
    return format_span(span).partition(" ")[0]


def failures(report: Report, limit: int = 12) -> list[Bar]:
    """Reasons, most frequent first; numbers that only count minutes are one reason."""
    reasons = Counter(
        f"{entry.kind.value}: {_same(entry)}"
        for entry in report.entries
        if entry.kind in WENT_WRONG
    )
    most = [Bar(reason, count) for reason, count in reasons.most_common(limit)]
    rest = reasons.total() - sum(bar.number for bar in most)
    return [*most, Bar("other reasons", rest)] if rest else most


def _same(entry: LedgerEntry) -> str:
    """The reason without what tells one bead's from another's: minutes, the job's name and
    words.
    """
    if entry.reason_code is ReasonCode.NO_PROGRESS:
        return "no sign of life"
    if ended := entry_payloads.Reaped.decode(entry.detail).ended:
        return f"its job ended {ended}"
    if entry.kind is EntryKind.GIVE_UP:
        return "outcome still unknown"
    return entry.reason or "no reason given"
