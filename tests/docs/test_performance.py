"""docs/performance.md is of the bench as it is: the same lines, and what is said of them."""

from __future__ import annotations

import pytest

from bench.lines import FLOOR, Bar, Line, Part
from bench.page import declared, explained, named
from bench.table import Figure, Row, rows
from tests.docs.conftest import ROOT

PAGE = (ROOT / "docs/performance.md").read_text("utf-8")
LINE = Line("tick", "ms", "nothing", "it is not", Bar(1.4, FLOOR))


def test_the_page_has_every_line_and_no_other() -> None:
    names = [line.name for line in declared()]
    assert len(set(names)) == len(names) > 40
    assert named(PAGE) == names, "python -m bench --write docs/performance.md"


def test_what_the_page_says_of_a_line_is_what_is_declared() -> None:
    assert PAGE.endswith("\n".join(explained())), "python -m bench --write docs/performance.md"


def test_a_bar_that_does_not_hold_is_not_hidden() -> None:
    assert Row(LINE, Figure("tick", 1.5, 1.0)).cells[-2:] == ("≤ 1.4 × floor", "fails")
    assert Row(LINE, Figure("tick", 1.3, 1.0)).cells[-1] == "holds"
    assert Row(LINE, Figure("tick", 1.3)).cells[-1] == "fails", "nothing stood beside it"
    assert Row(LINE._replace(bar=None), Figure("tick", 9.0, 1.0)).cells[-2:] == ("", "")


@pytest.mark.parametrize("names", [[], ["tick", "tick"], ["tick", "tock"]])
def test_a_part_measures_its_lines_all_and_once(names: list[str]) -> None:
    part = Part("ticks", "Ticks", "", [LINE])
    with pytest.raises(RuntimeError, match="ticks: not"):
        list(rows(part, [Figure(name, 1.0) for name in names]))
