"""The author of a change follows from each cell, never from the commit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dolt_watch.core.model import (
    ActivitySignal,
    CommitChanges,
    EntryEffects,
    EntryKind,
    Event,
    EventKind,
    LedgerEntry,
    Origin,
    RowChange,
    Rule,
    RuleAnswers,
    RuleMatch,
)
from dolt_watch.core.projection.event_deriver import appended, derive_events, is_ours

AT = datetime(2026, 4, 18, 22, 35, 46, tzinfo=UTC)
RULES = [Rule("agent")]
CLAIM_NOTE = "auto-dispatcher claimed at 2026-04-18T22:35:46Z"


def entry(
    kind: EntryKind = EntryKind.CLAIM, note: str = CLAIM_NOTE, events: tuple[str, ...] = ("e1",)
) -> LedgerEntry:
    wrote = EntryEffects({"status": ("open", "in_progress")}, note, events)
    return LedgerEntry(
        "bd-1", 1, kind, 1, "agent", "t", "c0", "c0", AT, "", "", "", "", "", {}, wrote
    )


def row(
    changed: str, before: Mapping[str, Any], after: Mapping[str, Any], answers: RuleAnswers
) -> RowChange:
    return RowChange(
        "issues",
        "bd-1",
        "modified",
        tuple(changed.split()),
        before,
        after,
        at=AT,
        answers=(answers,),
    )


def events(*rows: RowChange, entries: tuple[LedgerEntry, ...] = ()) -> list[Event]:
    return list(derive_events(CommitChanges("c1", AT, "somebody", rows, entries), RULES))


CLAIMED = RuleAnswers(matched=True, matches=False, was_running=False, runs=True)


def test_our_claim_alone_is_nobody_elses() -> None:
    before, after = {"status": "open", "notes": ""}, {"status": "in_progress", "notes": CLAIM_NOTE}
    found = events(row("status notes updated_at", before, after, CLAIMED), entries=(entry(),))
    assert [event.what for event in found] == [EventKind.LEDGER]
    assert found[0].facts is not None
    assert (found[0].facts.matches, found[0].facts.runs) == ("", "agent")


def test_an_assignee_swept_into_our_claim_is_theirs() -> None:
    before = {"status": "open", "notes": "", "assignee": "agent"}
    after = {"status": "in_progress", "notes": CLAIM_NOTE, "assignee": "bob"}
    gone = RuleAnswers(matched=True, matches=False, was_running=False, runs=False)
    found = events(row("status notes assignee updated_at", before, after, gone), entries=(entry(),))
    assert [(event.what, event.changed) for event in found] == [
        (EventKind.LEDGER, ()),
        (EventKind.UNMATCHED, ("assignee",)),
    ]


def test_a_note_swept_in_between_is_theirs() -> None:
    before, after = (
        {"status": "open", "notes": ""},
        {"status": "in_progress", "notes": f"theirs\n{CLAIM_NOTE}"},
    )
    found = events(row("status notes updated_at", before, after, CLAIMED), entries=(entry(),))
    assert [(event.what, event.changed) for event in found][1:] == [(EventKind.STARTED, ("notes",))]


def test_a_status_other_than_the_one_we_wrote_is_theirs() -> None:
    before, after = {"status": "open", "notes": ""}, {"status": "closed", "notes": CLAIM_NOTE}
    gone = RuleAnswers(matched=True, matches=False, was_running=False, runs=False)
    found = events(row("status notes updated_at", before, after, gone), entries=(entry(),))
    assert found[1].changed == ("status",)


def test_events_rows_of_ours_are_no_sign_of_life_and_others_are() -> None:
    ours = RowChange("events", "bd-1", "added", key="e1", at=AT, who="beads-dispatcher")
    theirs = RowChange("events", "bd-1", "added", key="e2", at=AT, who="an agent")
    found = events(ours, theirs, entries=(entry(),))
    assert [event.sign.who for event in found if event.sign] == ["an agent"]


def test_a_comment_counts_from_its_commit_and_a_wrong_clock_is_told() -> None:
    """A comment counts from its commit, because an agent's clock may be hours behind."""
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
    runs = RuleAnswers(matched=False, matches=False, was_running=True, runs=True)
    found = events(row("notes updated_at", before, after, runs))
    assert [(event.what, event.note) for event in found] == [
        (EventKind.OVERWRITTEN, CLAIM_NOTE),
        (EventKind.EDITED, ""),
    ]


