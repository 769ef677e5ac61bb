"""The text of ``doctor``: problems first, totals at the end."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from dolt_watch.inspection.doctor.findings import failure, named, ok, warning
from dolt_watch.inspection.doctor.view import finding_lines, summary
from dolt_watch.inspection.screen import Screen

FOUND = [
    *named("settings", [ok("readable; rules: agent")]),
    *named("beads", [warning("1 quarantined: " + "long words " * 20, "dolt_watch status")]),
    *named("connection", [ok("127.0.0.1:3306")]),
    *named(
        "target",
        [failure("Connection refused", "start the service at http://a-b-c.example:8080")],
    ),
]


def screen(width: int) -> Screen:
    return Screen(bool(width), width, 40, color=False, unicode=True)


def text(width: int, *, quiet: bool = False) -> list[str]:
    return list(screen(width).as_text(finding_lines(FOUND, screen(width), quiet=quiet)))


def test_problems_first_and_a_sum_last() -> None:
    lines = text(0)
    assert [line.split()[0] for line in lines if line and line[0] != " "] == [
        "failure",
        "warning",
        "ok",
        "ok",
        "2",
    ]
    assert lines[-1] == summary(FOUND) == "2 ok, 1 warning, 1 failure"
    assert lines[1].strip() == "fix: start the service at http://a-b-c.example:8080"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_fits_a_terminal_and_loses_no_word(width: int) -> None:
    lines = text(width)
    assert max(map(cell_len, lines)) <= width
    assert " ".join(lines).split().count("long") == 20
    assert "http://a-b-c.example:8080" in " ".join(lines).split(), "no break at hyphens"


def test_quiet_prints_problems_only() -> None:
    assert [line.split()[0] for line in text(0, quiet=True)] == [
        "failure",
        "fix:",
        "warning",
        "fix:",
    ]
    well = Screen(False, 0, 0, color=False, unicode=False)
    assert finding_lines(FOUND[:1], well, quiet=True) == []
