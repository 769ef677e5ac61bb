"""The text of ``dolt_watch replay``: figures with their change, differences, grouped reasons."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.text import Text

from dolt_watch.config.converters import duration_text
from dolt_watch.inspection.screen import Cell, Column, Screen
from dolt_watch.replay.simulation.formatter import (
    assumptions,
    decision,
    describe,
    figure_lines,
    summary,
    waiting_groups,
)
from dolt_watch.replay.simulation.what_if import WhatIfResult
from dolt_watch.timestamps import format_span

ON_A_TERMINAL = 20
"""Differences that are printed on a terminal by default."""
LABEL = 11

_FIGURES = (
    Column(),
    Column("RECORDED", right=True),
    Column("UNCHANGED", right=True),
    Column("WHAT IF", right=True),
    Column("CHANGE", right=True),
)
_DIFFERENCES = (
    Column("BEAD"),
    Column("DECISION"),
    Column("RECORDED", drop=2),
    Column("UNCHANGED", drop=1),
    Column("WHAT IF"),
    Column("DIFFERENCE", least=16),
)


def what_if_lines(study: WhatIfResult, screen: Screen, *, every: bool = False) -> list[Text]:
    """Return the lines of a what-if. ``every``: print all differences on a terminal too."""
    return [
        *_question(study, screen),
        Text(),
        *screen.rows(
            _FIGURES,
            [
                [Cell(one.name), *map(Cell, (one.recorded, one.unchanged, one.what_if, one.change))]
                for one in figure_lines(study)
            ],
        ),
        Text(),
        *_differences(study, screen, every),
        *(part for line in waiting_groups(study) for part in screen.prose(line)),
        Text(),
        *(part for line in assumptions(study) for part in screen.prose(line, 9, first="assumed:")),
    ]


def _question(study: WhatIfResult, screen: Screen) -> Iterator[Text]:
    question = study.question
    begins, ends = question.begins, question.ends
    span = f"{format_span(ends.date - begins.date)}, {study.commits} commits"
    history = (
        f"{_at(begins.date, screen, ends.date)} ({begins.hash[:10]}) to"
        f" {_at(ends.date, screen, ends.date)} ({ends.hash[:10]}): {span}"
    )
    yield from screen.prose(history, LABEL, first="history:")
    rule = f", rule {question.rule}" if question.rule else ""
    recorded = f"a tick every {duration_text(study.cadence.every)} ({study.cadence.source})"
    yield from screen.prose(f"{recorded}, the recorded settings", LABEL, first="unchanged:")
    yield from screen.prose(
        f"a tick every {duration_text(question.every)}{rule}", LABEL, first="what if:"
    )


def _differences(study: WhatIfResult, screen: Screen, every: bool) -> list[Text]:
    differs = [pair for pair in study.pairs if pair.difference is not None]
    lines = screen.prose(f"difference: {summary(study)}", style="bold")
    if not differs:
        return lines
    shown = differs if every or not screen.terminal else differs[:ON_A_TERMINAL]
    now = study.question.ends.date
    rows = [
        (
            Cell(pair.bead),
            Cell(decision(pair)),
            *(Cell(_at(at, screen, now)) for at in (pair.recorded, pair.unchanged, pair.simulated)),
            Cell(describe(pair)),
        )
        for pair in shown
    ]
    lines += screen.rows(_DIFFERENCES, rows)
    if len(shown) < len(differs):
        rest = len(differs) - len(shown)
        lines += screen.prose(f"{rest} more: --all, --format json, or --report FILE")
    return lines


def _at(at: datetime | None, screen: Screen, now: datetime) -> str:
    return screen.moment(at, now) if at is not None else "-"
