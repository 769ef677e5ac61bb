"""Reset times of usage limits in the agents' wording."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolt_watch.targets.local.reset_times import LONGEST_REST, reset_time

LOCAL = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 30, 14, 30, tzinfo=LOCAL)
"""A Monday."""
A_DAY = "12-01T14:30"


@pytest.mark.parametrize(
    ("line", "resets"),
    [
        # Times of day
        ("limit reached, resets 6pm", "11-30T18:00"),
        ("Your limit will reset at 3:30 pm (Europe/Berlin)", "11-30T15:30"),
        ("resets 3am (America/New_York)", "12-01T09:00"),
        ("resets 11:30am", "12-01T11:30"),
        ("resets 18:00", "11-30T18:00"),
        ("resets at 18:00:00", "11-30T18:00"),
        ("resets 6 P.M.", "11-30T18:00"),
        ("resets 12am", "12-01T00:00"),
        ("resets 12pm", "12-01T12:00"),
        ("resets at midnight", "12-01T00:00"),
        ("resets at noon", "12-01T12:00"),
        ("Try again at 8:05\N{NARROW NO-BREAK SPACE}PM.", "11-30T20:05"),
        ("try again after 6pm", "11-30T18:00"),
        ("available again at 18:00", "11-30T18:00"),
        ("Limit resets: 6pm", "11-30T18:00"),
        ("Next reset: 18:00", "11-30T18:00"),
        ("Renews 6pm", "11-30T18:00"),
        ("refreshes at 6pm", "11-30T18:00"),
        ("Since 9:15 the limit is reached. It resets at 6pm, then try again", "11-30T18:00"),
        # Zones
        ("resets 6pm UTC", "11-30T19:00"),
        ("resets at 18:00 (UTC)", "11-30T19:00"),
        ("resets 18:00Z", "11-30T19:00"),
        ("resets 6pm UTC+2", "11-30T17:00"),
        ("resets 6pm (GMT+5:30)", "12-01T13:30"),
        ("resets 18:00 -03:00", "11-30T22:00"),
        ("resets at 6 AM PST", "11-30T15:00"),
        ("resets 10am PT", "11-30T19:00"),
        ("resets 10am Pacific time", "11-30T19:00"),
        ("resets 11:00 EST", "11-30T17:00"),
        ("resets 6pm (Etc/GMT+5)", "12-01T00:00"),
        ("resets 6pm America/Argentina/Buenos_Aires", "11-30T22:00"),
        ("resets 6pm (Middle/Earth)", "11-30T18:00"),
        ("resets 6pm (../../etc/passwd)", "11-30T18:00"),
        ("resets 6pm local time", "11-30T18:00"),
        ("resets 6pm +99", "11-30T18:00"),
        ("resets 6pm XYZ", "11-30T18:00"),
        # Dates
        ("resets tomorrow at 2pm", "12-01T14:00"),
        ("resets tomorrow", "12-01T00:00"),
        ("resets on Monday at 6pm", "11-30T18:00"),
        ("resets Mon 6am", A_DAY),
        ("resets Tue 6am", "12-01T06:00"),
        ("resets Dec 1 at 5am", "12-01T05:00"),
        ("resets Dec 1, 2026, 5am", "12-01T05:00"),
        ("resets 1 December 05:00", "12-01T05:00"),
        ("resets Dec 3 at 5pm", A_DAY),
        ("resets Jan 2 at 5pm", A_DAY),
        ("try again at Nov 30th, 2026 6:05 PM.", "11-30T18:05"),
        ("resets Mon, 30 Nov 2026 18:00:00 GMT", "11-30T19:00"),
        ("resets 2026-12-01", "12-01T00:00"),
        ("until 2026-11-30T18:00Z", "11-30T19:00"),
        ("resets at 2026-11-30T18:00:00.123456+0100", "11-30T18:00"),
        ("resets at 2026-11-30 18:00 UTC", "11-30T19:00"),
        ("resets at 2026-11-30 18:00", "11-30T18:00"),
        ("until 2027-01-01T00:00:00Z", A_DAY),
        ("2026-11-30T14:29:58Z error: usage limit reached, try again in 2h", "11-30T16:30"),
        ("[2026-11-30 22:29:58] usage limit reached", None),
        # Durations
        ("try again in 2h", "11-30T16:30"),
        ("Try again in 3 days 4 hours 12 minutes.", A_DAY),
        ("try again in 2 hours and 5 minutes.", "11-30T16:35"),
        ("quota will reset after 18h31m10s.", "12-01T09:01"),
        ("resets in 1 hr, 30 mins", "11-30T16:00"),
        ("resets in about an hour", "11-30T15:30"),
        ("resets in ~2h", "11-30T16:30"),
        ("resets in 01:30:00", "11-30T16:00"),
        ("resets: 1h 30m", "11-30T16:00"),
        ("wait 5 minutes", "11-30T14:35"),
        ("Please retry in 24s.", "11-30T14:30"),
        ("try again in 99999999999999999999 days", A_DAY),
        ("Retry-After: 120", "11-30T14:32"),
        ("retry_after=120", "11-30T14:32"),
        ('"retryDelay": "240s"', "11-30T14:34"),
        ('"usage_limit_reached","resets_in_seconds":1800}', "11-30T15:00"),
        # Seconds since 1970
        ("Claude AI usage limit reached|1796061600", "11-30T19:00"),
        ('{"type":"usage_limit_reached","resets_at":1796061600}', "11-30T19:00"),
        ('{"resetsAt": 1796061600000}', "11-30T19:00"),
        # No time, or a past time
        ("usage limit reached", None),
        ("resets soon", None),
        ("usage limit reached|1600000000", None),
        ("resets 2:25pm", None),
        ("resets Nov 30 at 9am", None),
        ("resets 25:00", None),
        ("resets 13pm", None),
        ("resets 0am", None),
        ("resets 18:75", None),
        ("resets Feb 30", None),
        ("until 2026-13-45T00:00:00Z", None),
        ("try again in 500ms", None),
        ("after 0 seconds", None),
        ("resets in a few hours", None),
        ("resets 6pmish", None),
        ("presets 6pm", None),
        ("at 6pm I wrote a test", None),
    ],
)
def test_the_time_in_a_message(line: str, resets: str | None) -> None:
    found = reset_time(line, NOW, LOCAL)
    expected = datetime.fromisoformat(f"2026-{resets}").replace(tzinfo=LOCAL) if resets else None
    shown = found.astimezone(LOCAL).replace(second=0, microsecond=0) if found else None
    assert shown == expected


def test_seconds_count() -> None:
    assert reset_time("try again in 11.5s", NOW, LOCAL) == NOW + timedelta(seconds=11.5)


WORDS = (
    *("resets", "again", "at", "in", "after", "6pm", "25:61", "2026-02-30", "2026-11-30T18:00Z"),
    *("|1796061600", "Feb", "30", "Mon", "3h", "an", "hour", "UTC+99", "(Europe/Berlin)", "(/)"),
    *("retry_after:", "99999999999999999999", "٣pm", "0", "9999"),
)


@given(
    st.one_of(st.text(max_size=200), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
)
def test_any_text_has_a_time_to_come_or_none(text: str) -> None:
    found = reset_time(f"resets {text}", NOW, LOCAL)
    assert found is None or NOW < found <= NOW + LONGEST_REST
