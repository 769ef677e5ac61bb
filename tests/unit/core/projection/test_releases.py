"""A live attempt ends only if a user frees the bead in a commit that descends from the claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dolt_watch.core.decisions.candidates import select_candidates
from dolt_watch.core.decisions.planner import make_plan
from dolt_watch.core.decisions.policy import Observations, Policy, Scope
from dolt_watch.core.model import (
    Act,
    Bead,
    CommitChanges,
    EntryEffects,
    EntryKind,
    Event,
    EventKind,
    LedgerEntry,
    Origin,
    Phase,
    RowChange,
    Rule,
    RuleAnswers,
    RuleMatch,
    State,
)
from dolt_watch.core.projection.event_deriver import derive_events, traces
from dolt_watch.core.projection.projection import DELETED, FREED, Projection
from tests.unit.core.projection.test_projection import (
    AT,
    CLAIM,
    MATCHED,
    NEITHER,
    OPEN,
    RUNS,
    SENT,
    after,
    said,
)

CLAIMED = "auto-dispatcher claimed at 2026-04-18T22:35:46Z"
JOB = "dispatched: job=j"
NOTES = f"mine\n{CLAIMED}\n{JOB}"
TAKEN = {"status": "in_progress", "assignee": "agent", "notes": NOTES, "started_at": "2026"}
WAS_RUNNING = RuleAnswers(matched=False, matches=True, was_running=True, runs=False)
AWAY = RuleAnswers(matched=False, matches=False, was_running=True, runs=False)


def change(
    after: Mapping[str, Any], answers: RuleAnswers = WAS_RUNNING, before: Mapping[str, Any] = TAKEN
) -> RowChange:
    now = {**before, **after}
    changed = tuple(name for name in now if now[name] != before.get(name))
    return RowChange("issues", "bd-1", "modified", changed, before, now, at=AT, answers=(answers,))


def came(row: RowChange, merge: bool = False) -> tuple[Origin, frozenset[str]]:
    changes = CommitChanges("c9", AT, "ann", (row,), merge=merge)
    event = [
        one
        for one in derive_events(changes, [Rule("agent")])
        if one.what is not EventKind.OVERWRITTEN
    ][-1]
    return event.origin, event.freed


OLD = {"status": "open", "notes": "mine", "started_at": None}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (change({"status": "open"}), Origin.ACT),
        (change({"status": "open", "notes": f"{JOB}\nmore"}), Origin.ACT),
        (change({"status": "blocked"}, AWAY), Origin.ACT),
        (change({"status": "closed", "notes": "", "started_at": None}, AWAY), Origin.ACT),
        (change(OLD), Origin.BACK),
        (change({**OLD, "notes": "another's"}), Origin.BACK),
        (change({**OLD, "notes": None}, before={**TAKEN, "notes": None}), Origin.BACK),
        # `started_at` is from an earlier attempt and doesn't change.
        (change({"status": "open", "notes": "mine"}), Origin.BACK),
        (change({"status": "open", "notes": "start over"}), Origin.UNCLEAR),
        (change({"status": "open", "notes": ""}), Origin.UNCLEAR),
        (
            change(
                {"status": "open", "notes": "mine\n"},
                before={**TAKEN, "notes": f"mine\nhello\n{CLAIMED}"},
            ),
            Origin.UNCLEAR,
        ),
        (change({"status": "blocked", "notes": "why"}, AWAY), Origin.ACT),
        # The row contained no trace of the attempt.
        (change({"status": "open", "notes": "x"}, before={**TAKEN, "notes": "y"}), Origin.ACT),
        (change({"title": "t"}, RuleAnswers(False, False, True, True)), Origin.SAME),
        (
            change(
                {"status": "open"},
                RuleAnswers(False, True, False, False),
                {**TAKEN, "status": "blocked"},
            ),
            Origin.ACT,
        ),
        (
            change({"status": "open"}, RuleAnswers(False, True, False, False))._replace(
                kind="added"
            ),
            Origin.UNCLEAR,
        ),
    ],
)
def test_where_a_change_comes_from(row: RowChange, expected: Origin) -> None:
    assert came(row) == (expected, frozenset())


def test_only_the_current_attempt_leaves_traces() -> None:
    earlier = f"{CLAIMED}\ndispatch failed HTTP 500: x"
    later = CLAIMED.replace("22:35", "23:35")
    assert traces({"notes": f"a\n{earlier}\n{later}\n{JOB}"}) == {later, JOB}
    assert traces({"notes": f"{later}\ndispatch restored: job=j"}) == {"dispatch restored: job=j"}
    assert traces({"notes": JOB}) == {JOB}
    assert traces({}) == frozenset()


FREE = change({"status": "open"})
SEEN = frozenset({"t"})


@pytest.mark.parametrize(
    ("row", "acts", "expected"),
    [
        (FREE, (), (Origin.UNCLEAR, frozenset())),
        (FREE, (Act(FREE, SEEN),), (Origin.UNCLEAR, SEEN)),
        (
            FREE,
            (Act(FREE, SEEN), Act(FREE, frozenset({"u"}))),
            (Origin.UNCLEAR, frozenset({"t", "u"})),
        ),
        (
            FREE,
            (Act(change({"title": "t"}, RuleAnswers(False, False, True, True)), SEEN),),
            (Origin.UNCLEAR, frozenset()),
        ),
        # The user's commit and the merge change the row differently.
        (FREE, (Act(change({"status": "blocked"}, AWAY), SEEN),), (Origin.UNCLEAR, frozenset())),
        (
            FREE,
            (Act(change({"status": "open", "assignee": "x"}), SEEN),),
            (Origin.UNCLEAR, frozenset()),
        ),
        # The side line already contains the older row.
        (change(OLD), (Act(change(OLD), SEEN),), (Origin.BACK, frozenset())),
        (change(OLD), (Act(FREE, SEEN),), (Origin.BACK, SEEN)),
        (
            change({"title": "t"}, RuleAnswers(False, False, True, True)),
            (Act(FREE, SEEN),),
            (Origin.SAME, frozenset()),
        ),
        (change({"status": "closed"}, AWAY), (), (Origin.UNCLEAR, frozenset())),
    ],
)
def test_a_merge_needs_somebodys_act_on_a_side_line(
    row: RowChange, acts: tuple[Act, ...], expected: tuple[Origin, frozenset[str]]
) -> None:
    assert came(row._replace(acts=acts), merge=True) == expected


def test_a_row_that_is_gone_says_nothing_of_who_wants_what() -> None:
    gone = RowChange("issues", "bd-1", "removed", before=TAKEN, answers=(AWAY,))
    assert came(gone) == came(gone, merge=True) == (Origin.UNCLEAR, frozenset())


# -- effect on the attempt --------------------


def did(
    origin: Origin, facts: RuleMatch = OPEN, freed: frozenset[str] = frozenset(), **more: Any
) -> Event:
    what = more.pop("what", EventKind.MATCHED)
    return Event(what, "bd-1", "x", AT, facts=facts, origin=origin, freed=freed, **more)


BACK, UNCLEAR, ACT, SAME = (
    did(one) for one in (Origin.BACK, Origin.UNCLEAR, Origin.ACT, Origin.SAME)
)
LEFT = did(Origin.UNCLEAR, NEITHER)
AGAIN = did(Origin.ACT, RUNS, what=EventKind.STARTED)
UNKNOWN = said(EntryKind.UNKNOWN, 2)
GONE = did(Origin.UNCLEAR, NEITHER, what=EventKind.LEFT, changed=("deleted",))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([SENT, ACT], (Phase.WAITING, "", False, "")),
        ([SENT, did(Origin.UNCLEAR, freed=SEEN)], (Phase.WAITING, "", False, "")),
        ([SENT, did(Origin.UNCLEAR, freed=frozenset({"u"}))], (Phase.HELD, "t", False, FREED)),
        ([SENT, BACK], (Phase.RUNNING, "t", True, "")),
        ([SENT, BACK, SAME], (Phase.RUNNING, "t", True, "")),
        ([SENT, BACK, ACT], (Phase.WAITING, "", False, "")),
        ([SENT, BACK, AGAIN], (Phase.RUNNING, "t", False, "")),
        ([SENT, BACK, LEFT], (Phase.HELD, "t", False, FREED)),
        ([SENT, UNCLEAR], (Phase.HELD, "t", False, FREED)),
        ([SENT, UNCLEAR, SAME], (Phase.HELD, "t", False, FREED)),
        ([SENT, UNCLEAR, BACK], (Phase.HELD, "t", False, FREED)),
        ([SENT, UNCLEAR, ACT], (Phase.WAITING, "", False, "")),
        ([SENT, UNCLEAR, AGAIN], (Phase.RUNNING, "t", False, "")),
        ([UNKNOWN, UNCLEAR, AGAIN], (Phase.UNKNOWN, "t", False, "")),
        ([SENT, LEFT], (Phase.HELD, "t", False, FREED)),
        ([SENT, did(Origin.BACK, NEITHER)], (Phase.HELD, "t", False, FREED)),
        ([SENT, GONE], (Phase.HELD, "t", False, DELETED)),
        ([SENT, GONE, UNCLEAR], (Phase.HELD, "t", False, FREED)),
        ([SENT, did(Origin.ACT, NEITHER)], None),
        # The change comes during the attempt's request.
        ([BACK], (Phase.CLAIMED, "t", True, "")),
        ([BACK, ACT, said(EntryKind.DISPATCHED, 2, OPEN)], (Phase.WAITING, "", False, "")),
        ([BACK, SENT._replace(facts=OPEN)], (Phase.RUNNING, "t", True, "")),
        ([UNCLEAR, SENT._replace(facts=OPEN)], (Phase.HELD, "t", False, FREED)),
        ([UNCLEAR, UNKNOWN._replace(facts=OPEN)], (Phase.HELD, "t", False, FREED)),
        ([UNCLEAR, said(EntryKind.FAILED, 2, OPEN)], (Phase.BACKOFF, "", False, "why")),
        ([UNCLEAR, said(EntryKind.BUSY, 2, OPEN)], (Phase.WAITING, "", False, "why")),
        # The commit of the outcome entry contains the change.
        ([SENT._replace(facts=OPEN, origin=Origin.BACK), BACK], (Phase.RUNNING, "t", True, "")),
        (
            [SENT._replace(facts=OPEN, origin=Origin.UNCLEAR), UNCLEAR],
            (Phase.HELD, "t", False, FREED),
        ),
        (
            [UNKNOWN._replace(facts=OPEN, origin=Origin.BACK), BACK],
            (Phase.UNKNOWN, "t", True, "why"),
        ),
        ([SENT._replace(facts=OPEN)], (Phase.WAITING, "", False, "")),
        # A later edit doesn't revoke a user's release during the request.
        ([ACT, SAME, UNKNOWN._replace(facts=OPEN)], (Phase.WAITING, "", False, "why")),
        ([ACT, SAME, SENT._replace(facts=OPEN)], (Phase.WAITING, "", False, "")),
        (
            [ACT, SENT._replace(facts=OPEN, origin=Origin.SAME), SAME],
            (Phase.WAITING, "", False, ""),
        ),
        ([UNCLEAR, SAME, SENT._replace(facts=OPEN)], (Phase.HELD, "t", False, FREED)),
        ([BACK, SAME, SENT._replace(facts=OPEN)], (Phase.RUNNING, "t", True, "")),
    ],
)
def test_what_becomes_of_the_attempt(events: list[Event], expected: tuple[Any, ...] | None) -> None:
    bead = after(MATCHED, CLAIM, *events)
    assert (bead and (bead.phase, bead.token, bead.reverted, bead.reason)) == expected


def test_what_was_held_holds_its_first_moment_and_no_note_of_a_deleted_bead() -> None:
    lost = did(Origin.SAME, RUNS, what=EventKind.OVERWRITTEN, note=JOB)
    held = after(MATCHED, CLAIM, SENT, lost, UNCLEAR)
    assert held is not None and held.lost_note == JOB
    later = after(MATCHED, CLAIM, SENT, lost, UNCLEAR, GONE._replace(at=AT.replace(year=2027)))
    assert later is not None and (later.since, later.lost_note) == (AT, "")


@pytest.mark.parametrize(("matches", "expected"), [(True, Phase.WAITING), (False, None)])
def test_a_resume_lets_it_go(matches: bool, expected: Phase | None) -> None:
    held = after(MATCHED, CLAIM, SENT, UNCLEAR if matches else LEFT)
    assert held is not None
    projection = Projection(State("c", "c", {"bd-1": held}))
    entry = LedgerEntry(
        "", 1, EntryKind.RESUME, 0, "", "", "", "", AT, "", "", "", "", "", {}, EntryEffects()
    )
    projection.apply([Event(EventKind.LEDGER, "", "c2", AT, entry=entry)])
    bead = projection.beads.get("bd-1")
    assert projection.touched == {"bd-1"}
    assert (bead and bead.phase) == expected
    assert bead is None or (bead.token, bead.job, bead.attempt, bead.reason) == ("", "", 0, "")


def test_what_is_held_is_never_claimed_and_holds_no_slot() -> None:
    held = after(MATCHED, CLAIM, SENT, UNCLEAR)
    assert held is not None
    waiting = Bead("bd-2", Phase.WAITING, "agent", AT, "c", matches=True, matched_at=AT)
    state = State("c", "c", {"bd-1": held, "bd-2": waiting})
    policy = Policy([Rule("agent", max_in_flight=1)], AT - AT)
    asked = select_candidates(state, policy, AT, Scope(dispatch=True))
    plan = make_plan(state, policy, AT, Scope(dispatch=True), asked, Observations())
    assert [(one.kind, one.bead) for one in plan.decisions] == [(EntryKind.CLAIM, "bd-2")]
    assert plan.holds["bd-1"].why == FREED
