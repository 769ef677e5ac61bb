"""bench/results.md: the declared lines with the figures of one run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.lines import PARTS, Line
from bench.table import HEAD, Row

BEGIN = "# Results"
QUICK = "**A quick run with fewer repetitions and smaller databases. Don't rely on its figures.**"


def page(rows: Sequence[Row], of: str, day: str, quick: bool) -> str:
    """Return bench/results.md. ``of`` describes the machine and the method."""
    fails = [row.line.name for row in rows if row.holds is False]
    return "\n".join(
        [
            BEGIN,
            "",
            (
                "`python -m bench --write` generates this page from one run on real Dolt and bd."
                " [bench](README.md) describes how to run it, and"
                " [performance](../docs/performance.md) sums it up."
            ),
            "",
            *([QUICK, ""] if quick else []),
            f"{day}. {of}.",
            "",
            f"Bars that don't hold: {', '.join(fails)}." if fails else "All bars hold.",
            "",
            *table(rows),
            "",
            *explained(),
        ]
    )


def table(rows: Iterable[Row]) -> Iterator[str]:
    yield _row(HEAD)
    yield _row(["---"] + ["---:"] * 6 + ["---"] * 2)
    yield from (_row(row.cells) for row in rows)


def explained() -> list[str]:
    """Return the part of the page that doesn't depend on the figures."""
    lines = [
        "## The lines",
        "",
        (
            "dolt_watch, *floor* and *original* have the same unit. Each × is dolt_watch divided by"
            " the column before it. The *floor* is the least that the same work costs by itself."
            " The"
            " *original* is a pair of bash CronJobs around `bd`, `jq` and `curl`, measured as one"
            " dispatch (`bench/original.sh`), each step once, without sleeping."
        ),
    ]
    for part in PARTS:
        lines += [
            "",
            f"### {part.title}",
            "",
            part.how,
            "",
            _row(["line", "floor", "what dolt_watch adds"]),
        ]
        lines += [
            _row(["---"] * 3),
            *(_row([line.name, line.floor, line.why]) for line in part.lines),
        ]
    return [*lines, ""]


def named(text: str) -> list[str]:
    """Return the names in a page's table of figures."""
    figures = text.partition(_row(HEAD))[2].partition("## ")[0]
    return [
        row.split(" | ")[0].removeprefix("| ")
        for row in figures.splitlines()
        if row.startswith("| ")
    ][1:]


def declared() -> list[Line]:
    return [line for part in PARTS for line in part.lines]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