def test_a_deleted_bead_has_left() -> None:
    gone = RowChange("issues", "bd-1", "removed", answers=(RuleAnswers(True, False, False, False),))
    assert [event.what for event in events(gone)] == [EventKind.LEFT]


def test_a_bead_that_matches_two_rules_goes_to_the_first() -> None:
    both = RuleAnswers(matched=False, matches=True, was_running=False, runs=False)
    change = RowChange("issues", "bd-1", "added", answers=(both, both))
    found = list(
        derive_events(CommitChanges("c1", AT, "x", (change,)), [Rule("first"), Rule("second")])
    )
    assert [(event.what, event.facts and event.facts.matches) for event in found] == [
        (EventKind.MATCHED, "first")
    ]


RUNS = RuleAnswers(matched=False, matches=False, was_running=True, runs=True)
OPEN = RuleAnswers(matched=True, matches=True, was_running=False, runs=False, rank=(2,))


def test_an_entry_comes_back_with_what_its_commit_did_to_the_row() -> None:
    change = row(
        "status notes updated_at",
        {"status": "open"},
        {"status": "in_progress", "notes": CLAIM_NOTE},
        CLAIMED,
    )
    assert events(change, entries=(entry(),)) == [
        Event(
            EventKind.LEDGER,
            "bd-1",
            "c1",
            AT,
            facts=RuleMatch(running=("agent",)),
            entry=entry(),
            row=change,
        )
    ]
    assert events(entries=(entry(),)) == [Event(EventKind.LEDGER, "bd-1", "c1", AT, entry=entry())]


def test_entries_of_one_commit_come_in_the_streams_order() -> None:
    first, second = entry(), entry(EntryKind.DISPATCHED)._replace(version=2)
    assert [event.entry for event in events(entries=(second, first))] == [first, second]


@pytest.mark.parametrize(
    ("answers", "what"),
    [
        ((False, True, False, False), EventKind.MATCHED),
        ((False, False, False, True), EventKind.STARTED),
        ((True, False, False, True), EventKind.STARTED),
        ((True, False, False, False), EventKind.UNMATCHED),
        ((False, False, True, False), EventKind.LEFT),
        ((False, True, True, False), EventKind.MATCHED),
        ((True, True, False, False), EventKind.EDITED),
        ((False, False, True, True), EventKind.EDITED),
        ((False, False, False, False), EventKind.EDITED),
    ],
)
def test_what_a_change_of_the_row_means(answers: tuple[bool, ...], what: EventKind) -> None:
    assert [event.what for event in events(row("title", {}, {}, RuleAnswers(*answers)))] == [what]


def test_from_one_rule_to_another() -> None:
    """The rank comes from the matching rule, and the event names every rule that runs the bead."""
    rules = [Rule("a"), Rule("b"), Rule("c")]

    def of(*answers: RuleAnswers) -> Event:
        change = RowChange("issues", "bd-1", "modified", ("assignee",), answers=answers)
        (event,) = derive_events(CommitChanges("c1", AT, "ann", (change,)), rules)
        return event

    from_a, to_b = OPEN._replace(matches=False), OPEN._replace(matched=False, rank=(7,))
    assert (of(from_a, to_b, to_b).what, of(from_a, to_b, to_b).facts) == (
        EventKind.MATCHED,
        RuleMatch("b", rank=(7,)),
    )
    started = RuleAnswers(False, False, False, True)
    assert of(from_a, started, started).facts == RuleMatch(running=("b", "c"))
    with pytest.raises(ValueError, match="argument"):
        of(OPEN, OPEN)


