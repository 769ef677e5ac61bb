"""The text of ``dolt_watch status``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from rich.text import Text

from dolt_watch.core.model import Phase
from dolt_watch.inspection.screen import Cell, Column, Screen
from dolt_watch.inspection.status import BeadStatus, Need, Status
from dolt_watch.timestamps import format_span

GROUP_LIMIT = 20
"""Beads of a group that are printed by default."""
LEAST_ROWS = 3
"""Rows that a group has even on a terminal with too few lines."""
NEXT_NAMED = 3
"""Beads that the line 'next: …' names."""
LABEL = 10
INDENT = 15

_NEEDS = (
    Column(),
    Column(),
    Column(least=16),
    Column(drop=1),
    Column(right=True),
)
_UNDER_WAY = (
    Column(),
    Column(),
    Column(least=30),
    Column(least=32, drop=1),
    Column(drop=2),
    Column(drop=3),
    Column(right=True),
)
_QUEUE = (
    Column(right=True),
    Column(),
    Column(drop=2),
    Column(least=24),
    Column(least=26),
    Column(drop=1),
    Column(right=True),
)


def show_status(
    now: Status,
    screen: Screen,
    limit: int | None = None,
    *,
    tracker: str = "",
    refresh: str = "",
) -> list[Text]:
    """Return the lines of ``status``.

    Args:
        limit: beads of each group; 0: all; None: as many as fit on the screen, up to GROUP_LIMIT.
        tracker: its name, which the first line shows before the time.
        refresh: what the first line shows after the time, for a view that is refreshed.
    """
    screen = screen.at(now.now)
    corner = "  ".join(part for part in (tracker, screen.moment(now.now, now.now), refresh) if part)
    if limit is not None or not screen.terminal:
        return _lines(now, screen, limit or 0, corner)
    lines: list[Text] = []
    for most in range(GROUP_LIMIT, LEAST_ROWS - 1, -1):
        lines = _lines(now, screen, most, corner)
        if len(lines) < screen.height:
            break
    return lines


def _lines(now: Status, screen: Screen, limit: int, corner: str) -> list[Text]:
    lines = list(_header(now, screen))
    if lines:
        lines[0] = screen.split(lines[0], corner)
    for section in (_needs, _under_way, _queue):
        if part := section(now, screen, limit):
            lines += [Text(), *part]
    if not now.beads:
        lines += [Text(), Text("No bead is waiting, running or held.")]
    return lines


def _header(now: Status, screen: Screen) -> Iterator[Text]:
    def labelled(label: str, text: str, style: str = "") -> list[Text]:
        return screen.prose(text, LABEL, style, f"{label}:")

    # From what can stop everything to details.
    worker = now.worker
    if worker is not None:
        yield from labelled("worker", worker.words, "red" if worker.late else "")
    for name, capacity in now.targets.items():
        free = "capacity not known" if capacity.slots is None else f"{capacity.slots} free"
        why = f": {capacity.why}" if capacity.why else ""
        if capacity.down:  # NEEDS YOU says why
            outage = now.state.outages.get(name)
            since = f" for {format_span(now.now - outage.since)}" if outage is not None else ""
            yield from labelled("target", f"{name}, unreachable{since}", "red")
        else:
            yield from labelled("target", f"{name}, {free}{why}")
    if now.folded_at is None:
        yield from labelled("history", "nothing is applied yet")
    elif now.head != now.folded:
        ago = format_span(now.now - now.folded_at)
        yield from labelled("history", f"applied up to {now.folded[:8]}, {ago} ago; HEAD is newer")
    last = now.last
    if last is None:
        yield from labelled("decided", "nothing yet")
    else:
        what = f"{last.kind} {last.bead}".rstrip()
        yield from labelled("decided", f"{what}, {format_span(now.now - last.at)} ago")
    if now.beads:
        counts = (f"{number} {phase}" for phase, number in now.counts.items())
        yield from labelled("beads", ", ".join(counts))
    if now.recent is not None and now.recent.words:
        yield from labelled("last 24h", now.recent.words)
    for reason in now.pauses:
        yield from labelled("paused", reason, "yellow")


# -- what needs a person --------------------


def _needs(now: Status, screen: Screen, limit: int) -> list[Text]:
    needs = now.needs
    if not needs:
        return []
    count = sum(max(1, len(need.beads)) for need in needs)
    beads = {one.bead: one for one in now.beads}
    lines = [screen.heading(f"NEEDS YOU ({count})")]
    shown = [need.beads[: limit or None] for need in needs]
    rows = [
        [_need_row(need, beads[bead], now, screen) for bead in named if bead in beads]
        for need, named in zip(needs, shown, strict=True)
    ]
    # One table, so that the columns of all needs are aligned.
    table = iter(screen.rows(_NEEDS, [row for part in rows for row in part]))
    for need, named, part in zip(needs, shown, rows, strict=True):
        first = Cell("") if part else screen.state(need.kind)
        lines += islice(table, len(part))
        if len(named) < len(need.beads):
            lines += screen.prose(f"{len(need.beads) - len(named)} more", INDENT)
        why = f"{need.target}: {need.why}" if need.target else need.why
        lines += screen.prose(why, INDENT, first=first.text, first_style=first.style)
        lines += screen.prose(f"fix: {need.fix}", INDENT, "bold")
    return lines


def _need_row(need: Need, one: BeadStatus, now: Status, screen: Screen) -> tuple[Cell, ...]:
    state = screen.state(need.kind)
    return (
        Cell(state.text.ljust(INDENT - 2), state.style),
        Cell(one.bead),
        Cell(one.title),
        Cell(one.rule, "dim"),
        Cell(format_span(now.now - one.since), "dim"),
    )


# -- under way --------------------


def _under_way(now: Status, screen: Screen, limit: int) -> list[Text]:
    beads = now.under_way
    if not beads:
        return []
    shown = beads[: limit or None]
    rows = [
        (
            screen.state(one.state(now.now)),
            Cell(one.bead),
            Cell(one.title),
            Cell(_work(one, now, screen)),
            Cell(one.rule, "dim"),
            Cell(f"attempt {one.attempt}" if one.attempt else "", "dim"),
            Cell(format_span(now.now - one.since), "dim"),
        )
        for one in shown
    ]
    lines = [screen.heading(f"RUNNING ({len(beads)})"), *screen.rows(_UNDER_WAY, rows)]
    if more := len(beads) - len(shown):
        lines += screen.prose(f"{more} more: dolt_watch status --all", INDENT)
    return lines


def _work(one: BeadStatus, now: Status, screen: Screen) -> str:
    """Return the job, and when the bead is reaped without a further sign of life."""
    if one.phase == Phase.CLAIMED:
        return screen.sentence(one.why) or "the request is being sent"
    job = f"job {one.job}" if one.job else screen.sentence(one.why)
    if one.silent_at is None:
        return job
    at = screen.moment(one.silent_at, now.now)
    silence = f"silent since {at}" if one.silent_at <= now.now else f"reaped at {at} if silent"
    return f"{silence}, {job}" if job else silence


# -- the queue --------------------


def _queue(now: Status, screen: Screen, limit: int) -> list[Text]:
    beads = now.queue
    if not beads and not now.held_rules:
        return []
    shown = beads[: limit or None]
    rows = [
        (
            Cell(str(one.place) if one.place and not one.gate else "-"),
            Cell(one.bead),
            Cell(f"P{one.priority}" if one.priority is not None else "", "dim"),
            Cell(one.title),
            _wait(one, screen),
            Cell(one.rule, "dim"),
            Cell(format_span(now.now - one.since), "dim"),
        )
        for one in shown
    ]
    lines = [screen.heading(f"QUEUE ({len(beads)})")]
    for words in now.held_rules:
        lines += screen.prose(f"held: {words}", 4, "yellow")
    lines += screen.rows(_QUEUE, rows, indent=2)
    if rest := beads[len(shown) :]:
        lines += screen.prose(_next(rest), INDENT)
    return lines


def _wait(one: BeadStatus, screen: Screen) -> Cell:
    """Return the bead's own reason. A bead without one waits for its turn."""
    if one.gate or not one.place:
        return Cell(screen.sentence(one.why), "yellow")
    return Cell("next", "green") if one.next else Cell("")


def _next(rest: Sequence[BeadStatus]) -> str:
    named = ", ".join(f"{one.bead} {one.title}".rstrip() for one in rest[:NEXT_NAMED])
    more = len(rest) - NEXT_NAMED
    count = f"; {more} more" if more > 0 else ""
    return f"next: {named}{count} (dolt_watch status --all)"
