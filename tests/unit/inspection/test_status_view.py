"""The text of ``status``: beads that need a user first, and lines that fit the screen."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from dolt_watch.core.model import Capacity, HoldReason, Pause, State
from dolt_watch.inspection.recent import Recent
from dolt_watch.inspection.screen import Screen
from dolt_watch.inspection.status import BeadStatus, Status
from dolt_watch.inspection.status_view import GROUP_LIMIT, show_status
from dolt_watch.inspection.worker_liveness import Liveness
from dolt_watch.stats import DurationStats
from dolt_watch.timestamps import iso

NOW = datetime(2026, 4, 18, 12, tzinfo=UTC)
WIDE = "漢字" * 30


def bead(id: str, phase: str, why: str = "", title: str = "", **more: object) -> BeadStatus:
    return BeadStatus(
        id, phase, "agent", NOW - timedelta(minutes=9), 1, "", why, title=title, **more
    )  # type: ignore[arg-type]


def status(*beads: BeadStatus, **more: object) -> Status:
    made = Status(NOW, "c1", "c1", NOW, False, (), {"board": Capacity(2)}, beads, None, State())
    return made._replace(**more)


def screen(width: int, height: int = 40, *, color: bool = False, unicode: bool = True) -> Screen:
    return Screen(bool(width), width, height, color=color, unicode=unicode)


def text(now: Status, width: int = 0, limit: int | None = None, **more: bool) -> list[str]:
    shown = screen(width, **more)
    return list(shown.as_text(show_status(now, shown, limit)))


def everything() -> Status:
    worker = Liveness(NOW, False, "web-1", None, NOW, 1, NOW - timedelta(hours=1), True, ("bd-r2",))
    queue = [
        bead(
            f"bd-{n}",
            "waiting",
            f"place {n} of 30 in the queue",
            f"title {n}",
            place=n,
            next=n == 1,
        )
        for n in range(1, 31)
    ]
    return status(
        bead("bd-q1", "quarantined", "HTTP 400: bd-q1 not found", "One"),
        bead("bd-q2", "quarantined", "HTTP 400: bd-q2 not found", WIDE),
        bead("bd-q3", "quarantined", "HTTP 500", "\x1b[31mred"),
        bead("bd-u", "unknown", "connection closed", "Sent?"),
        bead("bd-h", "held", "its attempts were lost with history", "Held"),
        bead("bd-r1", "running", "", "Runs", silent_at=NOW + timedelta(minutes=5)),
        bead("bd-r2", "running", "", "Silent", silent_at=NOW - timedelta(minutes=5)),
        bead("bd-c", "claimed", "", "Sends"),
        *queue,
        bead("bd-d", "waiting", "blocked by bd-1", "Blocked", place=31, gate="ready"),
        worker=worker,
        paused=(Pause("agent", "lunch", NOW, "ann"),),
        targets={"board": Capacity(2), "gone": Capacity(None, "Connection refused", down=True)},
        rules={"agent": HoldReason("max_in_flight", "4 of 4 in flight")},
        merging=True,
        migrating=True,
    )


@pytest.mark.parametrize("width", [10, 20, 33, 40, 60, 80, 81, 120, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_wider_than_the_terminal(width: int, unicode: bool) -> None:
    lines = text(everything(), width, 0, unicode=unicode)
    assert max(map(cell_len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)
    if not unicode:
        assert "…" not in "".join(lines)
    if width >= 60:
        words = set(" ".join(lines).split())
        assert {one.bead for one in everything().beads} <= words, "IDs are never cut"


def test_a_pipe_gets_whole_titles_without_escapes() -> None:
    lines = text(everything())
    assert any(WIDE in line for line in lines)
    assert "\x1b" not in "".join(lines) and "\\x1b[31mred" in "".join(lines)
    assert sum("place" in line for line in lines) == 0, "a position is not said twice"
    assert any(line.startswith("quarantined ") for line in lines), "words, no symbols"
    assert not {"✗", "…"} & set("".join(lines))


def test_colors_only_where_wanted() -> None:
    assert re.search("\x1b\\[31m✗ quarantined", "\n".join(text(everything(), 80, color=True)))
    assert "\x1b" not in "\n".join(text(everything(), 80, color=False))


def test_what_needs_a_person_comes_first() -> None:
    lines = text(everything(), 120)
    places = [
        next(n for n, line in enumerate(lines) if line.startswith(head))
        for head in ("worker:", "target:", "beads:", "NEEDS YOU (10)", "RUNNING (3)", "QUEUE (31)")
    ]
    assert places == sorted(places)
    assert lines[0].startswith("worker:   no worker for 0s although work is due")
    said = "\n".join(lines)
    for fix in (
        "fix: dolt_watch run",
        "fix: dolt_watch reap",
        "fix: bd dolt commit",
        "fix: dolt_watch doctor",
        "fix: dolt_watch retry bd-q1 bd-q2",
        "fix: dolt_watch retry bd-q3",
        "fix: dolt_watch retry bd-u --not-running",
        "fix: dolt_watch retry bd-h",
    ):
        assert said.count(fix) == 1, (fix, said)
    assert "HTTP 400: <id> not found" in said, "one cause, said once"
    assert "HTTP 500" in said


def test_counts_and_states() -> None:
    lines = text(everything(), 200)
    (counts,) = [line for line in lines if line.startswith("beads:")]
    assert counts == (
        "beads:    3 quarantined, 1 unknown, 1 held, 2 running, 1 claimed, 31 waiting"
    )
    assert any(line.startswith("! silent ") and "bd-r2" in line for line in lines)
    assert any(line.startswith("▶ running") and "reaped at" in line for line in lines)
    assert any(
        "held: rule agent: 4 of 4 in flight (30 beads in its queue)" in line for line in lines
    )


def test_reasons_have_the_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    why = f"deferred until {iso(NOW)}"
    one = status(
        bead("bd-1", "waiting", why, place=1, gate="ready"),
        bead("bd-2", "quarantined", why),
        rules={"agent": HoldReason("outage", f"unreachable since {iso(NOW)}")},
    )
    said = "\n".join(text(one, 120))
    assert said.count("21:00:00") == 4 and "T12:00:00Z" not in said, "as the rest of the screen"
    assert "\n".join(text(one)).count("2026-04-18T12:00:00Z") == 3
    monkeypatch.undo()
    time.tzset()


def test_the_last_day_in_one_line() -> None:
    took = DurationStats.of([timedelta(minutes=20), timedelta(minutes=40)])
    lines = text(everything()._replace(recent=Recent(12, 4, took)), 120)
    (line,) = [line for line in lines if line.startswith("last 24h:")]
    assert line == "last 24h: 12 done, 4 failed, 75.0% success, took 30m (median), 40m (p95)"
    nothing = text(everything()._replace(recent=Recent(0, 0, DurationStats(0))), 120)
    assert not any(line.startswith("last 24h") for line in nothing)


def test_the_queue_in_its_order_and_the_rest_as_one_line() -> None:
    lines = text(everything(), 80, height=90)
    start = lines.index("QUEUE (31)") + 2
    rows = [line.split() for line in lines[start : start + GROUP_LIMIT]]
    assert [row[:2] for row in rows] == [[str(n), f"bd-{n}"] for n in range(1, GROUP_LIMIT + 1)]
    assert "next" in rows[0] and "next" not in rows[1]
    rest = " ".join(" ".join(lines[start + GROUP_LIMIT :]).split())
    assert rest == (
        "next: bd-21 title 21, bd-22 title 22, bd-23 title 23; 8 more (dolt_watch status --all)"
    )
    assert any(line.split()[:2] == ["-", "bd-d"] for line in text(everything(), 80, 0))


@pytest.mark.parametrize("height", [24, 30, 50, 80])
def test_a_long_queue_collapses_to_the_screen(height: int) -> None:
    beads = [bead(f"bd-{n}", "waiting", "", "t", place=n) for n in range(1, 2001)]
    lines = text(status(*beads), 80, height=height)
    assert len(lines) < height
    assert "more (dolt_watch status --all)" in " ".join(" ".join(lines).split())


def test_a_rule_whose_credential_was_refused_needs_a_person() -> None:
    lines = text(status(rules={"agent": HoldReason("stopped", "its target refused it")}), 80)
    assert "NEEDS YOU (1)" in lines
    assert any("rule agent: its target refused it" in line for line in lines)
    assert any("resume --rule agent" in line for line in lines)


def test_nothing_to_do() -> None:
    assert text(status(), 80)[-1] == "No bead is waiting, running or held."
    assert not any("NEEDS" in line for line in text(status(), 80))


def test_times_are_local_on_a_terminal_and_utc_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert screen(80).moment(NOW, NOW) == "21:00:00"
        assert screen(80).moment(NOW - timedelta(days=1), NOW) == "04-17 21:00"
        assert screen(80).moment(NOW - timedelta(days=400), NOW) == "2025-03-14"
        assert screen(0).moment(NOW, NOW) == "2026-04-18T12:00:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("env", "color"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_what_the_environment_asks_for(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], color: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert Screen.of_stdout().color is color
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    assert Screen.of_stdout().color is False and Screen.of_stdout().width == 0
