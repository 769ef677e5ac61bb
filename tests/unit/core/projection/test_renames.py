"""Renamed beads: one commit removes a row and adds it under a new ID, and its attempt continues."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.core.decisions.candidates import select_candidates
from dolt_watch.core.decisions.planner import make_plan
from dolt_watch.core.decisions.policy import Observations, Policy, Scope
from dolt_watch.core.model import (
    Bead,
    CommitChanges,
    EntryEffects,
    EntryKind,
    Event,
    EventKind,
    LedgerEntry,
    Phase,
    RowChange,
    Rule,
    RuleAnswers,
    RuleMatch,
    State,
)
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.projection.event_deriver import derive_events
from dolt_watch.core.projection.moved_rows import renames
from dolt_watch.core.projection.projection import Projection, apply_to_bead
from tests.unit.core.projection.test_projection import AT, OPEN, RUNS

CELLS = {
    "status": "in_progress",
    "assignee": "agent",
    "notes": "n",
    "started_at": "s",
    "closed_at": None,
}
WAS = RuleAnswers(False, False, was_running=True, runs=False)
NOW = RuleAnswers(False, False, was_running=False, runs=True)


def gone(bead: str, title: str = "t", at: str = "1", **cells: Any) -> RowChange:
    return RowChange(
        "issues", bead, "removed", before={**CELLS, **cells}, answers=(WAS,), identity=(title, at)
    )


def made(bead: str, title: str = "t", at: str = "1", **cells: Any) -> RowChange:
    return RowChange(
        "issues", bead, "added", after={**CELLS, **cells}, answers=(NOW,), identity=(title, at)
    )


def pairs(*rows: RowChange) -> list[tuple[str, str]]:
    return [(old.bead, new.bead) for old, new in renames(rows)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([gone("bd-1"), made("bd-9")], [("bd-1", "bd-9")]),
        ([gone("bd-1"), made("kb-1", "another title")], [("bd-1", "kb-1")]),
        ([gone("bd-1"), made("bd-9", "another title")], []),
        ([gone("bd-1"), made("bd-9", at="2")], []),
        ([gone("bd-1")], []),
        ([made("bd-9")], []),
        (
            [gone("bd-1"), gone("bd-2"), made("kb-2"), made("kb-1")],
            [("bd-1", "kb-1"), ("bd-2", "kb-2")],
        ),
        # The end of the ID takes precedence over the title, and the title over the other cells.
        ([gone("bd-1"), made("kb-1", "x", notes="y"), made("bd-9")], [("bd-1", "kb-1")]),
        ([gone("bd-1"), made("bd-8", notes="y"), made("bd-9")], [("bd-1", "bd-9")]),
        ([gone("bd-1"), made("bd-8"), made("bd-9")], []),
        ([gone("bd-1"), gone("bd-2"), made("bd-9")], [("bd-1", "bd-9")]),
        ([gone("bd-1")._replace(identity=()), made("bd-9")], []),
    ],
)
def test_which_row_became_which(rows: list[RowChange], expected: list[tuple[str, str]]) -> None:
    assert pairs(*rows) == expected


def test_it_is_one_change_of_one_row() -> None:
    ((_, row),) = renames([gone("bd-1"), made("bd-9", status="open")])
    assert (row.bead, row.kind, row.changed) == ("bd-9", "modified", ("status", "id"))
    assert (row.before["status"], row.after["status"]) == ("in_progress", "open")
    assert row.answers == (RuleAnswers(False, False, was_running=True, runs=True),)


def events(*rows: RowChange) -> list[Event]:
    return list(derive_events(CommitChanges("c9", AT, "ada", rows), [Rule("agent")]))


def test_nobody_gave_a_sign_of_life() -> None:
    label = [
        RowChange("labels", bead, kind, key="x")
        for bead, kind in (("bd-1", "removed"), ("bd-9", "added"))
    ]
    comment = RowChange("comments", "bd-9", "added", key="k", at=AT, who="ada")
    found = events(gone("bd-1"), made("bd-9"), *label, comment)
    assert [(one.what, one.bead, one.sign and one.sign.what) for one in found] == [
        (EventKind.RENAMED, "bd-9", None),
        (EventKind.LEFT, "bd-1", None),
        (EventKind.EDITED, "bd-9", None),
        (EventKind.SIGN, "bd-9", "comment"),
    ]
    assert (found[0].other, found[1].other) == ("bd-1", "bd-9")


def running(**more: Any) -> Bead:
    values = {
        "runs": True,
        "version": 2,
        "attempt": 1,
        "token": "t",
        "job": "j",
        "sent_at": AT,
        **more,
    }
    return Bead("bd-1", values.pop("phase", Phase.RUNNING), "agent", AT, "c", **values)


def renamed(bead: Bead | None, *more: Event) -> Projection:
    projection = Projection(State("c", "c", {"bd-1": bead} if bead else {}))
    projection.apply([*events(gone("bd-1"), made("bd-9")), *more])
    return projection


def test_its_record_goes_along() -> None:
    found = renamed(running())
    assert found.beads == {"bd-9": running(version=0, was="bd-1")._replace(id="bd-9")}
    assert found.touched == {"bd-1", "bd-9"}
    # After two renames, `was` is the ID under which the attempt began.
    found.apply(events(gone("bd-9"), made("bd-5")))
    assert found.beads["bd-5"].was == "bd-1"


def test_of_whom_nothing_is_known_it_is_as_if_it_came() -> None:
    found = renamed(None).beads["bd-9"]
    assert (found.phase, found.was, found.token) == (Phase.RUNNING, "", "")


def plan(bead: Bead) -> list[Any]:
    policy, scope = Policy([Rule("agent")], timedelta()), Scope(dispatch=True)
    state = State("c", "c", {bead.id: bead})
    return list(
        make_plan(
            state, policy, AT, scope, select_candidates(state, policy, AT, scope), Observations()
        ).decisions
    )


def test_history_says_so_once() -> None:
    found = renamed(running(reason="r", retry_at=AT))
    (decision,) = plan(found.beads["bd-9"])
    said = (
        decision.kind,
        decision.bead,
        decision.attempt,
        decision.token,
        decision.job,
        decision.note,
        decision.status,
    )
    assert said == (EntryKind.RENAMED, "bd-9", 1, "t", "j", "", "")
    assert decision.reason == "renamed from bd-1; its attempts continue under the new id"
    detail = {name: value for name, value in decision.detail.items() if name != "given"}
    assert detail == {
        "since": AT.isoformat(),
        "sent_at": AT.isoformat(),
        "deadline": None,
        "retry_at": AT.isoformat(),
        "phase": "running",
        "why": "r",
        "renamed_from": "bd-1",
    }
    entry = written(decision)
    found.apply([entry])
    assert found.beads["bd-9"].version == 1
    assert plan(found.beads["bd-9"]) == []


@pytest.mark.parametrize(
    ("bead", "says"),
    [
        (Bead("bd-9", Phase.WAITING, "agent", AT, "c", was="bd-1"), False),
        (Bead("bd-9", Phase.WAITING, "agent", AT, "c", was="bd-1", attempt=1), True),
        (Bead("bd-9", Phase.QUARANTINED, "agent", AT, "c", was="bd-1"), True),
    ],
)
def test_who_only_waits_needs_no_entry(bead: Bead, says: bool) -> None:
    assert any(one.kind is EntryKind.RENAMED for one in plan(bead)) is says


def written(decision: Any, facts: RuleMatch | None = RUNS, **detail: Any) -> Event:
    entry = LedgerEntry(
        "bd-9",
        1,
        EntryKind.RENAMED,
        decision.attempt,
        "agent",
        decision.token,
        "c",
        "c",
        AT,
        decision.job,
        decision.reason,
        "",
        "",
        "",
        {**decision.detail, **detail},
        EntryEffects(),
    )
    return Event(EventKind.LEDGER, "bd-9", "c10", AT, facts=facts, entry=entry)


@pytest.mark.parametrize(
    ("bead", "facts", "expected"),
    [
        (running(), RUNS, Phase.RUNNING),
        (running(phase=Phase.CLAIMED, deadline=AT), RUNS, Phase.CLAIMED),
        (running(), OPEN, Phase.WAITING),
        (running(), None, None),
        (running(phase=Phase.BACKOFF, token="", job="", retry_at=AT), OPEN, Phase.BACKOFF),
        (running(phase=Phase.BACKOFF, token="", job="", retry_at=AT), RUNS, Phase.RUNNING),
        (running(phase=Phase.HELD, reason="r"), RuleMatch(), Phase.HELD),
    ],
)
def test_the_entry_alone_says_how_far_it_had_come(
    bead: Bead, facts: RuleMatch | None, expected: Phase | None
) -> None:
    (decision,) = [
        one
        for one in plan(bead._replace(id="bd-9", was="bd-1", version=0))
        if one.kind is EntryKind.RENAMED
    ]
    projection = Projection(State("c", "c", {}))
    projection.apply([written(decision, facts)])
    found = projection.beads.get("bd-9")
    assert (found and found.phase) == expected
    if found is not None and found.phase is bead.phase:
        assert found == bead._replace(
            id="bd-9",
            was="bd-1",
            version=1,
            cause="c10",
            matches=bool((facts or RuleMatch()).matches),
            rank=(facts or RuleMatch()).rank,
            runs="agent" in (facts or RuleMatch()).running,
        )


def test_an_entry_of_a_phase_that_there_is_not_holds_it() -> None:
    (decision,) = plan(running(was="bd-1", version=0)._replace(id="bd-9"))
    projection = Projection(State("c", "c", {}))
    projection.apply([written(decision, OPEN, phase="flying")])
    assert projection.beads["bd-9"].phase is Phase.HELD


def report(kind: EntryKind, token: str = "t", note: str = "", job: str = "") -> Event:
    """Return an outcome entry in the stream of the old ID, whose row no longer exists."""
    entry = LedgerEntry(
        "bd-1",
        3,
        kind,
        1,
        "agent",
        token,
        "c",
        "c",
        AT,
        job,
        "why",
        "",
        "",
        "",
        {},
        EntryEffects({}, note),
    )
    return Event(EventKind.LEDGER, "bd-1", "c11", AT, entry=entry)


CLAIMED = running(phase=Phase.CLAIMED, job="", deadline=AT)


@pytest.mark.parametrize(
    ("bead", "event", "expected"),
    [
        (CLAIMED, report(EntryKind.DISPATCHED, job="k"), (Phase.RUNNING, "k", "dispatched: job=k")),
        (CLAIMED, report(EntryKind.DISPATCHED, job="k", note="n"), (Phase.RUNNING, "k", "")),
        (CLAIMED, report(EntryKind.UNKNOWN), (Phase.UNKNOWN, "", "")),
        # No attempt runs, and the row shows that a user has the bead.
        (
            CLAIMED,
            report(EntryKind.FAILED),
            (Phase.RUNNING, "", ""),
        ),
        (CLAIMED, report(EntryKind.DISPATCHED, "u"), (Phase.CLAIMED, "", "")),
        (CLAIMED, report(EntryKind.NOTE), (Phase.CLAIMED, "", "")),
        (running(), report(EntryKind.UNKNOWN), (Phase.RUNNING, "j", "")),
    ],
)
def test_a_report_under_the_old_id_is_of_the_new_one(
    bead: Bead, event: Event, expected: tuple[Any, ...]
) -> None:
    found = renamed(bead, event).beads["bd-9"]
    assert (found.phase, found.job, found.lost_note, found.version) == (*expected, 0)


@pytest.mark.parametrize(
    ("code", "reason", "back"),
    [
        (ReasonCode.BEAD_NOT_FOUND, "any words", ReasonCode.BEAD_NOT_FOUND),
        (ReasonCode.REFUSED, "Bead bd-1 not found.", ReasonCode.REFUSED),
        # An entry from before the reason codes.
        (None, "Bead bd-1 not found.", ReasonCode.BEAD_NOT_FOUND),
        (None, "HTTP 500: boom", None),
    ],
)
def test_the_code_of_the_last_failure_goes_along(
    code: ReasonCode | None, reason: str, back: ReasonCode | None
) -> None:
    failed = Bead("bd-9", Phase.BACKOFF, "agent", AT, "c", was="bd-1", attempt=1, retry_at=AT)
    (decision,) = plan(failed._replace(reason=reason, reason_code=code))
    assert decision.reason_code is ReasonCode.RENAMED
    after = apply_to_bead(None, written(decision, OPEN))
    assert after is not None
    assert (after.phase, after.reason, after.reason_code) == (Phase.BACKOFF, reason, back)
