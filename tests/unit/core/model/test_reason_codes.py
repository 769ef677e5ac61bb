"""Reason codes of current entries, and of entries from before the codes."""

from __future__ import annotations

from typing import Any

import pytest

from dolt_watch.core.model import EntryKind
from dolt_watch.core.model.reason_codes import (
    CODES,
    KINDS_WITH_REASON,
    ReasonCode,
    derived,
    derived_for_record,
    unclear_code,
)
from dolt_watch.core.projection.projection import DELETED, FREED

NOT_FOUND = 'HTTP 400: {"error":"Bead bd-1 not found."}'
GIVEN_UP = {"given": {"scope": ["dispatch"], "now": "2026-04-18T22:35:46+00:00"}}


def answered(**answer: Any) -> dict[str, Any]:
    return {"given": {"answer": {"is": "refused", **answer}}}


OLD: list[tuple[str, str, dict[str, Any], ReasonCode | None]] = [
    ("claim", "", {}, None),
    ("dispatched", "", {}, None),
    (
        "release",
        "it no longer matches its rule; nothing was sent",
        {},
        ReasonCode.NO_LONGER_MATCHES,
    ),
    ("release", "it was deleted; nothing was sent", {}, ReasonCode.BEAD_DELETED),
    ("release", "it is not ready: blocked by bd-2; nothing was sent", {}, ReasonCode.NOT_READY),
    ("release", "claiming took too long; nothing was sent", {}, ReasonCode.CLAIMED_TOO_LATE),
    ("overdue", "no word from its worker by the deadline", {}, ReasonCode.DEADLINE_PASSED),
    ("retry", "the service runs nothing", GIVEN_UP, ReasonCode.SERVICE_IDLE),
    ("retry", "no sign of life in 11m", GIVEN_UP, ReasonCode.NO_SIGN_OF_LIFE),
    ("quarantined", "the service runs nothing", GIVEN_UP, ReasonCode.SERVICE_IDLE),
    ("quarantined", "no sign of life in 11m", {}, ReasonCode.NO_SIGN_OF_LIFE),
    ("quarantined", NOT_FOUND, answered(status=400), ReasonCode.BEAD_NOT_FOUND),
    (
        "quarantined",
        "HTTP 400: no",
        answered(status=400, for_good=True),
        ReasonCode.REFUSED_FOR_GOOD,
    ),
    ("quarantined", "no sign of life", answered(status=400), ReasonCode.REFUSED),
    ("failed", NOT_FOUND, answered(status=400), ReasonCode.BEAD_NOT_FOUND),
    ("failed", "HTTP 500: boom", {}, ReasonCode.REFUSED),
    ("failed", "refused", answered(unreachable="target"), ReasonCode.TARGET_UNREACHABLE),
    ("failed", "refused", {"unreachable": "target"}, ReasonCode.TARGET_UNREACHABLE),
    (
        "unknown",
        "HTTP 502: fetch failed",
        answered(unreachable="service"),
        ReasonCode.TARGET_UNREACHABLE,
    ),
    ("unknown", "no job_id in HTTP 200: not found.", {}, ReasonCode.OUTCOME_UNKNOWN),
    ("busy", "HTTP 409", {}, ReasonCode.TARGET_BUSY),
    ("stopped", "HTTP 401", {}, ReasonCode.RULE_STOPPED),
    ("give-up", "still unknown after 11m", {}, ReasonCode.STILL_UNKNOWN),
    ("reap", "no progress for 45m (threshold 30m)", {}, ReasonCode.NO_PROGRESS),
    ("requeue", "no progress for 45m (threshold <1m)", {}, ReasonCode.NO_PROGRESS),
    ("reap", "job j7 ended failed: boom", {"ended": "failed"}, ReasonCode.JOB_ENDED),
    ("note", "a note of ours was overwritten", {}, ReasonCode.NOTE_OVERWRITTEN),  # quoted
    (
        "note",
        "a report could not write the bead while bd's migration was not committed",
        {},
        ReasonCode.NOTE_WITHHELD,
    ),
    (
        "restore",
        "history lost this attempt; written again as the saved state knew it",
        {},
        ReasonCode.HISTORY_LOST,
    ),
    ("restore", "its row went back to an older state while …", {}, ReasonCode.ROW_REVERTED),
    (
        "renamed",
        "renamed from bd-1: what was begun under that id goes on",  # quoted
        {},
        ReasonCode.RENAMED,
    ),
    ("pause", "lunch", {}, ReasonCode.REQUESTED),
    ("resume", "back", {}, ReasonCode.REQUESTED),
    ("manual-retry", "try again", {}, ReasonCode.REQUESTED),
    ("manual-release", "mine", {}, ReasonCode.REQUESTED),
    ("manual-stop", "it went wrong", {}, ReasonCode.REQUESTED),
    ("reprocess", "everything after 3abc is folded again, as ann asked", {}, ReasonCode.REQUESTED),
    ("resync", "first start here: 3 beads taken as they are", {}, ReasonCode.FIRST_START),
    ("resync", "the rules changed: 3 beads taken as they are", {}, ReasonCode.RULES_CHANGED),
    (
        "resync",
        "history was rewritten: 3 beads taken as they are",
        {},
        ReasonCode.HISTORY_REWRITTEN,
    ),
    ("outage", "connection refused", {}, ReasonCode.TARGET_UNREACHABLE),
    ("recovered", "it answers again", {}, ReasonCode.TARGET_ANSWERS),
]


@pytest.mark.parametrize(
    ("kind", "reason", "detail", "code"), OLD, ids=[f"{row[0]}: {row[1]:.30}" for row in OLD]
)
def test_an_entry_from_before_the_codes(
    kind: str, reason: str, detail: dict[str, Any], code: ReasonCode | None
) -> None:
    assert derived(kind, reason, detail) is code
    assert code is None or kind in KINDS_WITH_REASON


def test_every_kind_has_an_example() -> None:
    assert {row[0] for row in OLD} == {kind.value for kind in EntryKind}


@pytest.mark.parametrize("kind", list(EntryKind))
@pytest.mark.parametrize(
    "detail", [{}, {"given": 1}, {"given": {"answer": 2}}, {"reason_code": 3}, {"reason_code": "x"}]
)
def test_a_foreign_text_is_no_error(kind: EntryKind, detail: dict[str, Any]) -> None:
    code = derived(kind.value, "¿?", detail)
    assert code is None or code in CODES.values()
    assert code is derived(kind.value, "¿?", {})
    assert code is None or kind.value in KINDS_WITH_REASON


@pytest.mark.parametrize(
    ("phase", "reason", "code"),
    [
        ("backoff", NOT_FOUND, ReasonCode.BEAD_NOT_FOUND),
        ("waiting", NOT_FOUND, ReasonCode.BEAD_NOT_FOUND),
        ("backoff", "HTTP 500: boom", None),
        ("running", NOT_FOUND, None),
        ("waiting", "", None),
    ],
)
def test_a_record_saved_before_the_codes(phase: str, reason: str, code: ReasonCode | None) -> None:
    assert derived_for_record(phase, reason) is code


@pytest.mark.parametrize(
    ("saved", "code"),
    [
        ("", ""),
        (FREED, ReasonCode.ROW_FREED),
        (DELETED, ReasonCode.BEAD_DELETED),
        ("row-freed", ReasonCode.ROW_FREED),
        ("bead-deleted", ReasonCode.BEAD_DELETED),
    ],
)
def test_why_an_attempt_is_unclear_in_a_state_saved_before_the_codes(saved: str, code: str) -> None:
    assert unclear_code(saved) == code
