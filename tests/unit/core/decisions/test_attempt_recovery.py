"""Attempts that no worker settles, and entries that are written a second time."""

from __future__ import annotations

import pytest

from dolt_watch.core.decisions.attempt_recovery import (
    REVERTED,
    WITHHELD,
    plan_failure,
    plan_note_repairs,
    restore,
)
from dolt_watch.core.decisions.candidates import select_candidates
from dolt_watch.core.decisions.planner import make_plan
from dolt_watch.core.decisions.policy import Observations
from dolt_watch.core.model import (
    Capacity,
    Decision,
    EntryKind,
    Phase,
    Rule,
)
from dolt_watch.core.model.entry_payloads import Ended
from dolt_watch.core.model.reason_codes import ReasonCode
from tests.unit.core.decisions.test_candidates import (
    AGENT,
    HOUR,
    MINUTE,
    SECOND,
    TO_DISPATCH,
    policy,
)
from tests.unit.core.decisions.test_planner import BOTH, NOW, bead, kinds, plan, state


def test_a_note_that_was_overwritten_is_appended_again_but_not_under_a_claims_hands() -> None:
    lost = bead("a", Phase.RUNNING, attempt=2, lost_note="dispatched: job=j")
    (made,) = plan(lost).decisions
    assert made._replace(detail={}) == Decision(
        EntryKind.NOTE,
        "a",
        "agent",
        2,
        "c",
        note="dispatched: job=j",
        reason="a note of dolt_watch was overwritten",
        detail={},
        reason_code=ReasonCode.NOTE_OVERWRITTEN,
    )
    assert plan(lost._replace(phase=Phase.CLAIMED), bead("b", Phase.RUNNING)).decisions == ()


def test_what_a_report_could_not_write_is_written_later() -> None:
    owed = bead("a", Phase.BACKOFF, attempt=2, lost_note="dispatch failed x", unwritten="open")
    noted = bead("b", Phase.RUNNING, unwritten="note")
    first, second = plan_note_repairs([owed, noted])
    assert (first.kind, first.note, first.status, first.reason) == (
        EntryKind.NOTE,
        "dispatch failed x",
        "open",
        WITHHELD,
    )
    assert {first.reason_code, second.reason_code} == {ReasonCode.NOTE_WITHHELD}
    assert (second.note, second.status, second.reason) == ("", "", WITHHELD)


def test_a_silent_claim_becomes_unknown() -> None:
    made = plan(
        bead("b", Phase.CLAIMED), bead("a", Phase.CLAIMED, attempt=1, token="t", deadline=NOW)
    ).decisions
    why = "its worker recorded no outcome before the deadline"
    assert [one._replace(detail={"deadline": one.detail["deadline"]}) for one in made] == [
        Decision(
            EntryKind.OVERDUE,
            "a",
            "agent",
            1,
            "c",
            token="t",
            reason=why,
            detail={"deadline": "2026-04-18T22:35:46+00:00"},
            note=f"dispatch outcome unknown ({why}): not sent again until it is known",
            reason_code=ReasonCode.DEADLINE_PASSED,
        )
    ]
    assert plan(bead("a", Phase.RUNNING, deadline=NOW)).decisions == ()


def test_an_unknown_attempt_stays_one_until_its_time_is_over() -> None:
    unknown = bead("a", Phase.UNKNOWN, age=600, attempt=1, token="t")
    (made,) = plan(unknown).decisions
    assert made._replace(detail={"since": made.detail["since"]}) == Decision(
        EntryKind.GIVE_UP,
        "a",
        "agent",
        1,
        "c",
        token="t",
        status="blocked",
        reason="still unknown after 10m",
        note="dispatch outcome still unknown after 10m — blocking; set it open to try again",
        detail={"since": "2026-04-18T22:25:46+00:00"},
        reason_code=ReasonCode.STILL_UNKNOWN,
    )
    assert plan(unknown._replace(since=unknown.since + SECOND)).decisions == ()
    assert kinds(plan(unknown, outside=Observations())) == [(EntryKind.GIVE_UP, "a")], (
        "a target that says nothing is no evidence"
    )
    other = unknown._replace(id="b", rule="other")
    asked = select_candidates(state(unknown, other), policy(AGENT, Rule("other")), NOW, BOTH)
    gone = make_plan(state(unknown, other), policy(Rule("other")), NOW, BOTH, asked, Observations())
    assert kinds(gone) == [(EntryKind.GIVE_UP, "b")], (
        "the order of a rule that is gone from the settings isn't known"
    )


