"""docs/performance.md and its chart, from bench/results.md: ``python -m bench.summary``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench/results.md"
PAGE = ROOT / "docs/performance.md"
CHART = ROOT / "docs/images/performance.svg"

COLUMNS = ("dolt_watch", "floor", "", "original")
TICKS = (
    ("Nothing to do", "idle tick (console script)"),
    ("A change that leads to no decision", "noise tick"),
    ("One dispatch", "dispatch tick"),
)
"""Heading in the chart → line of the results."""

TEXT = (ROOT / "bench/performance.txt").read_text("utf-8")
"""The page with a field for each figure."""


ORIGINAL = "The *original* is a pair of bash CronJobs around `bd`, `jq` and `curl`. "


def parse(results: str) -> dict[str, dict[str, str]]:
    """Return name → column → cell of the table of figures."""
    lines = [line for line in results.splitlines() if line.startswith("| ")]
    head, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    names = [f"{name}{number}" if name == "×" else name for number, name in enumerate(head)]
    found = {}
    for row in rows:
        if len(row) != len(names):
            break
        found[row[0]] = dict(zip(names, row, strict=True))
    return found


def number(text: str) -> float:
    """Return the number in a cell, without its unit and commas."""
    return float(re.sub(r"[^\d.]", "", text))


def summary(results: str) -> str:
    """Return docs/performance.md."""
    rows = parse(results)

    def value(name: str, column: str = "dolt_watch") -> str:
        figure, _, unit = rows[name][column].partition(" ")
        digits = {"ms": 0, "s": 1}.get(unit)
        return rows[name][column] if digits is None else f"{number(figure):,.{digits}f} {unit}"

    def ratio(name: str) -> str:
        return f"{float(rows[name]['×4']):.1f}"

    columns = [name for name in SERIES if rows[TICKS[0][1]][name]]
    described = "; ".join(
        f"{title}: {', '.join(value(name, each) for each in columns)}" for title, name in TICKS
    )
    compared = value("dispatch tick", "original")
    one = rows["beads a second, 1 worker"]["dolt_watch"]
    peaks = [
        each
        for name, each in rows.items()
        if name.endswith("long history") and "MB" in each["dolt_watch"]
    ]
    machine = re.search(r"^(\d{4}-\d\d-\d\d)\. (.*?); medians", results, re.MULTILINE)
    assert machine, "the results don't name a machine"
    return TEXT.format(
        idle_bytes=value("idle tick: bytes written, maximum"),
        idle_ms=value("idle tick (console script)"),
        poll=rows["run: processor time of an idle poll"]["dolt_watch"],
        dispatch_ms=value("dispatch tick"),
        original=f" The original needs {compared}." if compared else "",
        commits=value("dispatch: Dolt commits"),
        latency=value("run: commit to POST, median"),
        latency_p95=value("run: commit to POST, 95th percentile"),
        cron=value("CronJob: commit to POST, median"),
        one=f"{one[:-3]} beads a second",
        two=rows["beads a second, 2 workers"]["dolt_watch"][:-3],
        four=rows["beads a second, 4 workers"]["dolt_watch"][:-3],
        eight=rows["beads a second, 8 workers"]["dolt_watch"][:-3],
        hour=f"{number(one) * 3600:,.0f}",
        memory=value("run: idle"),
        original_is=ORIGINAL if compared else "",
        beside="the original and the floor" if compared else "the floor",
        history_length=peaks[0]["at"],
        history_memory=f"{max(number(each['dolt_watch']) for each in peaks) + 1:.0f} MB",
        rows=ratio("noise tick, many rows"),
        history=ratio("noise tick, long history"),
        waiting=ratio("dispatch tick, waiting × 100"),
        in_run=ratio("a dispatch in run: database time, waiting × 100"),
        why=f"{number(value('why, as a process')) / 1000:.1f} s",
        replay=f"{number(rows['replay: applying all of history']['dolt_watch']):.1f} s",
        machine=f"{machine[1]} with {machine[2]}",
        described=described,
    )


def chart(results: str) -> str:
    """Return the chart: milliseconds of one command, in groups of bars."""
    rows = parse(results)
    groups = [
        (
            title,
            {each: number(cell.split()[0]) for each in SERIES if (cell := rows[name][each])},
        )
        for title, name in TICKS
    ]
    return _svg(groups)


def _svg(groups: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    left, wide, most = 90, 520, max(max(values.values()) for _, values in groups)
    parts, y = [], 30
    for title, values in groups:
        parts.append(f'  <text class="title" x="0" y="{y}">{escape(title)}</text>')
        y += 10
        for name, value in values.items():
            style, length = SERIES[name], value / most * wide
            parts.append(
                f'  <text x="{left - 8}" y="{y + 13}" text-anchor="end">{name}</text>'
                f'<rect class="{style}" x="{left}" y="{y}" width="{length:.0f}" height="18"/>'
                f'<text x="{left + length + 6:.0f}" y="{y + 13}">{value:.0f} ms</text>'
            )
            y += 23
        y += 25
    return HEAD.format(height=y - 20) + "\n".join(parts) + "\n</svg>\n"


SERIES: Mapping[str, str] = {"dolt_watch": "own", "original": "original", "floor": "floor"}
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 {height}" role="img" \
aria-labelledby="t" font-family="system-ui, sans-serif" font-size="13">
  <title id="t">Milliseconds of one command</title>
  <style>
    text {{ fill: #1c2733 }} .title {{ font-size: 15px; font-weight: 600 }}
    .own {{ fill: #2f6fb0 }} .original {{ fill: #b9783a }} .floor {{ fill: #8a97a3 }}
    @media (prefers-color-scheme: dark) {{
      text {{ fill: #e6edf3 }}
      .own {{ fill: #6aa8e8 }} .original {{ fill: #d9a066 }} .floor {{ fill: #7d8a96 }}
    }}
  </style>
"""


def write_summary() -> None:
    results = RESULTS.read_text("utf-8")
    PAGE.write_text(summary(results), "utf-8")
    CHART.write_text(chart(results), "utf-8")


if __name__ == "__main__":
    write_summary()
