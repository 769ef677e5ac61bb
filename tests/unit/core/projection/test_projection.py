"""Phases of a bead: entered and left by events alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dolt_watch.core.model import Bead, Entry, Event, Facts, Kind, Phase, Sign, State, What, Wrote
from dolt_watch.core.projection.projection import Projection, fold_bead

AT = datetime(2026, 4, 18, 22, 35, 46, tzinfo=UTC)
OPEN, RUNS, NEITHER = Facts(matches="agent", rank=(1, "x")), Facts(running=("agent",)), Facts()


def said(kind: Kind, version: int, facts: Facts | None = RUNS, token: str = "t", **more: Any) -> Event:
    detail = more.pop("detail", {})
    entry = Entry(
        "bd-1", version, kind, 1, "agent", token, "c", "c", AT, more.pop("job", ""), "why", "", "", "", detail, Wrote()
    )
    return Event(What.LEDGER, "bd-1", f"c{version}", AT, facts=facts, entry=entry)


def did(what: What, facts: Facts | None, after: int = 1, sign: bool = True) -> Event:
    at = AT + timedelta(seconds=after)
    return Event(what, "bd-1", f"x{after}", at, facts=facts, sign=Sign(at, "notes", "agent", "x") if sign else None)


def after(*events: Event) -> Bead | None:
    bead = None
    for event in events:
        bead = fold_bead(bead, event)
    return bead


def phase(*events: Event) -> Phase | None:
    bead = after(*events)
    return bead and bead.phase


MATCHED = did(What.MATCHED, OPEN, 0)
CLAIM, SENT = said(Kind.CLAIM, 1), said(Kind.DISPATCHED, 2, job="j")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([MATCHED], Phase.WAITING),
        ([MATCHED, did(What.UNMATCHED, NEITHER)], None),
        ([MATCHED, CLAIM], Phase.CLAIMED),
        ([MATCHED, CLAIM, SENT], Phase.RUNNING),
        ([MATCHED, CLAIM, said(Kind.UNKNOWN, 2)], Phase.UNKNOWN),
        ([MATCHED, CLAIM, said(Kind.OVERDUE, 2)], Phase.UNKNOWN),
        ([MATCHED, CLAIM, said(Kind.FAILED, 2, OPEN)], Phase.BACKOFF),
        ([MATCHED, CLAIM, said(Kind.QUARANTINED, 2, OPEN)], Phase.QUARANTINED),
        ([MATCHED, CLAIM, said(Kind.BUSY, 2, OPEN)], Phase.WAITING),
        ([MATCHED, CLAIM, said(Kind.RELEASE, 2, NEITHER)], None),
        ([MATCHED, CLAIM, SENT, said(Kind.REAP, 3, NEITHER)], None),
        ([MATCHED, CLAIM, SENT, did(What.LEFT, NEITHER)], None),
        ([did(What.STARTED, RUNS)], Phase.RUNNING),
        # an agent quicker than our own report: closed before we said that it was dispatched
        ([MATCHED, CLAIM, did(What.LEFT, NEITHER), said(Kind.DISPATCHED, 2, None)], None),
        # evidence that an unknown attempt runs, before and after it was called unknown
        ([MATCHED, CLAIM, said(Kind.UNKNOWN, 2), did(What.SIGN, None)], Phase.RUNNING),
        ([MATCHED, CLAIM, did(What.SIGN, None), said(Kind.UNKNOWN, 2)], Phase.RUNNING),
        # a person's edit re-arms; in backoff the pause stays
        ([MATCHED, CLAIM, said(Kind.QUARANTINED, 2, OPEN), did(What.EDITED, OPEN)], Phase.WAITING),
        ([MATCHED, CLAIM, said(Kind.FAILED, 2, OPEN), did(What.EDITED, OPEN)], Phase.BACKOFF),
        # set open again by a person while it ran: taken up anew
        ([MATCHED, CLAIM, SENT, did(What.MATCHED, OPEN)], Phase.WAITING),
    ],
)
def test_phases(events: list[Event], expected: Phase | None) -> None:
    assert phase(*events) == expected


@pytest.mark.parametrize(("running", "runs"), [((), False), (("other",), False), (("other", "agent"), True)])
def test_it_runs_where_the_rule_that_has_it_says_so(running: tuple[str, ...], runs: bool) -> None:
    bead = after(did(What.MATCHED, OPEN._replace(running=running), 0))
    assert bead is not None and (bead.phase, bead.runs) == (Phase.WAITING, runs)


def test_a_report_of_another_attempt_changes_nothing_but_the_version() -> None:
    before = after(MATCHED, CLAIM)
    assert before is not None
    assert fold_bead(before, said(Kind.DISPATCHED, 2, None, token="other")) == before._replace(version=2)


def test_a_version_that_is_known_is_not_folded_twice() -> None:
    running = after(MATCHED, CLAIM, SENT)
    assert fold_bead(running, said(Kind.CLAIM, 1, None)) == running


def test_busy_and_a_stopped_rule_count_against_no_bead() -> None:
    for kind in (Kind.BUSY, Kind.STOPPED, Kind.RELEASE):
        bead = after(MATCHED, CLAIM, said(kind, 2, OPEN))
        assert bead is not None
        assert (bead.attempt, bead.token) == (0, "")


def test_rearming_counts_anew() -> None:
    bead = after(MATCHED, CLAIM, said(Kind.QUARANTINED, 2, OPEN), did(What.EDITED, OPEN))
    assert bead is not None
    assert bead.attempt == 0


def test_what_is_shared() -> None:
    until = (AT + timedelta(minutes=3)).isoformat()
    projection = Projection(State())
    projection.fold([MATCHED, CLAIM, said(Kind.BUSY, 2, OPEN, detail={"target": "beadboard", "until": until})])
    pause = Entry("", 1, Kind.PAUSE, 0, "", "", "", "", AT, "", "upgrade", "", "", "ops", {}, Wrote())
    projection.fold([Event(What.LEDGER, "", "c", AT, entry=pause)])
    state = projection.state()
    assert list(state.resting) == ["beadboard"]
    assert state.pauses[""].reason == "upgrade"
    assert state.claims == {"agent": (AT,)}
    projection.fold([Event(What.LEDGER, "", "c", AT, entry=pause._replace(version=2, kind=Kind.RESUME))])
    assert projection.state().pauses == {}
    assert projection.touched == {"bd-1"}


def test_all_notes_that_were_overwritten_are_remembered_until_they_are_appended_again() -> None:
    """`bd note` that read before our claim and wrote after our dispatch takes both with it."""
    lost = [did(What.OVERWRITTEN, RUNS, sign=False)._replace(note=note) for note in ("claimed", "dispatched")]
    bead = after(MATCHED, CLAIM, SENT, *lost)
    assert bead is not None
    assert bead.lost_note == "claimed\ndispatched"
    again = fold_bead(bead, said(Kind.NOTE, 3, token=""))
    assert again is not None
    assert again.lost_note == ""


@pytest.mark.parametrize(
    ("commit", "off", "expected"),
    [
        ("x5", 0, Phase.RUNNING), ("x5", -4, Phase.RUNNING),  # made after the claim, at the latest a second before its commit
        ("x5", -60, Phase.UNKNOWN),  # it lay uncommitted since before the claim
        ("c1", 0, Phase.UNKNOWN),  # swept into the claim's own commit
    ],
)  # fmt: skip
def test_only_what_was_written_after_the_claim_is_evidence(commit: str, off: int, expected: Phase) -> None:
    at = AT + timedelta(seconds=5)
    sign = Event(What.SIGN, "bd-1", commit, at, facts=RUNS, sign=Sign(at, "comment", "an agent", commit, off))
    unknown = said(Kind.UNKNOWN, 2)
    assert phase(MATCHED, CLAIM, sign, unknown) is expected
    if commit != "c1":
        assert phase(MATCHED, CLAIM, unknown, sign) is expected


def test_only_a_person_re_arms_a_bead_and_not_a_column_that_bd_computes() -> None:
    quarantined = [MATCHED, CLAIM, said(Kind.QUARANTINED, 2, OPEN)]
    flipped = Event(What.UNMATCHED, "bd-1", "x", AT, facts=NEITHER, changed=("is_blocked",))
    back = flipped._replace(what=What.MATCHED, facts=OPEN)
    bead = after(*quarantined, flipped)
    assert bead is not None and (bead.phase, bead.matches) == (Phase.QUARANTINED, False)
    assert after(*quarantined, flipped, back) == after(*quarantined)
    assert phase(*quarantined, back._replace(changed=("is_blocked", "title"))) == Phase.WAITING
    assert phase(MATCHED, flipped) is None  # it waits only while it matches


def test_the_state_is_of_the_commit_that_it_was_moved_to() -> None:
    projection = Projection(State("c1", "c0"))
    projection.move_to("c2")
    assert (projection.state().commit, projection.state().made) == ("c2", "c0")
