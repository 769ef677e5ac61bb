"""The report as JSON: the data from which the page's script draws everything. Pure.

A bead's row depends only on the bead: the time of day and the places of other beads are
elsewhere. The live page therefore sends only rows of beads that changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from dolt_watch.core.decisions.hold_reasons import Reason
from dolt_watch.core.model import LedgerEntry
from dolt_watch.inspection.causes import Cause
from dolt_watch.inspection.report import series
from dolt_watch.inspection.report.attempts import Attempt
from dolt_watch.inspection.report.figures import RANGES, Figures
from dolt_watch.inspection.report.lanes import PhaseInterval
from dolt_watch.inspection.report.series import seconds
from dolt_watch.inspection.report.view_model import QUEUE, Report, Row
from dolt_watch.inspection.status import COMMANDS, Need
from dolt_watch.sanitize import sanitize
from dolt_watch.stats import DurationStats

_NUMBER, _LENGTH = 999_999_983, 999_999_937
"""Two numbers that no queue has, to find their places in the sentence."""
PLACE_WORDS = (
    Reason("", None, place=_NUMBER, length=_LENGTH)
    .why.replace(str(_NUMBER), "{place}")
    .replace(str(_LENGTH), "{length}")
)
"""The sentence of a bead that only waits for its turn: the same as in ``status`` and ``why``."""
SAME, OPEN = 0, -1
"""Ends of intervals: the begin of the next one; none, the phase lasts."""


def payload(report: Report) -> dict[str, Any]:
    """Return the data of a page. ``rows`` and the other values are independent of each other."""
    # Texts are sanitized here, once: the page inserts them as text.
    now = report.now
    return {
        "place": {name: sanitize(getattr(report.place, name)) for name in ("tracker", "database")},
        "links": report.place.links._asdict(),
        "now": seconds(now.now),
        "since": seconds(report.since),
        "first": seconds(report.first),
        "head": now.head,
        "only": [sanitize(bead) for bead in report.only],
        "worker": _worker(report),
        "paused": [sanitize(words) for words in now.pauses],
        "problems": [_problem(one) for one in report.now.needs],
        "rules": [list(one) for one in report.rules],
        "targets": _targets(report),
        "words": PLACE_WORDS,
        "commands": {phase.value: _command(fix).format("{id}") for phase, fix in COMMANDS.items()},
        "queues": _queues(report.rows),
        "ranges": [
            _figures(figures, span, causes)
            for figures, (_, span), causes in zip(report.ranges, RANGES, report.causes, strict=True)
        ],
        "depth": _depth(report),
        "decisions": [_entry(entry, report.commits) for entry in report.entries if not entry.bead],
        "rows": [row(one, report.commits) for one in report.rows],
    }


def _worker(report: Report) -> dict[str, Any] | None:
    worker = report.now.worker
    if worker is None:
        return None
    return {"words": sanitize(worker.words), "late": worker.late, "leads": worker.leads}


def _problem(one: Need) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "reason": sanitize(one.why),
        "command": sanitize(_command(one.fix)),
        "since": seconds(one.since),
        "subject": sanitize(one.target),
        "beads": list(one.beads),
    }


def _command(fix: str) -> str:
    """Return the command of a fix, without the hint after it; '' if the fix is no command."""
    command = fix.partition("   (")[0]
    return command if command.startswith(("dolt_watch ", "bd ")) else ""


def _targets(report: Report) -> list[list[Any]]:
    """Return name, free slots, reason, and since when the target can't be reached."""
    found = []
    for name in sorted({one.target for one in report.rules}):
        capacity = report.now.targets.get(name)
        outage = report.now.state.outages.get(name)
        down = outage is not None or (capacity is not None and capacity.down)
        why = outage.why if outage is not None else capacity.why if capacity is not None else ""
        free = capacity.slots if capacity is not None else None
        found.append([name, free, sanitize(why), down, seconds(outage and outage.since)])
    return found


