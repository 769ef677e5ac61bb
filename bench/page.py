"""docs/performance.md: the lines as they are declared, with figures of one run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.lines import PARTS, Line
from bench.table import HEAD, Row

BEGIN = "# Performance"


def page(rows: Sequence[Row], of: str, day: str, quick: bool) -> str:
    """``of``: the machine, and how it was measured."""
    fails = [row.line.name for row in rows if row.holds is False]
    return "\n".join(
        [
            BEGIN,
            "",
            (
                "Written by `python -m bench --write docs/performance.md`, all in one run, on real"
                " Dolt and bd; not by hand. What each line means, and why it is above its floor,"
                " stands [below](#the-lines); how to run it: [bench](../bench/README.md)."
            ),
            "",
            *(
                [
                    (
                        "**A quick run: fewer runs, smaller databases, to see that it works. No"
                        " figure to lean on.**"
                    ),
                    "",
                ]
                if quick
                else []
            ),
            f"{day}. {of}.",
            "",
            f"Bars that do not hold: {', '.join(fails)}." if fails else "All bars hold.",
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
    """What stands in the page whatever was measured."""
    lines = [
        "## The lines",
        "",
        (
            "*Ours*, *floor* and *original* in the same unit; each × is ours by the one before it."
            " *Floor*: the least that the same work costs by itself. *Original*: two bash CronJobs"
            " around `bd`, `jq` and `curl`, measured as one dispatch of theirs"
            " (`bench/original.sh`), each step once, no sleep."
        ),
    ]
    for part in PARTS:
        lines += [
            "",
            f"### {part.title}",
            "",
            part.how,
            "",
            _row(["line", "floor", "what ours costs above it"]),
        ]
        lines += [
            _row(["---"] * 3),
            *(_row([line.name, line.floor, line.why]) for line in part.lines),
        ]
    return [*lines, ""]


def named(text: str) -> list[str]:
    """The lines of a page's table of figures."""
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
