"""The recorded inputs of a decision are read as they were written.

Anything else in the ledger reads as nothing, not as an error.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from dolt_watch.core.decisions.policy import (
    ATTEMPTED,
    UNCOMMITTED,
    UNVERSIONED,
    Observations,
    Scope,
)
from dolt_watch.core.decisions.recorded_inputs import (
    READINESS,
    leases_of,
    read_inputs,
    record_inputs,
)
from dolt_watch.core.decisions.settlement import decode_answer
from dolt_watch.core.model import (
    Capacity,
    EntryEffects,
    EntryKind,
    HoldReason,
    JobReport,
    Lease,
    LedgerEntry,
    State,
    Verdict,
)

NOW = datetime(2026, 4, 18, 22, 35, 46, 123456, UTC)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = (
    "now",
    "scope",
    "made",
    "passed",
    "capacity",
    "verdicts",
    "leases",
    "answer",
    "jitter",
    "readiness",
    "poll",
)


def entry(given: Any) -> LedgerEntry:
    detail = {"given": given}
    return LedgerEntry(
        "bd-1",
        1,
        EntryKind.CLAIM,
        1,
        "agent",
        "t",
        "c",
        "o",
        NOW,
        "",
        "",
        "",
        "",
        "dolt-watch",
        detail,
        EntryEffects(),
    )


def test_it_comes_back() -> None:
    capacity = {"board": Capacity(2, "idle", True), "other": Capacity(None, "not asked")}
    verdicts = {"bd-2": JobReport(Verdict.LOST, "gone", "no such job")}
    holds = {
        "bd-3": HoldReason(ATTEMPTED, ""),
        "bd-4": HoldReason(UNCOMMITTED, ""),
        "bd-5": HoldReason("blocked", "by history"),
    }
    holds["bd-6"] = HoldReason(UNVERSIONED, "")
    for scope in (Scope(dispatch=True), Scope(reap=True)):
        written = record_inputs(
            State("h", "m", {}), NOW, scope, holds, Observations(capacity, holds, verdicts)
        )
        read = read_inputs(entry(orjson.loads(orjson.dumps(written))))
        assert (read.now, read.scope) == (NOW, scope)
        assert (dict(read.capacity), dict(read.verdicts)) == (capacity, verdicts)
        assert read.passed == {"bd-3": ATTEMPTED, "bd-4": UNCOMMITTED, "bd-6": UNVERSIONED}, (
            "what history holds is not recorded"
        )
        assert read.readiness == (READINESS if scope.dispatch else 1)


@pytest.mark.parametrize(("written", "read"), [(0.25, 0.25), (1, 1.0), ("much", 0.0), (None, 0.0)])
def test_the_random_part_of_a_pause(written: Any, read: float) -> None:
    assert read_inputs(entry({"jitter": written})).jitter == read


def test_the_interval_of_a_run_comes_back() -> None:
    every = timedelta(seconds=2)
    written = record_inputs(State("h", "m", {}), NOW, Scope(reap=True), {}, Observations(), every)
    assert written["poll"] == 2.0
    assert read_inputs(entry(orjson.loads(orjson.dumps(written)))).poll == every
    without = record_inputs(State("h", "m", {}), NOW, Scope(reap=True), {}, Observations())
    assert "poll" not in without


@pytest.mark.parametrize("written", ["2", None, 0, -1, 86400, 1e300, float("nan")])
def test_an_interval_that_no_run_has(written: Any) -> None:
    assert read_inputs(entry({"poll": written})).poll is None


@pytest.mark.parametrize(("written", "read"), [(2, 2), (1, 1), ("2", 1), (None, 1)])
def test_an_entry_that_names_no_readiness_rule_is_of_the_first(written: Any, read: int) -> None:
    assert read_inputs(entry({"readiness": written})).readiness == read
    assert read_inputs(entry({})).readiness == 1


def test_what_only_some_targets_know_of_a_job_comes_back() -> None:
    verdicts = {
        "bd-1": JobReport(Verdict.LOST, "not started", "", dead=True, started=False),
        "bd-7": JobReport(
            Verdict.FINISHED, "failed", "", dead=True, failed_at_start=True, target_failed=True
        ),
        "bd-2": JobReport(
            Verdict.FINISHED, "usage limit", "6pm", dead=True, limited=True, resets_at=NOW
        ),
        "bd-3": JobReport(Verdict.RUNNING, "running", job="j", active_at=NOW),
    }
    written = record_inputs(
        State("h", "m", {}), NOW, Scope(reap=True), {}, Observations(verdicts=verdicts)
    )
    assert written["verdicts"]["bd-1"] == [
        "lost",
        "not started",
        "",
        {"dead": True, "started": False},
    ]
    assert dict(read_inputs(entry(orjson.loads(orjson.dumps(written)))).verdicts) == verdicts
    foreign = {
        "dead": "yes",
        "started": 0,
        "limited": 1,
        "resets_at": "soon",
        "active_at": 3,
        "job": 4,
    }
    read = read_inputs(
        entry({"verdicts": {"a": ["lost", "", "", foreign], "b": ["odd", "", "", {}]}})
    )
    assert dict(read.verdicts) == {"a": JobReport(Verdict.LOST)}


def test_a_verdict_that_no_target_gives() -> None:
    known = ["running", "at work", ""]
    assert list(
        read_inputs(entry({"verdicts": {"bd-1": ["dancing", "", ""], "bd-2": known}})).verdicts
    ) == ["bd-2"]


@drawn(
    JSON
    | st.dictionaries(
        st.sampled_from(NAMES), JSON | st.dictionaries(st.text(max_size=3), JSON, max_size=3)
    )
)
def test_what_somebody_else_wrote_there(given: Any) -> None:
    read = read_inputs(entry(given))
    assert all(isinstance(one, Capacity) for one in read.capacity.values())
    decode_answer(entry(given))


def test_leases_come_back() -> None:
    leases = {"bd-1": Lease("agent", NOW, NOW + timedelta(minutes=5))}
    written = record_inputs(
        State("h", "m", {}), NOW, Scope(reap=True), {}, Observations(leases=leases)
    )
    again = orjson.loads(orjson.dumps(written))
    assert read_inputs(entry(again)).leases == leases == leases_of(again)


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        {},
        {"leases": 1},
        {"leases": {"b": ["agent", "then"]}},
        {"leases": {"b": ["a", "x", "2026-04-18"]}},
        {"leases": {"b": ["agent", "2026-04-18T22:35:46+00:00", "soon"]}},
    ],
)
def test_a_lease_that_no_program_wrote(given: object) -> None:
    assert leases_of(given) == {}


@pytest.mark.parametrize(
    "given",
    [
        {"verdicts": {"b": 1}},
        {"verdicts": {"b": ["running"]}},
        {"verdicts": {"b": ["no such verdict", "", ""]}},
        {"verdicts": {"b": ["no such verdict", "", "", {}]}},
        {"capacity": {"t": 1}},
        {"capacity": {"t": ["many", False, ""]}},
    ],
)
def test_a_report_or_a_capacity_of_another_shape_is_none(given: dict[str, Any]) -> None:
    found = read_inputs(entry(given))
    assert (found.verdicts, found.capacity) == ({}, {})
