"""Whose change is it: told by cell, never by commit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from dolt_watch.core.derive import derive
from dolt_watch.model import Answers, CommitChanges, Entry, Event, Kind, RowChange, Rule, What, Wrote

AT = datetime(2026, 4, 18, 22, 35, 46, tzinfo=UTC)
RULES = [Rule("agent")]
CLAIM_NOTE = "auto-dispatcher claimed at 2026-04-18T22:35:46Z"


def entry(kind: Kind = Kind.CLAIM, note: str = CLAIM_NOTE, events: tuple[str, ...] = ("e1",)) -> Entry:
    wrote = Wrote({"status": ("open", "in_progress")}, note, events)
    return Entry("bd-1", 1, kind, 1, "agent", "t", "c0", "c0", AT, "", "", "", "", "", {}, wrote)


def row(changed: str, before: Mapping[str, Any], after: Mapping[str, Any], answers: Answers) -> RowChange:
    return RowChange("issues", "bd-1", "modified", tuple(changed.split()), before, after, at=AT, answers=(answers,))


def events(*rows: RowChange, entries: tuple[Entry, ...] = ()) -> list[Event]:
    return list(derive(CommitChanges("c1", AT, "somebody", rows, entries), RULES))


CLAIMED = Answers(matched=True, matches=False, was_running=False, runs=True)


def test_our_claim_alone_is_nobody_elses() -> None:
    before, after = {"status": "open", "notes": ""}, {"status": "in_progress", "notes": CLAIM_NOTE}
    found = events(row("status notes updated_at", before, after, CLAIMED), entries=(entry(),))
    assert [event.what for event in found] == [What.LEDGER]
    assert found[0].facts is not None
    assert (found[0].facts.matches, found[0].facts.runs) == ("", "agent")


def test_an_assignee_swept_into_our_claim_is_theirs() -> None:
    before = {"status": "open", "notes": "", "assignee": "agent"}
    after = {"status": "in_progress", "notes": CLAIM_NOTE, "assignee": "bob"}
    gone = Answers(matched=True, matches=False, was_running=False, runs=False)
    found = events(row("status notes assignee updated_at", before, after, gone), entries=(entry(),))
    assert [(event.what, event.changed) for event in found] == [(What.LEDGER, ()), (What.UNMATCHED, ("assignee",))]


def test_a_note_swept_in_between_is_theirs() -> None:
    before, after = {"status": "open", "notes": ""}, {"status": "in_progress", "notes": f"theirs\n{CLAIM_NOTE}"}
    found = events(row("status notes updated_at", before, after, CLAIMED), entries=(entry(),))
    assert [(event.what, event.changed) for event in found][1:] == [(What.STARTED, ("notes",))]


def test_a_status_other_than_the_one_we_wrote_is_theirs() -> None:
    before, after = {"status": "open", "notes": ""}, {"status": "closed", "notes": CLAIM_NOTE}
    gone = Answers(matched=True, matches=False, was_running=False, runs=False)
    found = events(row("status notes updated_at", before, after, gone), entries=(entry(),))
    assert found[1].changed == ("status",)


def test_events_rows_of_ours_are_no_sign_of_life_and_others_are() -> None:
    ours = RowChange("events", "bd-1", "added", key="e1", at=AT, who="beads-dispatcher")
    theirs = RowChange("events", "bd-1", "added", key="e2", at=AT, who="an agent")
    found = events(ours, theirs, entries=(entry(),))
    assert [event.sign.who for event in found if event.sign] == ["an agent"]


def test_a_comment_counts_from_its_commit_and_a_wrong_clock_is_told() -> None:
    """By its own time an agent whose clock, or whose server's zone, is hours behind would be called dead while it comments."""
    for own, off in (
        (AT - timedelta(hours=8), -8 * 3600),
        (AT - timedelta(minutes=2), -120),
        (AT + timedelta(hours=1), 3600),
        (None, 0),
    ):
        found = events(RowChange("comments", "bd-1", "added", key="k", at=own, who="a"))
        assert found[0].sign is not None
        assert (found[0].sign.at, found[0].sign.off) == (AT, off)


def test_a_note_of_ours_that_is_gone_is_noticed() -> None:
    before, after = {"notes": f"x\n{CLAIM_NOTE}"}, {"notes": "x\ntheirs"}
    runs = Answers(matched=False, matches=False, was_running=True, runs=True)
    found = events(row("notes updated_at", before, after, runs))
    assert [(event.what, event.note) for event in found] == [(What.OVERWRITTEN, CLAIM_NOTE), (What.EDITED, "")]


def test_a_deleted_bead_has_left() -> None:
    gone = RowChange("issues", "bd-1", "removed", answers=(Answers(True, False, False, False),))
    assert [event.what for event in events(gone)] == [What.LEFT]


def test_a_bead_that_matches_two_rules_goes_to_the_first() -> None:
    both = Answers(matched=False, matches=True, was_running=False, runs=False)
    change = RowChange("issues", "bd-1", "added", answers=(both, both))
    found = list(derive(CommitChanges("c1", AT, "x", (change,)), [Rule("first"), Rule("second")]))
    assert [(event.what, event.facts and event.facts.matches) for event in found] == [(What.MATCHED, "first")]
