"""Local times on a terminal have the same format in every message."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from dolt_watch.inspection.screen import Screen
from dolt_watch.timestamps import iso, local_time, localize

NOW = datetime(2026, 4, 18, 20, 13, 6, tzinfo=UTC)
HELD = f"deferred until {iso(NOW)}"


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Yield while the local time zone is two hours ahead of UTC."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("moment", "now", "shown"),
    [
        (NOW, NOW, "22:13:06"),
        (NOW.replace(hour=22), NOW, "04-19 00:13"),
        (NOW.replace(month=1), NOW, "01-18 21:13"),
        (NOW.replace(year=2025), NOW, "2025-04-18"),
        (NOW, None, "2026-04-18 22:13:06"),
    ],
)
def test_a_time_has_as_much_date_as_it_needs(
    moment: datetime, now: datetime | None, shown: str
) -> None:
    assert local_time(moment, now) == shown
    assert localize(f"until {iso(moment)}: lunch", now) == f"until {shown}: lunch"


@pytest.mark.parametrize(
    "text", ["2026-13-41T99:00:00Z", "9999-12-31T23:59:59Z", "x2026-04-18T20:13:06Z", "20:13"]
)
def test_other_text_stays(text: str) -> None:
    assert localize(text, NOW) == text


def test_a_terminal_shows_local_times_and_a_pipe_utc() -> None:
    terminal = Screen(True, 80, 24, color=False, unicode=True)
    pipe = Screen(False, 0, 0, color=False, unicode=False)
    assert [line.plain for line in terminal.at(NOW).prose(HELD)] == ["deferred until 22:13:06"]
    assert terminal.prose(HELD)[0].plain == "deferred until 2026-04-18 22:13:06"
    assert pipe.at(NOW).prose(HELD)[0].plain == HELD
    assert pipe.sentence(HELD) == HELD
    assert terminal.moment(NOW, NOW) == "22:13:06" and pipe.moment(NOW, NOW) == iso(NOW)
