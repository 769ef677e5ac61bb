"""Imports of an old row over a current attempt: the row is restored and nothing is sent again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.core.decisions.candidates import select_candidates
from dolt_watch.core.decisions.planner import make_plan
from dolt_watch.core.decisions.policy import Observations, Policy, Scope
from dolt_watch.core.model import (
    ActivitySignal,
    Bead,
    EntryKind,
    Event,
    EventKind,
    Phase,
    RowChange,
    Rule,
    RuleMatch,
    State,
)
from dolt_watch.core.projection.projection import apply_to_bead
from tests.unit.core.projection.test_projection import (
    AT,
    CLAIM,
    MATCHED,
    NEITHER,
    OPEN,
    RUNS,
    SENT,
    after,
    phase,
    said,
)

BACK = ("status", "notes", "started_at", "updated_at")


def edit(
    own: float = -60,
    changed: tuple[str, ...] = BACK,
    facts: RuleMatch = OPEN,
    status: str = "open",
    later: float = 600,
) -> Event:
    """Return a user's commit ``later`` seconds after the claim.

    The row's own time is ``own`` seconds after the claim.
    """
    at = AT + timedelta(seconds=later)
    row = RowChange("issues", "bd-1", "modified", changed, {}, {"status": status})
    sign = ActivitySignal(at, "status", "beads", "x", int(own - later))
    return Event(
        EventKind.MATCHED, "bd-1", "x", at, facts=facts, sign=sign, changed=changed, row=row
    )


BACK_AGAIN = edit()
UNASSIGNED = edit(facts=NEITHER)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([SENT, BACK_AGAIN], Phase.RUNNING),
        ([SENT, edit(own=-1, later=1)], Phase.RUNNING),
        ([SENT, edit(changed=("status", "started_at", "updated_at"))], Phase.RUNNING),
        ([SENT, UNASSIGNED], Phase.RUNNING),
        ([said(EntryKind.UNKNOWN, 2), BACK_AGAIN], Phase.UNKNOWN),
        ([BACK_AGAIN, said(EntryKind.DISPATCHED, 2, OPEN)], Phase.RUNNING),
        ([BACK_AGAIN, said(EntryKind.UNKNOWN, 2, OPEN)], Phase.UNKNOWN),
        # The row's own time shows that a user opened the bead now.
        ([SENT, edit(own=0)], Phase.WAITING),
        ([SENT, edit(own=600)], Phase.WAITING),
        # The user's clock is behind, but the commit removed no cell of the claim.
        ([SENT, edit(changed=("status", "updated_at"))], Phase.WAITING),
        # The old row is closed, so no agent could take the bead.
        ([SENT, edit(facts=NEITHER, status="closed")], None),
        ([SENT, BACK_AGAIN._replace(row=None)], Phase.RUNNING),
        ([SENT, UNASSIGNED._replace(row=None)], None),
        ([SENT, BACK_AGAIN._replace(row=None, facts=None)], None),
        ([SENT, BACK_AGAIN._replace(sign=None)], Phase.WAITING),
        # An older commit comes from another clone: a user opened the bead there at that time.
        (
            [
                SENT,
                BACK_AGAIN._replace(
                    sign=ActivitySignal(AT - timedelta(hours=1), "edit", "ann", "c9", 0)
                ),
            ],
            Phase.WAITING,
        ),
        ([said(EntryKind.FAILED, 2, OPEN), BACK_AGAIN], Phase.BACKOFF),
    ],
)
def test_no_import_sends_it_again(events: list[Event], expected: Phase | None) -> None:
    assert phase(MATCHED, CLAIM, *events) == expected


@pytest.mark.parametrize(
    "bead", [Bead("bd-1", Phase.RUNNING, "agent", AT, "c", runs=True, sent_at=AT)]
)
@pytest.mark.parametrize("more", [{}, {"token": "t", "sent_at": None}])
def test_of_what_we_did_not_send_it_says_nothing(bead: Bead, more: dict[str, Any]) -> None:
    now = apply_to_bead(bead._replace(**more), BACK_AGAIN)
    assert now is not None
    assert (now.phase, now.reverted) == (Phase.WAITING, False)


def test_it_is_no_sign_of_life() -> None:
    sent, back = after(MATCHED, CLAIM, SENT), after(MATCHED, CLAIM, SENT, BACK_AGAIN)
    assert sent is not None and back == sent._replace(reverted=True, matches=True, runs=False)


@pytest.mark.parametrize(
    "end", [EntryKind.FAILED, EntryKind.QUARANTINED, EntryKind.BUSY, EntryKind.RELEASE]
)
def test_what_ended_is_not_written_again(end: EntryKind) -> None:
    bead = after(MATCHED, CLAIM, BACK_AGAIN, said(end, 2, OPEN))
    assert bead is not None and not bead.reverted


def test_in_progress_again_it_needs_nothing() -> None:
    back = [MATCHED, CLAIM, SENT, BACK_AGAIN]
    for now in (
        after(*back, edit(own=700, facts=RUNS, later=700)),
        after(*back, said(EntryKind.CLAIM, 3)),
    ):
        assert now is not None and not now.reverted


@pytest.mark.parametrize("scope", [Scope(dispatch=True), Scope(reap=True)])
def test_it_is_written_again_before_anything_else(scope: Scope) -> None:
    bead = after(MATCHED, CLAIM, SENT, BACK_AGAIN)
    assert bead is not None
    state, policy, now = (
        State(beads={"bd-1": bead}),
        Policy([Rule("agent")], timedelta()),
        AT + timedelta(hours=9),
    )
    first, *_ = make_plan(
        state, policy, now, scope, select_candidates(state, policy, now, scope), Observations()
    ).decisions
    assert (first.kind, first.token, first.job, first.status) == (
        EntryKind.RESTORE,
        "t",
        "j",
        "in_progress",
    )
    assert first.note == "dispatch restored: job=j"
    written = apply_to_bead(
        bead, said(EntryKind.RESTORE, 3, RUNS, job="j", detail=dict(first.detail))
    )
    sent = after(MATCHED, CLAIM, SENT)
    assert sent is not None and written == sent._replace(version=3, cause="c3")


def test_not_while_its_worker_may_be_sending() -> None:
    bead = after(MATCHED, CLAIM, BACK_AGAIN)
    assert bead is not None
    state, policy, scope = (
        State(beads={"bd-1": bead}),
        Policy([Rule("agent")], timedelta()),
        Scope(True, True),
    )
    now = AT - timedelta(seconds=1)
    assert not make_plan(
        state, policy, now, scope, select_candidates(state, policy, now, scope), Observations()
    ).decisions
