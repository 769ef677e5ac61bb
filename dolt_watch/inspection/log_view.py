"""The text of ``dolt_watch log``: one line an attempt, or one line an entry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.text import Text

from dolt_watch.core.model import EntryKind, LedgerEntry, entry_payloads
from dolt_watch.inspection.attempts import Attempt
from dolt_watch.inspection.screen import Cell, Column, Screen
from dolt_watch.timestamps import format_span

_ATTEMPTS = (
    Column("TIME"),
    Column("OUTCOME"),
    Column("BEAD"),
    Column("TITLE", least=28),
    Column("REASON", least=20, drop=1),
    Column("RULE", drop=3),
    Column("ATTEMPT", drop=4, right=True),
    Column("TOOK", right=True),
    Column("JOB", drop=2),
)
_ENTRIES = (
    Column("TIME"),
    Column("BEAD"),
    Column("VERSION", drop=3, right=True),
    Column("ENTRY"),
    Column("ATTEMPT", drop=2, right=True),
    Column("RULE", drop=1),
    Column("REASON", least=16),
)


def attempt_lines(attempts: Sequence[Attempt], now: datetime, screen: Screen) -> list[Text]:
    """Return a table with one line an attempt, in the order given."""
    screen = screen.at(now)
    rows = [
        (
            Cell(screen.moment(one.claimed_at, now), "dim"),
            screen.state(one.outcome),
            Cell(one.bead or "-"),
            Cell(one.title) if one.bead else Cell(_subject(one), "dim"),
            Cell(screen.sentence(one.reason)),
            Cell(one.rule or "-"),
            Cell(str(one.attempt or "-"), "dim"),
            Cell(format_span(one.took) if one.took is not None else "-"),
            Cell(one.job or "-", "dim"),
        )
        for one in attempts
    ]
    return screen.rows(_ATTEMPTS, rows)


def _subject(one: Attempt) -> str:
    """Return the subject of a decision that is not about a bead."""
    last = one.entries[-1]
    if last.kind in (EntryKind.OUTAGE, EntryKind.RECOVERED):
        return f"target {entry_payloads.OutageChange.decode(last.detail).target}"
    return f"rule {last.rule}" if last.rule else ""


def entry_lines(
    entries: Iterable[LedgerEntry], now: datetime, screen: Screen, *, heads: bool = True
) -> list[Text]:
    """Return a table with one line an entry, in the order given."""
    screen = screen.at(now)
    rows = [
        (
            Cell(screen.moment(entry.at, now), "dim"),
            Cell(entry.bead or "-"),
            Cell(str(entry.version), "dim"),
            Cell(entry.kind.value),
            Cell(str(entry.attempt or "-"), "dim"),
            Cell(entry.rule or "-", "dim"),
            Cell(
                " ".join(
                    part
                    for part in (entry.job and f"job {entry.job}", screen.sentence(entry.reason))
                    if part
                )
            ),
        )
        for entry in entries
    ]
    columns = _ENTRIES if heads else [column._replace(head="") for column in _ENTRIES]
    return screen.rows(columns, rows)
