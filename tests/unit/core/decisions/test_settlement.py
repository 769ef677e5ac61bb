"""The outcome of a target's answer, from the answer, the attempt and the target's health alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.core.decisions.circuit_breaker import Health
from dolt_watch.core.decisions.settlement import code_of, decode_answer, encode_answer, settle
from dolt_watch.core.model import Decision, EntryEffects, EntryKind, LedgerEntry, Phase, Rule
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from tests.unit.core.decisions.test_planner import NOW, bead

ATTEMPT = bead("a", Phase.CLAIMED, token="t1", attempt=1, sent_at=NOW)
RULE = Rule("agent")
SECOND = timedelta(seconds=1)
LOST = "dispatch outcome unknown (no answer): not sent again until it is known"


WELL = Health()


def settled(answer: Answer, health: Health | None = WELL, **more: Any) -> Decision:
    return settle(answer, ATTEMPT._replace(**more), RULE, NOW, 0.0, health)


@pytest.mark.parametrize("health", [None, Health()])
@pytest.mark.parametrize(
    ("answer", "kind", "status", "code", "note"),
    [
        (Accepted("j1"), EntryKind.DISPATCHED, "", None, "dispatched: job=j1"),
        (Busy("no slot"), EntryKind.BUSY, "open", ReasonCode.TARGET_BUSY, ""),
        (
            Refused("HTTP 401", 401, halts_rule=True),
            EntryKind.STOPPED,
            "open",
            ReasonCode.RULE_STOPPED,
            "dispatch failed HTTP 401",
        ),
        (
            Refused("HTTP 500", 500),
            EntryKind.FAILED,
            "open",
            ReasonCode.REFUSED,
            "dispatch failed HTTP 500",
        ),
        (
            Refused("HTTP 400", 400, permanent=True),
            EntryKind.QUARANTINED,
            "open",
            ReasonCode.REFUSED_FOR_GOOD,
            "dispatch quarantined after 1 attempts: HTTP 400; edit the bead to try again",
        ),
        (Unknown("no answer"), EntryKind.UNKNOWN, "", ReasonCode.OUTCOME_UNKNOWN, LOST),
    ],
)
def test_each_answer_of_a_target_that_is_well(
    health: Health | None,
    answer: Answer,
    kind: EntryKind,
    status: str,
    code: ReasonCode | None,
    note: str,
) -> None:
    made = settled(answer, health)
    assert (made.kind, made.status, made.reason_code, made.note) == (kind, status, code, note)
    assert (made.bead, made.rule, made.attempt, made.token) == ("a", "agent", 1, "t1")


@pytest.mark.parametrize(
    ("before", "kind", "code"),
    [
        (None, EntryKind.FAILED, ReasonCode.BEAD_NOT_FOUND),
        (ReasonCode.BEAD_NOT_FOUND, EntryKind.QUARANTINED, ReasonCode.BEAD_NOT_FOUND),
    ],
)
def test_a_bead_that_is_not_found_twice_in_a_row_is_quarantined(
    before: ReasonCode | None, kind: EntryKind, code: ReasonCode
) -> None:
    made = settled(Refused("not found", 404, not_found=True), reason_code=before)
    assert (made.kind, made.reason_code) == (kind, code)


@pytest.mark.parametrize(
    ("health", "asked", "seconds", "number"),
    [
        (None, None, 30, None),
        (None, 5.0, 5, None),
        (Health(), None, 30, 1),
        (Health(), 5.0, 30, 1),
        (Health(), 90.0, 90, 1),
        (Health(busy=2), None, 120, 3),
    ],
)
def test_a_busy_target_rests(
    health: Health | None, asked: float | None, seconds: int, number: int | None
) -> None:
    made = settled(Busy("no slot", 409, asked), health)
    assert made.detail["until"] == (NOW + seconds * SECOND).isoformat()
    assert made.detail["target"] == "beadboard"
    assert made.detail.get("busy") == number
    assert ("uncounted_claim" in made.detail) == (number is not None)


@pytest.mark.parametrize(("noted", "tries"), [(False, 0), (True, 2)])
@pytest.mark.parametrize(
    ("answer", "kind", "status", "note"),
    [
        (
            Refused("refused", unreachable="target"),
            EntryKind.FAILED,
            "open",
            "dispatch failed refused",
        ),
        (Unknown("no answer", unreachable="service"), EntryKind.UNKNOWN, "", LOST),
    ],
)
def test_an_unreachable_target_counts_against_no_bead(
    answer: Refused | Unknown, kind: EntryKind, status: str, note: str, noted: bool, tries: int
) -> None:
    made = settled(answer, Health(tries=tries, noted=noted))
    assert (made.kind, made.status, made.note) == (kind, status, "" if noted else note)
    assert made.reason_code is ReasonCode.TARGET_UNREACHABLE
    assert made.detail["unreachable"] == answer.unreachable
    assert made.detail["tries"] == tries + 1
    assert made.detail["next_try"] == (NOW + 30 * SECOND * 2**tries).isoformat()
    # An attempt of unknown outcome still holds its slot.
    assert ("uncounted_claim" in made.detail) == (kind is EntryKind.FAILED)


@pytest.mark.parametrize(
    "health", [Health(busy=1, note="claimed"), Health(tries=1, note="claimed")]
)
def test_an_answer_after_trouble_writes_the_note_of_its_claim(health: Health) -> None:
    made = settled(Accepted("j1"), health)
    assert made.note == "claimed\ndispatched: job=j1"
    assert made.detail["target"] == "beadboard"


# -- as recorded --------------------


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


def test_what_cannot_be_reached_is_a_name() -> None:
    assert decode_answer(recorded({"is": "unknown", "unreachable": 1})) == Unknown("why")


@pytest.mark.parametrize("code", [ReasonCode.BEAD_NOT_FOUND, ReasonCode.REFUSED])
def test_an_entry_from_before_the_codes_says_in_its_text_that_the_bead_is_not_found(
    code: ReasonCode,
) -> None:
    old = {"given": {"answer": {"is": "refused", "status": 404}}}
    answer = decode_answer(recorded(None, detail=old, reason_code=code))
    assert answer == Refused("why", 404, not_found=code is ReasonCode.BEAD_NOT_FOUND)


def test_an_accepted_bead_has_no_reason() -> None:
    assert code_of(Accepted("j1")) is None