def test_an_unknown_attempt_that_runs_nowhere_is_tried_again() -> None:
    idle = Observations({"beadboard": Capacity(1, idle=True)})
    made = plan(bead("a", Phase.UNKNOWN, age=660, attempt=1, token="t"), outside=idle).decisions[0]
    assert made._replace(detail={**made.detail, "given": None}) == Decision(
        EntryKind.RETRY,
        "a",
        "agent",
        1,
        "c",
        token="t",
        status="open",
        reason="the service runs nothing",
        note="dispatch failed the service runs nothing",
        detail={
            "since": "2026-04-18T22:24:46+00:00",
            "retry_at": "2026-04-18T22:37:46+00:00",
            "given": None,
        },
        reason_code=ReasonCode.SERVICE_IDLE,
    )


@pytest.mark.parametrize(
    ("attempt", "jitter", "pause"),
    [(1, 0, 120), (2, 0, 240), (4, 0, 960), (1, 1, 150), (2, 0.5, 270), (18, 0, 120 * 2**17)],
)
def test_each_pause_is_twice_the_last_and_up_to_a_quarter_more(
    attempt: int, jitter: float, pause: float
) -> None:
    rule = Rule("agent", max_attempts=99)
    made = plan_failure(
        bead("a", attempt=attempt),
        rule,
        NOW,
        "x",
        EntryKind.FAILED,
        Ended(since=NOW),
        jitter=jitter,
        code=ReasonCode.REFUSED,
    )
    again = (NOW + pause * SECOND).isoformat()
    assert (made.kind, made.status, made.detail) == (
        EntryKind.FAILED,
        "open",
        {"since": NOW.isoformat(), "retry_at": again},
    )


@pytest.mark.parametrize("attempt", [20, 60, 1_000_000])
def test_it_doubles_nineteen_times(attempt: int) -> None:
    rule = Rule("agent", max_attempts=2_000_000, retry_after=SECOND)
    made = plan_failure(
        bead("a", attempt=attempt),
        rule,
        NOW,
        "x",
        EntryKind.FAILED,
        Ended(),
        code=ReasonCode.REFUSED,
    )
    assert made.detail["retry_at"] == (NOW + 2**19 * SECOND).isoformat()


def test_no_pause_is_longer_than_a_year() -> None:
    rule = Rule("agent", max_attempts=99, retry_after=366 * 24 * HOUR)
    for attempt, jitter in ((1, 0.0), (1, 1.0), (2, 0.0), (20, 1.0)):
        made = plan_failure(
            bead("a", attempt=attempt),
            rule,
            NOW,
            "x",
            EntryKind.FAILED,
            Ended(),
            jitter=jitter,
            code=ReasonCode.REFUSED,
        )
        assert made.detail["retry_at"] == "2027-04-19T22:35:46+00:00"


@pytest.mark.parametrize(
    ("attempt", "for_good", "kind"),
    [
        (4, False, EntryKind.FAILED),
        (5, False, EntryKind.QUARANTINED),
        (1, True, EntryKind.QUARANTINED),
    ],
)
def test_the_last_failure_quarantines(attempt: int, for_good: bool, kind: EntryKind) -> None:
    failed = bead("a", attempt=attempt, token="t")
    made = plan_failure(
        failed,
        AGENT,
        NOW,
        "HTTP 400: no",
        EntryKind.FAILED,
        Ended(since=NOW),
        for_good,
        code=ReasonCode.REFUSED,
    )
    assert made.kind is kind
    if kind is EntryKind.QUARANTINED:
        note = (
            f"dispatch quarantined after {attempt} attempts: HTTP 400: no; edit the bead to try"
            " again"
        )
        assert made == Decision(
            kind,
            "a",
            "agent",
            attempt,
            "c",
            token="t",
            status="open",
            reason="HTTP 400: no",
            note=note,
            detail={"since": NOW.isoformat()},
            reason_code=ReasonCode.REFUSED,
        )


# -- attempts that are written again --------------------


@pytest.mark.parametrize(("job", "said"), [("j", "job=j"), ("", "attempt 2")])
def test_an_attempt_whose_row_went_back_is_written_again_as_it_is_known(
    job: str, said: str
) -> None:
    back = bead(
        "a",
        Phase.RUNNING,
        job=job,
        token="t",
        attempt=2,
        sent_at=NOW - MINUTE,
        deadline=NOW,
        reverted=True,
        cause="c7",
    )
    (made,) = plan(back, scope=TO_DISPATCH).decisions
    known = {
        "since": back.since.isoformat(),
        "sent_at": (NOW - MINUTE).isoformat(),
        "deadline": NOW.isoformat(),
    }
    given = {"given": made.detail["given"]}
    assert made == Decision(
        EntryKind.RESTORE,
        "a",
        "agent",
        2,
        "c7",
        token="t",
        job=job,
        reason=REVERTED,
        note=f"dispatch restored: {said}",
        status="in_progress",
        detail={**known, "phase": "running", **given},
        reason_code=ReasonCode.ROW_REVERTED,
    )
    bare = restore(back._replace(sent_at=None, deadline=None), "why", ReasonCode.HISTORY_LOST)
    assert (bare.reason, bare.detail["sent_at"], bare.detail["deadline"]) == ("why", None, None)
