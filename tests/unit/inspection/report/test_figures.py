"""Attempts, figures, thinned series and causes of the report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dolt_watch.core.model import EntryEffects, EntryKind, LedgerEntry
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.inspection.causes import cause_of, group_causes
from dolt_watch.inspection.report import series
from dolt_watch.inspection.report.attempts import attempts_of
from dolt_watch.inspection.report.figures import (
    POINTS,
    Figures,
    Measured,
    all_ranges,
    runs_of,
    waits_of,
)
from dolt_watch.inspection.report.lanes import PhaseInterval
from dolt_watch.stats import QueueDepth

NOW = datetime(2026, 4, 18, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def lane(*phases: tuple[str, int, int], until: datetime | None = None) -> list[PhaseInterval]:
    """Return intervals of (phase, minutes before now, attempt). The last one ends at ``until``."""
    begins = [NOW - minutes * MINUTE for _, minutes, _ in phases]
    return [
        PhaseInterval(phase, begin, end, f"why {phase}", f"c{place}", "agent", attempt)
        for place, ((phase, _, attempt), begin, end) in enumerate(
            zip(phases, begins, [*begins[1:], until], strict=True)
        )
    ]


@pytest.mark.parametrize(
    ("phases", "found"),
    [
        ([("waiting", 9, 0)], []),
        ([("waiting", 9, 0), ("claimed", 5, 1)], [(1, "claimed", None, 1)]),
        ([("claimed", 9, 1), ("running", 8, 1)], [(1, "running", None, 1)]),
        ([("claimed", 9, 1), ("running", 8, 1), ("done", 5, 1)], [(1, "done", 4, 2)]),
        ([("running", 9, 1), ("silent", 8, 1), ("reaped", 5, 1)], [(1, "reaped", 4, 2)]),
        ([("running", 9, 1), ("left", 5, 1)], [(1, "ended", 4, 1)]),
        # A user blocked it. The ledger says so where dolt_watch did.
        ([("unknown", 9, 1), ("blocked", 5, 1)], [(1, "ended", 4, 1)]),
        # A user's own work is no attempt.
        ([("running", 9, 0), ("done", 5, 0)], []),
        ([("running", 9, 1), ("running", 5, 0)], [(1, "ended", 4, 1)]),
        ([("claimed", 9, 1), ("waiting", 8, 0)], [(1, "returned", 1, 1)]),
        ([("claimed", 9, 1), ("held", 8, 1)], [(1, "held", 1, 1)]),
        (
            [("claimed", 9, 1), ("backoff", 8, 1), ("claimed", 5, 2), ("quarantined", 4, 2)],
            [(1, "failed", 1, 1), (2, "quarantined", 1, 3)],
        ),
        # The bead is sent again while the outcome of the first request is unknown.
        ([("unknown", 9, 1), ("claimed", 5, 2)], [(1, "unknown", 4, 0), (2, "claimed", None, 1)]),
        ([("unknown", 9, 1), ("claimed", 5, 1)], [(1, "claimed", None, 1)]),
    ],
)
def test_attempts(
    phases: list[tuple[str, int, int]], found: list[tuple[int, str, int | None, int]]
) -> None:
    attempts = [
        (one.number, one.outcome, (one.end - one.begin) // MINUTE if one.end else None, one.last)
        for one in attempts_of("bd-a", lane(*phases))
    ]
    assert attempts == found


def ranges(*lanes: list[PhaseInterval], depths: tuple[QueueDepth, ...] = ()) -> list[Figures]:
    measured = Measured(
        [one for each in lanes for one in attempts_of("b", each) if one.end],
        [one for each in lanes for one in waits_of(each)],
        [one for each in lanes for one in runs_of(each)],
        depths,
        [],
    )
    first = min(each[0].begin for each in lanes)
    return list(all_ranges(measured, first, NOW))


def test_each_range_counts_what_ended_in_it() -> None:
    found = ranges(
        lane(("waiting", 400, 0), ("claimed", 390, 1), ("running", 389, 1), ("done", 380, 1)),
        lane(("waiting", 80, 0), ("claimed", 70, 1), ("running", 69, 1), ("done", 50, 1)),
        lane(("waiting", 40, 0), ("claimed", 20, 1), ("backoff", 10, 1)),
    )
    assert [(one.name, one.done, one.success) for one in found] == [
        ("1h", 1, 1 / 2),
        ("6h", 1, 1 / 2),
        ("24h", 2, 2 / 3),
        ("7d", 2, 2 / 3),
        ("all", 2, 2 / 3),
    ]
    hour, six, day = found[:3]
    assert (hour.begin, six.begin, day.begin) == (
        NOW - HOUR,
        NOW - 6 * HOUR,
        # No range begins before the first event.
        NOW - 400 * MINUTE,
    )
    assert (hour.per_hour, day.per_hour) == (1, pytest.approx(2 / (400 / 60)))
    assert (hour.waiting.number, hour.waiting.median) == (1, 20 * MINUTE)
    assert (six.waiting.number, day.waiting.number) == (2, 3)
    assert (hour.running.median, day.running.longest) == (19 * MINUTE, 19 * MINUTE)


def test_no_figure_of_nothing() -> None:
    (one, *_) = ranges(lane(("waiting", 5, 0)))
    assert (one.success, one.done, one.per_hour, one.waiting.median) == (None, 0, 0, None)
    assert set(one.curves["success"]) == {None}


def test_curves_cover_the_range() -> None:
    depths = (QueueDepth(NOW - 60 * MINUTE, 1, 0), QueueDepth(NOW - 30 * MINUTE, 5, 2))
    done = lane(("claimed", 60, 1), ("running", 59, 1), ("done", 1, 1))
    curves = ranges(done, depths=depths)[0].curves
    assert all(len(curve) == POINTS for curve in curves.values())
    assert (curves["waiting"][0], curves["waiting"][-1]) == (1, 5)
    assert (curves["running"][0], curves["running"][-1]) == (0, 2)
    assert [at for at, value in enumerate(curves["done"]) if value] == [POINTS - 1]


def test_a_thinned_series_keeps_peaks_the_last_value_and_recent_detail() -> None:
    points = [(NOW - timedelta(seconds=second), (1,)) for second in range(7 * 86400, 0, -60)]
    points[1234] = (points[1234][0], (90,))
    points[-1] = (points[-1][0], (7,))
    found = series.thin(points, NOW)
    assert len(found) <= 2 * series.POINTS * (len(series.STRETCHES) + 1)
    assert max(values[0] or 0 for _, values in found) == 90
    assert found[-1] == points[-1]
    assert [at for at, _ in found] == sorted(at for at, _ in found)
    assert [point for point in found if point[0] >= NOW - HOUR] == points[-60:]
    assert series.thin(points[-600:], NOW) == points[-600:], "few points stay as they are"


def test_merged_series_have_all_values_at_each_time() -> None:
    at = [NOW + place * MINUTE for place in range(3)]
    found = series.merge([(at[0], (1, 2)), (at[2], (3, 4))], [(at[1], (9,)), (at[2], (8,))])
    assert found == [(at[0], (1, 2, None)), (at[1], (1, 2, 9)), (at[2], (3, 4, 8))]
    assert series.merge([(at[0], (1,))], []) == [(at[0], (1, None))]


def entry(
    reason: str, kind: EntryKind = EntryKind.FAILED, bead: str = "bd-12", **more: object
) -> LedgerEntry:
    told = ("agent", "", "", "", NOW, "job-7f3", reason, "", "", "ann", {}, EntryEffects())
    found = LedgerEntry(bead, 1, kind, 1, *told)
    return found._replace(**more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("HTTP 500: boom", "HTTP 500: boom"),
        ('HTTP 400: {"error": "Bead bd-12 not found"}', "HTTP 400: Bead <id> not found"),
        ('HTTP 400: {"error": {"message": "no bd-12"}}', "HTTP 400: no <id>"),
        ('HTTP 409: {"status": "busy"}', 'HTTP 409: {"status": "busy"}'),
        ("HTTP 502: {broken}", "HTTP 502: {broken}"),
        ("blocked by bd-12.1, not bd-12.", "Blocked by <id>, not <id>."),
        ("bd-123 is another", "Bd-123 is another"),
        ("job-7f3 failed", "<job> failed"),
        ("no answer in 30s", "No answer in <duration>"),
        ("waited 1h30m", "Waited <duration>"),
        ("at 2026-04-18T12:00:00Z", "At <time>"),
        ("request 0b0e3d5c-1111-4222-8333-944444444444 lost", "Request <uuid> lost"),
        ("commit q8s7d2l4q8s7d2l4q8s7d2l4q8s7d2l4", "Commit <hash>"),
        ("pid 48123 died", "Pid <number> died"),
        ("exit 137 on localhost:8080", "Exit 137 on localhost:8080"),
        ("", "No reason given"),
    ],
)
def test_causes_leave_out_what_differs(reason: str, cause: str) -> None:
    assert cause_of(entry(reason), {"bd-12.1"}) == cause


def test_causes_by_code_and_kind() -> None:
    silent = entry("no progress for 42m (threshold 30m)", EntryKind.REAP)
    assert cause_of(silent._replace(reason_code=ReasonCode.NO_PROGRESS), ()) == "No sign of life"
    ended = entry("x", EntryKind.REAP, detail={"ended": "timeout"})
    assert cause_of(ended, ()) == "The job ended: timeout"
    assert cause_of(entry("y", EntryKind.GIVE_UP), ()) == "The outcome is still unknown"


def test_causes_are_grouped_over_beads_and_kinds() -> None:
    entries = [
        entry("no bd-1", bead="bd-1"),
        entry("no bd-2", EntryKind.QUARANTINED, bead="bd-2", at=NOW + HOUR),
        entry("other", EntryKind.UNKNOWN),
        entry("no bd-3", bead="bd-3", at=NOW - HOUR),
        entry("", EntryKind.DISPATCHED),
    ]
    first, second = group_causes(entries, (), NOW)
    assert (first.text, dict(first.kinds)) == ("No <id>", {"failed": 1, "quarantined": 1})
    assert (first.beads, first.last) == ({"bd-1", "bd-2"}, NOW + HOUR)
    assert (second.text, dict(second.kinds)) == ("Other", {"unknown": 1})


def test_rare_causes_are_counted_together() -> None:
    entries = [entry(f"cause {letter}") for letter in "abcdef"] + [entry("cause a")]
    found = group_causes(entries, (), NOW, limit=3)
    assert [(one.text, one.number) for one in found] == [
        ("Cause a", 2),
        ("Cause b", 1),
        ("Other causes", 4),
    ]
