"""The screen: text of other programs never reaches a terminal unescaped."""

from __future__ import annotations

import pytest

from dolt_watch.inspection.screen import Cell, Column, Screen

EVIL = "bd-\x1b[2J\x1b]0;owned\x07\r\nnext\u202e\x9b31m"


@pytest.mark.parametrize("width", [0, 20, 80, 200])
@pytest.mark.parametrize("color", [False, True], ids=["plain", "color"])
def test_each_part_escapes_control_characters(width: int, color: bool) -> None:
    screen = Screen(bool(width), width, 24, color=color, unicode=True)
    columns = [Column("HEAD"), Column("TEXT", least=8)]
    cells = [[Cell(EVIL, "red"), Cell(EVIL)]]
    parts = {
        "rows": screen.rows(columns, cells),
        "wrapped rows": screen.rows(columns, cells, 2, wrap=True),
        "prose": screen.prose(EVIL, 4, "bold", EVIL),
        "heading": [screen.heading(EVIL, EVIL)],
        "split": [screen.split(screen.heading("a"), EVIL)],
    }
    for name, lines in parts.items():
        for line in lines:
            assert line.plain.isprintable(), (name, line.plain)


def test_escape_sequences_of_an_output_are_those_of_styles() -> None:
    screen = Screen(True, 80, 24, color=True, unicode=True)
    [text] = screen.as_text([screen.heading(EVIL)])
    assert text.startswith("\x1b[1mbd-\\x1b[2J")
    assert text.count("\x1b") == 2


def test_one_long_text_does_not_take_the_room_of_a_column_whose_texts_are_all_cut() -> None:
    screen = Screen(True, 70, 24, color=False, unicode=True)
    columns = [Column("TITLE", least=10), Column("REASON", least=10)]
    rows = [[Cell("a title of thirty characters.."), Cell("")] for _ in range(9)]
    rows.append([Cell("short"), Cell("a reason " * 30)])
    lines = screen.rows(columns, rows)
    assert lines[1].plain == "a title of thirty characters.."
    assert len(lines[-1].plain) == 70


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [
        (
            'failed (HTTP 500: {"error": "no \\"room\\""}); again',
            'failed (HTTP 500: no "room"); again',
        ),
        ('HTTP 409: {"detail":"busy"}', "HTTP 409: busy"),
        ('HTTP 500: {"error": "x", "code": 7}', 'HTTP 500: {"error": "x", "code": 7}'),
        ('HTTP 500: {"error": "\\x"}', 'HTTP 500: {"error": "\\x"}'),
        ("HTTP 502: <html>", "HTTP 502: <html>"),
    ],
)
def test_a_terminal_shows_the_message_of_a_service(recorded: str, shown: str) -> None:
    assert Screen(True, 80, 24, color=False, unicode=True).sentence(recorded) == shown
    assert Screen(False, 0, 0, color=False, unicode=False).sentence(recorded) == recorded


def test_a_wrapped_column_takes_no_room_from_the_others() -> None:
    screen = Screen(True, 40, 24, color=False, unicode=True)
    columns = [Column("WHO", least=8), Column("WHAT", least=10)]
    rows = [[Cell("beads-dispatcher"), Cell("claims it " * 9)]] * 3
    assert screen.rows(columns, rows, wrap=True)[1].plain.startswith("beads-dispatcher  claims it")
