"""bench/results.md has the current lines of the bench, and docs/performance.md summarizes it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from bench import summary
from bench.lines import FLOOR, Bar, Line, Part
from bench.page import declared, explained, named, page
from bench.table import Figure, Row, rows

RESULTS = summary.RESULTS.read_text("utf-8")
LINE = Line("tick", "ms", "nothing", "it is not", Bar(1.4, FLOOR))
AGAIN = "python -m bench --write"


def test_the_results_have_every_line_and_no_other() -> None:
    names = [line.name for line in declared()]
    assert len(set(names)) == len(names) > 40
    assert named(RESULTS) == names, AGAIN


def test_the_results_describe_each_line_as_it_is_declared() -> None:
    assert RESULTS.endswith("\n".join(explained())), AGAIN


def test_the_page_and_the_chart_are_of_these_results() -> None:
    assert summary.PAGE.read_text("utf-8") == summary.summary(RESULTS), "python -m bench.summary"
    assert summary.CHART.read_text("utf-8") == summary.chart(RESULTS), "python -m bench.summary"


def test_the_page_shows_figures_of_the_results() -> None:
    idle = summary.parse(RESULTS)["run: idle"]["dolt_watch"]
    text = summary.summary(
        RESULTS.replace(f"| run: idle |  | {idle} |", "| run: idle |  | 1,234 MB |")
    )
    assert "1,234 MB for `run`" in text
    assert "1,234 MB for `run`" not in summary.summary(RESULTS)


def test_the_page_names_the_original_only_if_it_was_measured() -> None:
    """A machine without bd leaves it out. Figures of a thousand and more have a comma."""
    assert ("original" in summary.summary(RESULTS)) is ("bd " in RESULTS.partition("; medians")[0])
    slow = RESULTS.replace(
        "| dispatch tick |  |",
        "| dispatch tick |  | 1,234.5 ms | 9.0 ms | 137.2 | 2,345.6 ms | 0.5 | |  |\n| it was |  |",
    )
    page_of_slow = summary.summary(slow)
    assert "1,234 ms as a command" in page_of_slow
    assert "The original needs 2,346 ms." in page_of_slow
    assert "beside the original and the floor" in page_of_slow


def test_the_bars_of_the_chart_are_in_proportion() -> None:
    root = ET.fromstring(summary.chart(RESULTS))
    bars = [float(each.get("width", 0)) for each in root.iter() if each.tag.endswith("rect")]
    table = summary.parse(RESULTS)
    expected = [
        float(table[name][column].split()[0])
        for _, name in summary.TICKS
        for column in ("dolt_watch", "original", "floor")
        if table[name][column]
    ]
    most = max(expected)
    assert bars == pytest.approx([each / most * max(bars) for each in expected], abs=0.6)


def test_a_page_of_results_can_be_read_back() -> None:
    made = page([Row(LINE, Figure("tick", 1.5, 1.0))], "a machine; medians", "2026-01-02", False)
    assert summary.parse(made) == {
        "tick": {
            "what": "tick",
            "at": "",
            "dolt_watch": "1.5 ms",
            "floor": "1.0 ms",
            "×4": "1.50",
            "original": "",
            "×6": "",
            "bar": "≤ 1.4 × floor",
            "": "fails",
        }
    }
    assert "Bars that don't hold: tick." in made
    assert "quick run" not in made


def test_a_bar_that_does_not_hold_is_not_hidden() -> None:
    assert Row(LINE, Figure("tick", 1.5, 1.0)).cells[-2:] == ("≤ 1.4 × floor", "fails")
    assert Row(LINE, Figure("tick", 1.3, 1.0)).cells[-1] == "holds"
    assert Row(LINE, Figure("tick", 1.3)).cells[-1] == "fails", "there is no floor beside it"
    assert Row(LINE._replace(bar=None), Figure("tick", 9.0, 1.0)).cells[-2:] == ("", "")


@pytest.mark.parametrize("names", [[], ["tick", "tick"], ["tick", "tock"]])
def test_a_part_measures_each_of_its_lines_once(names: list[str]) -> None:
    part = Part("ticks", "Ticks", "", [LINE])
    with pytest.raises(RuntimeError, match="ticks: not"):
        list(rows(part, [Figure(name, 1.0) for name in names]))
