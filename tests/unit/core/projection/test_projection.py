"""Phases of a bead: only events begin and end them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dolt_watch.core.model import (
    ActivitySignal,
    Bead,
    EntryEffects,
    EntryKind,
    Event,
    EventKind,
    LedgerEntry,
    Phase,
    RuleMatch,
    State,
)
from dolt_watch.core.projection.projection import Projection, apply_to_bead

AT = datetime(2026, 4, 18, 22, 35, 46, tzinfo=UTC)
OPEN, RUNS, NEITHER = (
    RuleMatch(matches="agent", rank=(1, "x")),
    RuleMatch(running=("agent",)),
    RuleMatch(),
)


def said(
    kind: EntryKind, version: int, facts: RuleMatch | None = RUNS, token: str = "t", **more: Any
) -> Event:
    detail = more.pop("detail", {})
    entry = LedgerEntry(
        "bd-1",
        version,
        kind,
        1,
        "agent",
        token,
        "c",
        "c",
        AT,
        more.pop("job", ""),
        "why",
        "",
        "",
        "",
        detail,
        EntryEffects(),
    )
    return Event(EventKind.LEDGER, "bd-1", f"c{version}", AT, facts=facts, entry=entry)


def did(what: EventKind, facts: RuleMatch | None, after: int = 1, sign: bool = True) -> Event:
    at = AT + timedelta(seconds=after)
    return Event(
        what,
        "bd-1",
        f"x{after}",
        at,
        facts=facts,
        sign=ActivitySignal(at, "notes", "agent", "x") if sign else None,
    )


def after(*events: Event) -> Bead | None:
    bead = None
    for event in events:
        bead = apply_to_bead(bead, event)
    return bead


def phase(*events: Event) -> Phase | None:
    bead = after(*events)
    return bead and bead.phase


MATCHED = did(EventKind.MATCHED, OPEN, 0)
CLAIM, SENT = said(EntryKind.CLAIM, 1), said(EntryKind.DISPATCHED, 2, job="j")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([MATCHED], Phase.WAITING),
        ([MATCHED, did(EventKind.UNMATCHED, NEITHER)], None),
        ([MATCHED, CLAIM], Phase.CLAIMED),
        ([MATCHED, CLAIM, SENT], Phase.RUNNING),
        ([MATCHED, CLAIM, said(EntryKind.UNKNOWN, 2)], Phase.UNKNOWN),
        ([MATCHED, CLAIM, said(EntryKind.OVERDUE, 2)], Phase.UNKNOWN),
        ([MATCHED, CLAIM, said(EntryKind.FAILED, 2, OPEN)], Phase.BACKOFF),
        ([MATCHED, CLAIM, said(EntryKind.QUARANTINED, 2, OPEN)], Phase.QUARANTINED),
        ([MATCHED, CLAIM, said(EntryKind.BUSY, 2, OPEN)], Phase.WAITING),
        ([MATCHED, CLAIM, said(EntryKind.RELEASE, 2, NEITHER)], None),
        ([MATCHED, CLAIM, SENT, said(EntryKind.REAP, 3, NEITHER)], None),
        ([MATCHED, CLAIM, SENT, did(EventKind.LEFT, NEITHER)], None),
        ([did(EventKind.STARTED, RUNS)], Phase.RUNNING),
        # The agent closed the bead before the outcome entry was written.
        ([MATCHED, CLAIM, did(EventKind.LEFT, NEITHER), said(EntryKind.DISPATCHED, 2, None)], None),
        # Evidence that an unknown attempt runs, before and after its outcome entry.
        ([MATCHED, CLAIM, said(EntryKind.UNKNOWN, 2), did(EventKind.SIGN, None)], Phase.RUNNING),
        ([MATCHED, CLAIM, did(EventKind.SIGN, None), said(EntryKind.UNKNOWN, 2)], Phase.RUNNING),
        # A user's edit makes the bead due again, but doesn't shorten a backoff.
        (
            [MATCHED, CLAIM, said(EntryKind.QUARANTINED, 2, OPEN), did(EventKind.EDITED, OPEN)],
            Phase.WAITING,
        ),
        (
            [MATCHED, CLAIM, said(EntryKind.FAILED, 2, OPEN), did(EventKind.EDITED, OPEN)],
            Phase.BACKOFF,
        ),
        # A user reopened the bead during the run, so it is due again.
        ([MATCHED, CLAIM, SENT, did(EventKind.MATCHED, OPEN)], Phase.WAITING),
    ],
)
def test_phases(events: list[Event], expected: Phase | None) -> None:
    assert phase(*events) == expected


@pytest.mark.parametrize(
    ("running", "runs"), [((), False), (("other",), False), (("other", "agent"), True)]
)
def test_it_runs_where_the_rule_that_has_it_says_so(running: tuple[str, ...], runs: bool) -> None:
    bead = after(did(EventKind.MATCHED, OPEN._replace(running=running), 0))
    assert bead is not None and (bead.phase, bead.runs) == (Phase.WAITING, runs)


def test_a_report_of_another_attempt_changes_nothing_but_the_version() -> None:
    before = after(MATCHED, CLAIM)
    assert before is not None
    assert apply_to_bead(
        before, said(EntryKind.DISPATCHED, 2, None, token="other")
    ) == before._replace(version=2)


def test_a_version_that_is_known_is_not_folded_twice() -> None:
    running = after(MATCHED, CLAIM, SENT)
    assert apply_to_bead(running, said(EntryKind.CLAIM, 1, None)) == running


def test_busy_and_a_stopped_rule_count_against_no_bead() -> None:
    for kind in (EntryKind.BUSY, EntryKind.STOPPED, EntryKind.RELEASE):
        bead = after(MATCHED, CLAIM, said(kind, 2, OPEN))
        assert bead is not None
        assert (bead.attempt, bead.token) == (0, "")


def test_rearming_counts_anew() -> None:
    bead = after(MATCHED, CLAIM, said(EntryKind.QUARANTINED, 2, OPEN), did(EventKind.EDITED, OPEN))
    assert bead is not None
    assert bead.attempt == 0


def test_what_is_shared() -> None:
    until = (AT + timedelta(minutes=3)).isoformat()
    projection = Projection(State())
    projection.apply(
        [
            MATCHED,
            CLAIM,
            said(EntryKind.BUSY, 2, OPEN, detail={"target": "beadboard", "until": until}),
        ]
    )
    pause = LedgerEntry(
        "",
        1,
        EntryKind.PAUSE,
        0,
        "",
        "",
        "",
        "",
        AT,
        "",
        "upgrade",
        "",
        "",
        "ops",
        {},
        EntryEffects(),
    )
    projection.apply([Event(EventKind.LEDGER, "", "c", AT, entry=pause)])
    state = projection.state()
    assert list(state.cooldowns) == ["beadboard"]
    assert state.pauses[""].reason == "upgrade"
    assert state.claims == {"agent": (AT,)}
    projection.apply(
        [
            Event(
                EventKind.LEDGER,
                "",
                "c",
                AT,
                entry=pause._replace(version=2, kind=EntryKind.RESUME),
            )
        ]
    )
    assert projection.state().pauses == {}
    assert projection.touched == {"bd-1"}


def test_all_notes_that_were_overwritten_are_remembered_until_they_are_appended_again() -> None:
    """A `bd note` that spans the claim and the dispatch overwrites both notes."""
    lost = [
        did(EventKind.OVERWRITTEN, RUNS, sign=False)._replace(note=note)
        for note in ("claimed", "dispatched")
    ]
    bead = after(MATCHED, CLAIM, SENT, *lost)
    assert bead is not None
    assert bead.lost_note == "claimed\ndispatched"
    again = apply_to_bead(bead, said(EntryKind.NOTE, 3, token=""))
    assert again is not None
    assert again.lost_note == ""


@pytest.mark.parametrize(
    ("commit", "off", "expected"),
    [
        ("x5", 0, Phase.RUNNING),
        # The row was written one second after the claim.
        ("x5", -4, Phase.RUNNING),
        # The row was written before the claim and committed after it.
        ("x5", -60, Phase.UNKNOWN),
        # The claim's own commit contains the row.
        ("c1", 0, Phase.UNKNOWN),
    ],
)
def test_only_what_was_written_after_the_claim_is_evidence(
    commit: str, off: int, expected: Phase
) -> None:
    at = AT + timedelta(seconds=5)
    sign = Event(
        EventKind.SIGN,
        "bd-1",
        commit,
        at,
        facts=RUNS,
        sign=ActivitySignal(at, "comment", "an agent", commit, off),
    )
    unknown = said(EntryKind.UNKNOWN, 2)
    assert phase(MATCHED, CLAIM, sign, unknown) is expected
    if commit != "c1":
        assert phase(MATCHED, CLAIM, unknown, sign) is expected


def test_only_a_person_re_arms_a_bead_and_not_a_column_that_bd_computes() -> None:
    quarantined = [MATCHED, CLAIM, said(EntryKind.QUARANTINED, 2, OPEN)]
    flipped = Event(EventKind.UNMATCHED, "bd-1", "x", AT, facts=NEITHER, changed=("is_blocked",))
    back = flipped._replace(what=EventKind.MATCHED, facts=OPEN)
    bead = after(*quarantined, flipped)
    assert bead is not None and (bead.phase, bead.matches) == (Phase.QUARANTINED, False)
    assert after(*quarantined, flipped, back) == after(*quarantined)
    assert phase(*quarantined, back._replace(changed=("is_blocked", "title"))) == Phase.WAITING
    # The record exists only while the bead matches.
    assert phase(MATCHED, flipped) is None


def test_the_state_is_of_the_commit_that_it_was_moved_to() -> None:
    projection = Projection(State("c1", "c0"))
    projection.apply([], "c2")
    assert (projection.state().commit, projection.state().made) == ("c2", "c0")
