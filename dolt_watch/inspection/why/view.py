"""The text of ``dolt_watch why``: the verdict first, then conditions, attempts and history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.text import Text

from dolt_watch.inspection.attempts import Attempt
from dolt_watch.inspection.screen import Cell, Column, Screen
from dolt_watch.inspection.why.conditions import RuleEvaluation
from dolt_watch.inspection.why.explanation import Explanation
from dolt_watch.inspection.why.timeline_text import describe_entry
from dolt_watch.timestamps import format_span

_CONDITIONS = (Column(), Column(least=16), Column(least=20))
_ATTEMPTS = (
    Column("#", right=True),
    Column("CLAIMED"),
    Column("TOOK", right=True),
    Column("OUTCOME"),
    Column("REASON", least=16),
    Column("JOB", drop=1),
)
_HISTORY = (
    Column("TIME"),
    Column("COMMIT", drop=2),
    Column("WHO", least=8),
    Column("WHAT", least=24),
)


def explanation_lines(found: Explanation, screen: Screen, *, every: bool = False) -> list[Text]:
    """Return the lines of ``why``. ``every``: show each condition of each rule."""
    screen = screen.at(found.snapshot.now)
    lines = [*_verdict(found, screen)]
    for view in found.views:
        lines += [Text(), *_conditions(view, screen, every)]
    if found.attempts:
        lines += [Text(), *_attempts(found.attempts, found.snapshot.now, screen)]
    return [*lines, Text(), *_history(found, screen)]


def _verdict(found: Explanation, screen: Screen) -> Iterator[Text]:
    now = found.snapshot.now
    yield screen.heading(found.bead, found.title)
    yield Text()
    yield from screen.prose(found.verdict, style="bold")
    to_go = [line for view in _deciding(found) for line in view.to_go]
    if to_go:
        yield from screen.prose("Before it can be dispatched:")
        for line in dict.fromkeys(to_go):
            yield from screen.prose(line, 4, first="  - ")
    for view in _deciding(found):
        is_shown = any(view.rule_held in line for line in view.to_go)
        if view.rule_held and view.to_go and not is_shown:
            yield from screen.prose(f"Rule {view.rule} is held: {view.rule_held}.")
    for note in found.snapshot.notes:
        yield from screen.prose(f"note: {note}")
    yield Text()
    state = found.state
    if state is None:
        yield from screen.prose("state:  not tracked: neither waiting nor running")
    else:
        since = format_span(now - state.since)
        yield from screen.prose(f"state:  {found.phase} for {since}, rule {state.rule}")
    at = screen.moment(now, now)
    yield from screen.prose(f"as of:  {at}, commit {found.snapshot.commit[:8]}")


def _deciding(found: Explanation) -> tuple[RuleEvaluation, ...]:
    """The rules that could dispatch the bead: those that it matches, else all."""
    return tuple(view for view in found.views if view.matches) or found.views


def _conditions(view: RuleEvaluation, screen: Screen, every: bool) -> list[Text]:
    """The gates of a rule that the bead doesn't match don't matter to it."""
    shown = view.conditions if every or view.matches else view.conditions[: view.parts or None]
    rows = [
        (
            screen.mark("met" if one.satisfied else "unmet"),
            Cell(one.name),
            Cell(screen.sentence(one.value)),
        )
        for one in shown
    ]
    waits = f"waits: {screen.sentence(view.reason)}" if view.reason else ""
    head = screen.heading("CONDITIONS", f"rule {view.rule}{'; ' if waits else ''}{waits}")
    return [head, *screen.rows(_CONDITIONS, rows, wrap=True)]


def _attempts(attempts: tuple[Attempt, ...], now: datetime, screen: Screen) -> list[Text]:
    rows = [
        (
            Cell(str(one.attempt or "-")),
            Cell(screen.moment(one.claimed_at, now), "dim"),
            Cell(format_span(one.took) if one.took is not None else "-"),
            screen.state(one.outcome),
            Cell(screen.sentence(one.reason) or "-"),
            Cell(one.job or "-", "dim"),
        )
        for one in attempts
    ]
    return [screen.heading("ATTEMPTS"), *screen.rows(_ATTEMPTS, rows)]


def _history(found: Explanation, screen: Screen) -> list[Text]:
    begins, now = found.begins, found.snapshot.now
    existed = "existed already" if found.from_the_beginning else "did not exist yet"
    cut = " with a shallow clone" if found.shallow else ""
    first = (begins.date, begins.hash, begins.author, f"history begins{cut}; the bead {existed}")
    lines = [
        first,
        *(
            (step.commit.date, step.commit.hash, who, text)
            for step in found.timeline
            for who, text in describe_entry(step)
        ),
    ]
    rows = [
        (
            Cell(screen.moment(at, now), "dim"),
            Cell(commit[:8], "dim"),
            Cell(who),
            Cell(screen.sentence(what)),
        )
        for at, commit, who, what in lines
    ]
    return [screen.heading("HISTORY"), *screen.rows(_HISTORY, rows, wrap=True)]
