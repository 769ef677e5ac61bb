"""The outcome of an answer depends only on the answer, the attempt and the target's health."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.core.decisions.settlement import code_of, settle
from dolt_watch.core.model import Decision, EntryKind, Phase, Rule
from dolt_watch.core.model.observations import Health
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


def test_an_accepted_bead_has_no_reason() -> None:
    assert code_of(Accepted("j1")) is None