@pytest.mark.parametrize(
    ("change", "sign"),
    [
        (
            RowChange("issues", "bd-1", "modified", ("title", "notes"), at=AT),
            ActivitySignal(AT, "title, notes", "ann", "c1", 0),
        ),
        (
            RowChange(
                "issues",
                "bd-1",
                "modified",
                ("title", "updated_at"),
                at=AT - timedelta(minutes=2),
                who="an agent",
            ),
            ActivitySignal(AT, "title, updated_at", "an agent", "c1", -120),
        ),
        # If the row's own time didn't change, the time of the write is unknown.
        (
            RowChange("issues", "bd-1", "modified", ("title",), at=AT - timedelta(days=9)),
            ActivitySignal(AT, "title", "ann", "c1", 0),
        ),
        (
            RowChange("issues", "bd-1", "added", at=AT - timedelta(minutes=2)),
            ActivitySignal(AT, "row", "ann", "c1", -120),
        ),
    ],
)
def test_a_change_by_others_is_a_sign_of_life(change: RowChange, sign: ActivitySignal) -> None:
    change = change._replace(answers=(RUNS,))
    found = list(derive_events(CommitChanges("c1", AT, "ann", (change,)), RULES))
    facts, theirs = RuleMatch(running=("agent",)), tuple(sign.what.split(", "))
    assert found == [
        Event(
            EventKind.EDITED,
            "bd-1",
            "c1",
            AT,
            facts=facts,
            sign=sign,
            changed=theirs,
            row=change,
            origin=Origin.SAME,
        )
    ]


def test_what_a_commit_of_ours_swept_in_is_somebodys() -> None:
    found = list(
        derive_events(CommitChanges("c1", AT, "dolt-watch", (row("title", {}, {}, RUNS),)), RULES)
    )
    assert [event.sign and event.sign.who for event in found] == ["an unknown writer"]


@pytest.mark.parametrize(
    ("table", "noun"),
    [
        ("comments", "comment"),
        ("labels", "label"),
        ("events", "event"),
        ("dependencies", "dependency"),
        ("wisps", "wisps"),
    ],
)
def test_what_stands_beside_a_bead_is_a_sign_unless_it_was_taken_away(
    table: str, noun: str
) -> None:
    beside = RowChange(table, "bd-2", "added", key="k", at=AT, who="an agent")
    sign = ActivitySignal(AT, noun, "an agent", "c1")
    assert events(beside, entries=(entry(),))[1:] == [
        Event(EventKind.SIGN, "bd-2", "c1", AT, sign=sign, row=beside)
    ]
    edited = row("title", {}, {}, RUNS)
    signed = events(edited, beside._replace(bead="bd-1"))[1]
    assert signed == Event(
        EventKind.SIGN,
        "bd-1",
        "c1",
        AT,
        facts=RuleMatch(running=("agent",)),
        sign=sign,
        row=beside._replace(bead="bd-1"),
    )
    assert events(beside._replace(kind="removed")) == []


def test_a_row_that_is_taken_away_hides_none_that_stands() -> None:
    taken = RowChange("labels", "bd-1", "removed", key="l")
    comment = RowChange("comments", "bd-1", "added", key="k", who="an agent")
    assert [event.sign and event.sign.what for event in events(taken, comment)] == ["comment"]


