"""Usage limits: detection in the output. `test_reset_times.py` tests the times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dolt_watch.targets.local.runs import Run
from dolt_watch.targets.local.usage_limits import InvalidPattern, UsageLimits, reset_near
from dolt_watch.targets.local.verdicts import report_end
from tests.unit.targets.local.agents import local, run

LOCAL = timezone(timedelta(hours=2))
NOW = datetime(2026, 4, 18, 14, 30, tzinfo=LOCAL)
SECOND, LONG = timedelta(seconds=1), timedelta(minutes=5)
ALL = ("claude", "codex", "gemini")


@pytest.mark.parametrize(
    "line",
    [
        "Claude usage limit reached. Your limit will reset at 6pm (Europe/Berlin).",
        "Your limit will reset at 3:30 pm (Europe/Berlin)",
        "Claude AI usage limit reached|1776528000",
        "5-hour limit reached ∙ resets 6pm",
        "limit reached, resets 6pm",
        "You've hit your limit · resets 3am (America/New_York)",
        "Weekly limit reached · resets 10am (Asia/Seoul) · /upgrade to Max",
        "Credit balance is too low",
        'API Error: 429 {"type":"error","error":{"type":"rate_limit_error","message":"Later"}}',
        "You've hit your usage limit. Try again in 3 days 4 hours 12 minutes.",
        '{"error":{"type":"usage_limit_reached","resets_in_seconds":120}}',
        "exceeded retry limit, last status: 429 Too Many Requests, request id: 1",
        "Rate limit exceeded, try again in 20s",
        "Rate limit reached for gpt-5 on tokens per min. Please try again in 11.5s.",
        "insufficient_quota: You exceeded your current quota, please check your plan",
        "You have exhausted your daily quota on this model.",
        "You have reached your quota for today.",
        "Quota exceeded for quota metric 'Gemini requests'. Please retry in 24s.",
    ],
)
def test_known_messages(line: str) -> None:
    assert UsageLimits(ALL).match(f"Working…\n{line}\n\n", 1, SECOND) == line


def test_colors_and_typographic_apostrophes_are_ignored() -> None:
    said = "\x1b[31mYou’ve hit your \x1b[1musage\x1b[0m limit\x1b[0m"
    assert UsageLimits(ALL).match(said, 1, SECOND) == "You've hit your usage limit"


def near(tail: str) -> datetime | None:
    line = UsageLimits((*ALL, "exit 75")).match(tail, 75, SECOND)
    return reset_near(tail, line, NOW, LOCAL)


@pytest.mark.parametrize(
    "tail",
    [
        "usage limit reached\nYour plan resets at 6pm.\nbye",
        "Limits: 5h resets at 6pm, week resets in 3 days\nresets 6pm\nusage limit reached",
        "\x1b[31musage limit reached\x1b[0m\n\n\nTry again at 18:00",
        "see you\nTry again at 6pm",
    ],
)
def test_the_time_may_be_on_a_line_beside_the_message(tail: str) -> None:
    assert near(tail) == datetime(2026, 4, 18, 18, tzinfo=LOCAL)


def test_a_time_far_from_the_message_is_not_its_time() -> None:
    assert near("the job runs again at 6pm\n1\n2\nusage limit reached\n3\n4\nretry at 5pm") is None


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


def test_the_last_line_alone_is_asked_for_a_run_that_took_too_long() -> None:
    limits = UsageLimits(ALL)
    assert limits.match_last("1\nusage limit reached\n\n") == "usage limit reached"
    assert limits.match_last("usage limit reached\nI wrote the test") == ""
    assert limits.match_last("") == ""


@pytest.mark.parametrize("entry", ["", "(", "exit 75|[", ".*", "(limit)?", "^"])
def test_a_pattern_that_is_none(entry: str) -> None:
    with pytest.raises(InvalidPattern):
        UsageLimits((entry,))


def test_a_run_that_meets_a_limit_says_so(tmp_path: Path) -> None:
    report = run(local(tmp_path, "echo 'usage limit reached, try again in 2 hours'; exit 1"))
    assert (report.status_text, report.limited, report.dead) == ("usage limit", True, True)
    assert report.error == "usage limit reached, try again in 2 hours"
    assert report.resets_at is not None
    left = report.resets_at - datetime.now(UTC)
    assert timedelta(minutes=119) < left <= timedelta(hours=2)


def test_a_run_that_tries_against_a_limit_until_its_time_is_over_met_it(tmp_path: Path) -> None:
    script = "while :; do echo 'usage limit reached, resets in 2h. Retrying'; sleep 0.05; done"
    report = run(local(tmp_path, script, run_timeout=timedelta(seconds=0.4)))
    assert (report.status_text, report.limited, report.dead) == ("usage limit", True, True)
    assert report.resets_at is not None


def test_a_time_without_a_zone_is_in_the_zone_of_the_agent(tmp_path: Path) -> None:
    for settings, zone in (
        ({"env": ("TZ=Asia/Tokyo",)}, ZoneInfo("Asia/Tokyo")),
        ({"env": ("TZ=Middle/Earth",)}, datetime.now().astimezone().tzinfo),
    ):
        # Hours ahead at any time of day: a time that has just passed names no reset.
        hour = (datetime.now(zone) + timedelta(hours=6)).hour
        target = local(
            tmp_path, f"echo 'usage limit reached, resets {hour}:00'; exit 1", **settings
        )
        resets = run(target).resets_at
        assert resets is not None and resets.astimezone(zone).hour == hour
    target = local(tmp_path, "exit 1")
    target._environ = {**target._environ, "TZ": "America/New_York"}
    assert str(target.zone) == "America/New_York"


def test_quick_failures_are_those_of_the_agent_itself() -> None:
    def quick(**end: object) -> bool:
        return report_end(Run("t", "ended", {}, end), UsageLimits(()), UTC).failed_at_start

    assert quick(exit=1, seconds=1.0) and quick(signal=9, seconds=1.0)
    assert not quick(timed_out=True, seconds=1.0)
    assert not quick(stopped={"by": "a"}, exit=1, seconds=1.0)
    assert not quick(exit=1, seconds=300.0)
