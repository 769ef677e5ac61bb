"""Lines of a run's output."""

from __future__ import annotations

import pytest

from dolt_watch.cli import logs


def test_lines_are_those_of_the_whole_output_however_it_is_cut() -> None:
    output = "one\r\ntwo ü\n\nlast".encode()
    for size in (1, 2, 5, 100):
        pieces = [output[start : start + size] for start in range(0, len(output), size)]
        assert list(logs._lines(pieces)) == ["one", "two ü", "", "last"]


def test_output_without_line_breaks_is_passed_on_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LONGEST_LINE", 1000)
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 300
            yield b"x" * 300

    lines = logs._lines(endless())  # type: ignore[arg-type]
    assert [len(next(lines)), len(next(lines))] == [1200, 1200]
    assert taken == 2400, "no more is kept than one line"