def test_a_deleted_bead_and_a_note_that_is_gone_say_all_that_they_know() -> None:
    gone = RowChange("issues", "bd-1", "removed", answers=(RuleAnswers(True, False, False, False),))
    assert events(gone) == [
        Event(
            EventKind.LEFT,
            "bd-1",
            "c1",
            AT,
            facts=RuleMatch(),
            changed=("deleted",),
            row=gone,
            origin=Origin.UNCLEAR,
        )
    ]
    change = row("notes", {"notes": CLAIM_NOTE}, {"notes": ""}, RUNS)
    assert events(change)[0] == Event(
        EventKind.OVERWRITTEN,
        "bd-1",
        "c1",
        AT,
        facts=RuleMatch(running=("agent",)),
        note=CLAIM_NOTE,
        row=change,
        origin=Origin.SAME,
    )


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        (
            row("notes", {"notes": f"x\n{CLAIM_NOTE}\ndispatched: job=j\ny"}, {"notes": ""}, RUNS),
            [CLAIM_NOTE, "dispatched: job=j"],
        ),
        (row("notes", {"notes": f"{CLAIM_NOTE}\nx"}, {"notes": None}, RUNS), [CLAIM_NOTE]),
        (row("notes", {"notes": f"{CLAIM_NOTE}\nx"}, {"notes": f"y\n{CLAIM_NOTE}"}, RUNS), []),
        (row("notes", {"notes": "x"}, {"notes": "y"}, RUNS), []),
        (row("notes", {"notes": ""}, {"notes": "y"}, RUNS), []),
        # The change feed doesn't contain notes that didn't change.
        (
            row("title", {"notes": CLAIM_NOTE}, {}, RUNS),
            [],
        ),
        (row("notes", {"notes": CLAIM_NOTE}, {}, RUNS)._replace(kind="removed"), []),
    ],
)
def test_which_notes_of_ours_were_overwritten(change: RowChange, lost: list[str]) -> None:
    assert [event.note for event in events(change) if event.what is EventKind.OVERWRITTEN] == lost


@pytest.mark.parametrize(
    ("before", "after", "theirs"),
    [
        ({"notes": "x"}, {"notes": f"x\n{CLAIM_NOTE}"}, ()),
        ({"notes": None}, {"notes": CLAIM_NOTE}, ()),
        ({"notes": "x"}, {"notes": CLAIM_NOTE}, ("notes",)),
        ({"status": "blocked"}, {"status": "in_progress"}, ("status",)),
        ({"updated_at": 1, "title": "x"}, {"updated_at": 2, "title": "y"}, ("title",)),
        ({"updated_at": 1}, {"updated_at": 2}, ()),
    ],
)
def test_less_exactly_what_we_wrote(
    before: dict[str, Any], after: dict[str, Any], theirs: tuple[str, ...]
) -> None:
    found = events(row(" ".join(before), before, after, CLAIMED), entries=(entry(),))
    assert [event.changed for event in found[1:]] == ([theirs] if theirs else [])


def test_two_entries_in_one_commit_write_one_after_the_other() -> None:
    back = EntryEffects({"status": ("in_progress", "open")}, "dispatch failed x", ("e2",))
    failed = entry(EntryKind.FAILED)._replace(version=2, wrote=back)
    said = f"{CLAIM_NOTE}\ndispatch failed x"
    both = row("status notes", {"status": "open"}, {"status": "open", "notes": said}, OPEN)
    assert [event.what for event in events(both, entries=(entry(), failed))] == [
        EventKind.LEDGER,
        EventKind.LEDGER,
    ]
    assert appended("", [entry(), entry(note=""), failed]) == said