def _queues(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Return each rule's beads that wait for their turn, in the order of the queue."""
    found: dict[str, list[Row]] = {}
    for one in rows:
        if one.group == QUEUE and one.place:
            found.setdefault(one.rule, []).append(one)
    return {
        rule: [one.bead for one in sorted(queue, key=lambda one: one.place or 0)]
        for rule, queue in found.items()
    }


def _figures(one: Figures, span: timedelta, causes: Iterable[Cause]) -> dict[str, Any]:
    return {
        "name": one.name,
        "seconds": span.total_seconds() if span < timedelta.max else None,
        "outcomes": dict(one.outcomes),
        "success": one.success,
        "per_hour": round(one.per_hour, 2),
        "dispatched": one.dispatched,
        "failed": one.failed,
        "unknown": one.unknown,
        "reaped": one.reaped,
        "wait": _times(one.waiting),
        "run": _times(one.running),
        "curves": {name: [_short(value) for value in curve] for name, curve in one.curves.items()},
        "causes": [
            [cause.text, dict(cause.kinds), len(cause.beads), seconds(cause.last)]
            for cause in causes
        ],
    }


def _times(stats: DurationStats) -> list[float | None]:
    """Return number, median, 95th percentile and longest, in seconds."""
    spans = (stats.median, stats.high, stats.longest)
    return [
        stats.number,
        *(round(one.total_seconds(), 1) if one is not None else None for one in spans),
    ]


def _short(value: float | None) -> float | None:
    return round(value, 2) if isinstance(value, float) else value


def _depth(report: Report) -> list[list[Any]]:
    """Return times, and the beads waiting and running and the free slots from then on.

    Times are differences: the first one is since 1970.
    """
    points = series.merge(
        [(one.at, (one.waiting, one.under_way)) for one in report.depths],
        [(at, (slots,)) for at, slots in report.slots],
    )
    minute = report.now.now.replace(second=0, microsecond=0)
    kept = series.thin(points, minute + timedelta(minutes=1))
    times = [seconds(at) for at, _ in kept]
    steps = [at - before for before, at in zip([0, *times], times, strict=False)]
    columns = list(zip(*(values for _, values in kept), strict=True))
    return [steps, *(list(column) for column in columns)]


def row(one: Row, commits: Mapping[tuple[str, int], str]) -> list[Any]:
    """Return a bead's row, as the script's ``bead()`` reads it."""
    why = one.why or (f"job {one.job}" if one.job else "")
    return [
        one.bead,
        one.facts.title,
        one.rule,
        one.facts.priority,
        one.state,
        one.group,
        seconds(one.since),
        "" if one.place else sanitize(why),
        one.attempt,
        one.job,
        one.gate,
        _intervals(one.lane),
        [_attempt(attempt) for attempt in one.attempts],
        [_entry(entry, commits) for entry in one.entries],
    ]


def _intervals(lane: tuple[PhaseInterval, ...]) -> list[list[Any]]:
    found = []
    for number, one in enumerate(lane):
        after = lane[number + 1].begin if number + 1 < len(lane) else None
        end = OPEN if one.end is None else SAME if one.end == after else seconds(one.end)
        values = [one.phase, seconds(one.begin), end, sanitize(one.why), one.commit, one.attempt]
        found.append([*values, one.job] if one.job else values)
    return found


def _attempt(one: Attempt) -> list[Any]:
    return [
        one.number,
        seconds(one.begin),
        seconds(one.end),
        one.outcome,
        seconds(one.ran),
        one.last,
        one.job,
    ]


def _entry(entry: LedgerEntry, commits: Mapping[tuple[str, int], str]) -> list[Any]:
    return [
        seconds(entry.at),
        entry.kind.value,
        entry.attempt,
        entry.rule,
        sanitize(entry.reason),
        commits.get((entry.bead, entry.version), ""),
        entry.job,
    ]
