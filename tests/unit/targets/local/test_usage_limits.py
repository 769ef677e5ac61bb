"""Usage limits: which output names one, and when it resets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from dolt_watch.targets.local.usage_limits import InvalidPattern, UsageLimits, reset_time
from dolt_watch.targets.local.verdicts import Ending
from tests.unit.targets.local.agents import local, run

LOCAL = timezone(timedelta(hours=2))
NOW = datetime(2026, 4, 18, 14, 30, tzinfo=LOCAL)
SECOND, LONG = timedelta(seconds=1), timedelta(minutes=5)
ALL = ("claude", "codex", "gemini")


@pytest.mark.parametrize(
    ("line", "resets"),
    [
        (
            "Claude usage limit reached. Your limit will reset at 6pm (Europe/Berlin).",
            "2026-04-18T18:00:00+02:00",
        ),
        ("Claude AI usage limit reached|1776528000", "2026-04-18T18:00:00+02:00"),
        ("5-hour limit reached ∙ resets 6pm", "2026-04-18T18:00:00+02:00"),
        ("You've hit your limit · resets 3am (America/New_York)", "2026-04-19T09:00:00+02:00"),
        ("You've hit your session limit · resets 11:30am", "2026-04-19T11:30:00+02:00"),
        ("Weekly limit reached ∙ resets Apr 25 at 5pm", "2026-04-18T17:00:00+02:00"),
        (
            "You've hit your usage limit. Try again in 3 days 4 hours 12 minutes.",
            "2026-04-19T14:30:00+02:00",
        ),
        (
            (
                "You've hit your usage limit. To get more access now, try again in 2 hours and 5"
                " minutes."
            ),
            "2026-04-18T16:35:00+02:00",
        ),
        ("You've hit your usage limit. Try again at 8:05 PM.", "2026-04-18T20:05:00+02:00"),
        (
            "Rate limit reached for gpt-5 on tokens per min. Please try again in 11.5s.",
            "2026-04-18T14:30:11.500000+02:00",
        ),
        (
            (
                "You have exhausted your capacity on this model. Your quota will reset after"
                " 18h31m10s."
            ),
            "2026-04-19T09:01:10+02:00",
        ),
        (
            "Quota exceeded for quota metric 'Gemini requests'. Please retry in 24s.",
            "2026-04-18T14:30:24+02:00",
        ),
        ("usage limit reached, resets 18:00", "2026-04-18T18:00:00+02:00"),
        ("usage limit reached, resets at 18:00 UTC", "2026-04-18T20:00:00+02:00"),
        ("usage limit reached until 2026-04-18T15:00:00Z", "2026-04-18T17:00:00+02:00"),
        ("usage limit reached until 2026-04-18 15:00", "2026-04-18T15:00:00+02:00"),
        ("usage limit reached, resets 12am", "2026-04-19T00:00:00+02:00"),
        ("usage limit reached, resets 12pm", "2026-04-19T12:00:00+02:00"),
        ("usage limit reached, resets 2:30pm", "2026-04-19T14:30:00+02:00"),
    ],
)
def test_known_messages(line: str, resets: str) -> None:
    found = UsageLimits(ALL).match(f"Working…\n{line}\n\n", 1, SECOND)
    assert found == line
    reset = reset_time(found, NOW, LOCAL)
    assert reset is not None and reset == datetime.fromisoformat(resets)


@pytest.mark.parametrize(
    "line",
    [
        "usage limit reached",
        "usage limit reached, resets soon",
        "usage limit reached|1600000000",
        "resets 25:00",
        "resets 13pm",
        "resets 0am",
        "resets 18:75",
        "until 2026-13-45T00:00:00Z",
        "try again in 500ms",
        "after 0 seconds",
        "resets 6pmish",
    ],
)
def test_no_time_that_could_be_meant(line: str) -> None:
    assert reset_time(line, NOW, LOCAL) is None


def test_a_zone_that_does_not_exist_is_the_machines() -> None:
    assert reset_time("resets 6pm (Middle/Earth)", NOW, LOCAL) == datetime(
        2026, 4, 18, 18, tzinfo=LOCAL
    )


def test_a_date_after_tomorrow_is_tried_after_a_day() -> None:
    assert reset_time("until 2027-01-01T00:00:00Z", NOW, LOCAL) == NOW + timedelta(days=1)


@pytest.mark.parametrize(
    "line", ["error: test failed", "I fixed the rate limiter", "limit your output", ""]
)
def test_other_failures_are_no_limits(line: str) -> None:
    assert UsageLimits(ALL).match(line, 1, SECOND) == ""


def test_what_an_answer_quotes_after_a_long_run_is_no_limit() -> None:
    limits = UsageLimits(ALL)
    said = "Done: the client now shows 'usage limit reached'."
    assert limits.match(said, 0, LONG) == ""
    assert limits.match(said, 0, SECOND) == said
    assert limits.match(said, None, SECOND) == "", "a signal ended it"


def test_an_exit_code_and_own_patterns() -> None:
    limits = UsageLimits(("exit 75", r"no credits \(\d+\)"))
    assert limits.match("x", 75, LONG) == "exit code 75"
    assert limits.match("NO CREDITS (3)\nbye", 75, LONG) == "NO CREDITS (3)"
    assert limits.match("No credits (3)", 1, LONG) == "No credits (3)"
    assert limits.match("usage limit reached", 1, LONG) == "", "presets are replaced"


@pytest.mark.parametrize("entry", ["", "(", "exit 75|["])
def test_a_pattern_that_is_none(entry: str) -> None:
    with pytest.raises(InvalidPattern):
        UsageLimits((entry,))


def test_a_run_that_meets_a_limit_says_so(tmp_path) -> None:  # type: ignore[no-untyped-def]
    report = run(local(tmp_path, "echo 'usage limit reached, try again in 2 hours'; exit 1"))
    assert (report.status_text, report.limited, report.dead) == ("usage limit", True, True)
    assert report.error == "usage limit reached, try again in 2 hours"
    assert report.resets_at is not None
    left = report.resets_at - datetime.now(UTC)
    assert timedelta(minutes=119) < left <= timedelta(hours=2)


def test_quick_failures_are_those_of_the_agent_itself() -> None:
    for word, quick in (("failed", True), ("killed", True), ("timeout", False), ("stopped", False)):
        assert Ending(word, "", True, NOW, SECOND).failed_quickly is quick
    assert not Ending("failed", "", True, NOW, LONG).failed_quickly
