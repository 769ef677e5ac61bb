"""The recorded inputs of a decision survive encoding and decoding.

An invalid value in the ledger reads as missing, without an error.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from dolt_watch.core.decisions.planner import READINESS, record_inputs
from dolt_watch.core.decisions.policy import (
    ATTEMPTED,
    UNCOMMITTED,
    UNVERSIONED,
    Observations,
    Scope,
)
from dolt_watch.core.model import (
    Capacity,
    EntryEffects,
    EntryKind,
    HoldReason,
    JobReport,
    Lease,
    LedgerEntry,
    Outage,
    State,
    Verdict,
)
from dolt_watch.core.model.observations import Health
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.model.recorded_inputs import RecordedInputs, decode_answer, encode_answer
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown

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


def read_inputs(given: Any) -> RecordedInputs:
    return RecordedInputs.decode({"given": given})


def again(written: RecordedInputs) -> RecordedInputs:
    """Return the inputs after they were encoded as JSON and decoded."""
    return RecordedInputs.decode(orjson.loads(orjson.dumps(written.encode())))


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
        read = again(written)
        assert read.now == NOW
        assert read.scope is not None and Scope.of(read.scope) == scope
        assert (dict(read.capacity), dict(read.verdicts)) == (capacity, verdicts)
        assert read.passed == {"bd-3": ATTEMPTED, "bd-4": UNCOMMITTED, "bd-6": UNVERSIONED}, (
            "what history holds is not recorded"
        )
        assert read.readiness == (READINESS if scope.dispatch else None)


@pytest.mark.parametrize(
    ("written", "read"),
    [(0.25, 0.25), (1, 1.0), ("much", None), (None, None), (1e308, None), (-0.1, None)],
)
def test_the_random_part_of_a_pause(written: Any, read: float | None) -> None:
    assert read_inputs({"jitter": written}).jitter == read


@pytest.mark.parametrize(
    "written", ["soon", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T00:00:00Z"]
)
def test_a_time_at_which_nothing_was_decided(written: str) -> None:
    assert read_inputs({"now": written}).now is None


def test_the_interval_of_a_run_comes_back() -> None:
    every = timedelta(seconds=2)
    written = record_inputs(State("h", "m", {}), NOW, Scope(reap=True), {}, Observations(), every)
    assert written.encode()["given"]["poll"] == 2.0
    assert again(written).poll == every
    without = record_inputs(State("h", "m", {}), NOW, Scope(reap=True), {}, Observations())
    assert "poll" not in without.encode()["given"]


@pytest.mark.parametrize("written", ["2", None, 0, -1, 86400, 1e300, float("nan")])
def test_an_interval_that_no_run_has(written: Any) -> None:
    assert read_inputs({"poll": written}).poll is None


@pytest.mark.parametrize(("written", "read"), [(2, 2), (1, 1), ("2", None), (None, None)])
def test_the_version_of_the_readiness_rule(written: Any, read: int | None) -> None:
    assert read_inputs({"readiness": written}).readiness == read
    assert read_inputs({}).readiness is None


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
    assert written.encode()["given"]["verdicts"]["bd-1"] == [
        "lost",
        "not started",
        "",
        {"dead": True, "started": False},
    ]
    assert dict(again(written).verdicts) == verdicts
    foreign = {
        "dead": "yes",
        "started": 0,
        "limited": 1,
        "resets_at": "soon",
        "active_at": 3,
        "job": 4,
    }
    read = read_inputs({"verdicts": {"a": ["lost", "", "", foreign], "b": ["odd", "", "", {}]}})
    assert dict(read.verdicts) == {"a": JobReport(Verdict.LOST)}


def test_a_verdict_that_no_target_gives() -> None:
    known = ["running", "at work", ""]
    assert list(
        read_inputs({"verdicts": {"bd-1": ["dancing", "", ""], "bd-2": known}}).verdicts
    ) == ["bd-2"]


@settings(deadline=None)
@drawn(
    JSON
    | st.dictionaries(
        st.sampled_from(NAMES), JSON | st.dictionaries(st.text(max_size=3), JSON, max_size=3)
    )
)
def test_what_somebody_else_wrote_there(given: Any) -> None:
    read = read_inputs(given)
    assert all(isinstance(one, Capacity) for one in read.capacity.values())
    decode_answer(recorded(None, detail={"given": given}))


def test_leases_come_back() -> None:
    leases = {"bd-1": Lease("agent", NOW, NOW + timedelta(minutes=5))}
    written = record_inputs(
        State("h", "m", {}), NOW, Scope(reap=True), {}, Observations(leases=leases)
    )
    assert again(written).leases == leases


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
    assert read_inputs(given).leases == {}


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
    found = read_inputs(given)
    assert (found.verdicts, found.capacity) == ({}, {})


def test_what_is_recorded_is_as_it_was_byte_for_byte() -> None:
    """Entries outlive releases, so their keys, order and omitted values never change."""
    plan = record_inputs(
        State("h", "m", {}, outages={"b": Outage(NOW, "", "target", NOW, 2)}),
        NOW,
        Scope(dispatch=True),
        {"bd-1": HoldReason(ATTEMPTED, "")},
        Observations(
            {"a": Capacity(1, "w", True), "b": Capacity(None, "", down=True, proof="target")},
            {},
            {"bd-2": JobReport(Verdict.LOST, "gone", "x", job="j")},
            {"bd-2": Lease("agent", NOW, NOW)},
        ),
    )
    at = NOW.isoformat()
    assert orjson.dumps(plan._replace(jitter=0.5).encode()) == orjson.dumps(
        {
            "given": {
                "now": at,
                "scope": ["dispatch"],
                "made": "m",
                "acts": True,
                "readiness": 2,
                "passed": {"bd-1": ATTEMPTED},
                "capacity": {"a": [1, True, "w"], "b": [None, False, "", True, "target"]},
                "verdicts": {"bd-2": ["lost", "gone", "x", {"job": "j"}]},
                "leases": {"bd-2": ["agent", at, at]},
                "outages": {"b": [2, at]},
                "jitter": 0.5,
            }
        }
    )
    outcome = RecordedInputs(
        now=NOW,
        jitter=0.25,
        answer=encode_answer(Busy("", 409, 5.0)),
        health=Health(1, 0, True, "n"),
    )
    assert orjson.dumps(outcome.encode()) == orjson.dumps(
        {
            "given": {
                "now": at,
                "made": "",
                "jitter": 0.25,
                "answer": {"is": "busy", "status": 409, "retry_after": 5.0},
                "health": [1, 0, True, "n"],
            }
        }
    )
    assert again(outcome) == outcome


# -- recorded answers --------------------


def recorded(answer: Any, reason: str = "why", **more: Any) -> LedgerEntry:
    entry = LedgerEntry(
        bead="a",
        version=1,
        kind=EntryKind.FAILED,
        attempt=1,
        rule="agent",
        token="t1",
        cause="c",
        observed="c",
        at=NOW,
        job="j1",
        reason=reason,
        bead_hash="",
        settings_hash="",
        actor="",
        detail={"given": {"answer": answer}, "reason_code": "refused"},
        wrote=EntryEffects(),
    )
    return entry._replace(**more)


@pytest.mark.parametrize(
    "answer",
    [
        Accepted("j1"),
        Accepted("j1", 202),
        Busy("why", 409, 5.0),
        Refused("why", 500),
        Refused("why", 401, halts_rule=True),
        Refused("why", 400, permanent=True),
        Refused("why", 404, not_found=True),
        Refused("why", unreachable="target"),
        Unknown("why", unreachable="service"),
    ],
)
def test_an_answer_comes_back_from_the_ledger(answer: Answer) -> None:
    assert decode_answer(recorded(encode_answer(answer))) == answer


@pytest.mark.parametrize("answer", [None, "accepted", {}, {"is": "else"}])
def test_another_value_is_no_answer(answer: Any) -> None:
    assert decode_answer(recorded(answer)) is None


@pytest.mark.parametrize("written", ["soon", [], -1, 1e300, float("nan")])
def test_a_pause_that_no_target_asked_for(written: Any) -> None:
    assert decode_answer(recorded({"is": "busy", "retry_after": written})) == Busy("why")


def test_what_cannot_be_reached_is_a_name() -> None:
    assert decode_answer(recorded({"is": "unknown", "unreachable": 1})) == Unknown("why")


@pytest.mark.parametrize("code", [ReasonCode.BEAD_NOT_FOUND, ReasonCode.REFUSED])
def test_an_entry_from_before_the_codes_says_in_its_text_that_the_bead_is_not_found(
    code: ReasonCode,
) -> None:
    old = {"given": {"answer": {"is": "refused", "status": 404}}}
    answer = decode_answer(recorded(None, detail=old, reason_code=code))
    assert answer == Refused("why", 404, not_found=code is ReasonCode.BEAD_NOT_FOUND)