@pytest.mark.parametrize(
    "line",
    [
        "auto-dispatcher claimed at 2026-04-18T22:35:46Z",
        "dispatched: job=j",
        "dispatch failed HTTP 500",
        "dispatch outcome unknown (x): not sent again until it is known",
        "dispatch outcome still unknown after 15m — blocking; set it open to try again",
        "dispatch quarantined after 5 attempts: x; edit the bead to try again",
        "dispatch retried by tess: it is back",
        "dispatch released by tess: mine",
        "dispatch stopped by tess: wrong files",
        "dispatch restored: job=j",
        "dispatch restored: attempt 2",
        "reaper: job j7 ended failed: boom — blocking",
        "reaper: job j7 ended lost — requeued",
        "reaper: no progress for 31m (threshold 30m) — blocking",
        "reaper: no progress for 0m (threshold <1m) — requeued",
    ],
)
def test_a_note_of_ours_is_told_by_its_whole_line(line: str) -> None:
    assert is_ours(line)
    assert not is_ours(f"> {line}")
    assert is_ours(f"{line}!") is line.startswith(
        (
            "dispatched: ",
            "dispatch failed ",
            "dispatch restored: ",
            "dispatch retried by ",
            "dispatch released by ",
            "dispatch stopped by ",
        )
    ), "what ends with others' words"


@pytest.mark.parametrize(
    "line",
    [
        "reaper: do not touch before Monday",
        "auto-dispatcher claimed at noon",
        "dispatch outcome unknown to me",
        "dispatched: to Bob",
    ],
)
def test_words_of_others_are_theirs_to_take_back(line: str) -> None:
    assert not is_ours(line)


SAME = [RUNS, OPEN, RuleAnswers(False, False, False, False)]


@pytest.mark.parametrize("changed", ["is_blocked", "row_lock", "is_blocked row_lock"])
@pytest.mark.parametrize("answers", SAME)
def test_what_bd_computed_is_nobodys_edit(changed: str, answers: RuleAnswers) -> None:
    assert events(row(changed, {}, {}, answers)) == []


def test_what_bd_computed_beside_an_edit_is_not_named() -> None:
    (edited,) = events(row("is_blocked title row_lock updated_at", {}, {}, RUNS))
    assert (edited.what, edited.changed) == (EventKind.EDITED, ("title", "updated_at"))
    before, after = {"status": "open", "notes": ""}, {"status": "in_progress", "notes": CLAIM_NOTE}
    found = events(
        row("status notes row_lock is_blocked updated_at", before, after, CLAIMED),
        entries=(entry(),),
    )
    assert [event.what for event in found] == [EventKind.LEDGER]


@pytest.mark.parametrize(
    ("answers", "what"),
    [
        ((False, True, False, False), EventKind.MATCHED),
        ((True, False, False, False), EventKind.UNMATCHED),
        ((False, False, False, True), EventKind.STARTED),
        ((False, False, True, False), EventKind.LEFT),
    ],
)
def test_a_rule_may_ask_what_bd_computes(answers: tuple[bool, ...], what: EventKind) -> None:
    """A change of `is_blocked` may start or end a match, but is no sign of life."""
    change = row("is_blocked", {}, {}, RuleAnswers(*answers))
    (event,) = events(change)
    assert (event.what, event.sign, event.changed, event.row) == (
        what,
        None,
        ("is_blocked",),
        change,
    )
    assert event.facts == RuleMatch("agent" if answers[1] else "", ("agent",) if answers[3] else ())


def test_an_order_by_what_bd_computes_moves_the_bead_in_its_queue() -> None:
    change = row("is_blocked", {}, {}, OPEN)
    found = list(
        derive_events(
            CommitChanges("c1", AT, "ann", (change,)),
            [Rule("agent", order_by="is_blocked, priority")],
        )
    )
    assert [(event.what, event.sign, event.facts and event.facts.rank) for event in found] == [
        (EventKind.EDITED, None, (2,))
    ]


@pytest.mark.parametrize(
    "changed", ["status started_at row_lock updated_at", "updated_at row_lock", "assignee row_lock"]
)
def test_a_claim_of_bd_by_the_agent_is_a_sign_of_life(changed: str) -> None:
    """`bd update --claim` always changes the row, while no commit contains its lease."""
    (event,) = events(row(changed, {}, {}, RUNS))
    assert event.sign is not None and event.sign.who == "somebody"
    assert event.changed == tuple(name for name in changed.split() if name != "row_lock")
