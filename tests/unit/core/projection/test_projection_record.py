"""The whole record of a bead after each event: the changed and the unchanged fields."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from dolt_watch.core.model import (
    ActivitySignal,
    Bead,
    EntryKind,
    Event,
    EventKind,
    Phase,
    RuleMatch,
)
from dolt_watch.core.projection.projection import apply_to_bead
from tests.unit.core.projection.test_projection import (
    AT,
    MATCHED,
    NEITHER,
    OPEN,
    RUNS,
    SENT,
    after,
    did,
    said,
)


def at(seconds: int) -> datetime:
    return AT + timedelta(seconds=seconds)


WAITS = Bead("bd-1", Phase.WAITING, "agent", AT, "x0", matches=True, rank=(1, "x"), matched_at=AT)
BOB = RuleMatch(running=("bob",))
HELD = WAITS._replace(phase=Phase.HELD, attempt=3, reason="why", version=7)
DEADLINE = {"deadline": at(30).isoformat()}
CLAIMED = WAITS._replace(
    phase=Phase.CLAIMED,
    cause="c1",
    matches=False,
    runs=True,
    version=1,
    attempt=1,
    token="t",
    sent_at=AT,
    deadline=AT,
)
RUNNING = CLAIMED._replace(phase=Phase.RUNNING, cause="c2", version=2, job="j", deadline=None)
SEEN = ActivitySignal(at(1), "notes", "agent", "x")


def test_a_bead_enters_as_it_stands() -> None:
    assert after(MATCHED) == WAITS
    both = RuleMatch("agent", ("agent",), (1,))
    assert after(did(EventKind.MATCHED, both)) == Bead(
        "bd-1",
        Phase.WAITING,
        "agent",
        at(1),
        "x1",
        matches=True,
        runs=True,
        rank=(1,),
        matched_at=at(1),
    )
    started = did(EventKind.STARTED, RuleMatch(running=("agent", "bob")))
    assert after(started) == Bead(
        "bd-1", Phase.RUNNING, "agent", at(1), "x1", runs=True, sent_at=at(1), sign=started.sign
    )
    assert (
        after(
            did(EventKind.EDITED, NEITHER),
            did(EventKind.SIGN, OPEN),
            did(EventKind.OVERWRITTEN, OPEN),
        )
        is None
    )


@pytest.mark.parametrize(
    ("before", "facts", "expected"),
    [
        (WAITS, OPEN, WAITS),
        (WAITS, RuleMatch("agent", rank=(9,)), WAITS._replace(rank=(9,))),
        # An unknown rank doesn't change the record.
        (WAITS, RuleMatch("agent"), WAITS),
        (
            WAITS._replace(version=4),
            RuleMatch("bob", rank=(9,)),
            Bead(
                "bd-1",
                Phase.WAITING,
                "bob",
                at(1),
                "x1",
                matches=True,
                rank=(9,),
                matched_at=at(1),
                version=4,
            ),
        ),
        (WAITS, NEITHER, None),
        # Only a resume ends the hold.
        (HELD, OPEN, HELD._replace(matches=True, rank=OPEN.rank)),
        (HELD, RuleMatch("bob"), HELD._replace(matches=True, rule="bob")),
        (HELD, NEITHER, None),
        # The worker may be sending its request at this moment.
        (
            CLAIMED,
            OPEN,
            CLAIMED._replace(matches=True, runs=False, sign=SEEN),
        ),
        (RUNNING, RUNS, RUNNING._replace(sign=SEEN)),
        (RUNNING, RuleMatch(running=("first", "agent")), RUNNING._replace(sign=SEEN)),
        (
            RUNNING,
            BOB,
            Bead(
                "bd-1",
                Phase.RUNNING,
                "bob",
                at(1),
                "x1",
                runs=True,
                version=2,
                sent_at=at(1),
                sign=SEEN,
            ),
        ),
        (RUNNING, NEITHER, None),
    ],
)
def test_somebody_changes_the_row(before: Bead, facts: RuleMatch, expected: Bead | None) -> None:
    assert apply_to_bead(before, did(EventKind.EDITED, facts)._replace(sign=SEEN)) == expected


def test_in_backoff_the_pause_stays_under_whatever_rule_it_matches() -> None:
    retried = WAITS._replace(phase=Phase.BACKOFF, retry_at=at(60), attempt=2)
    assert apply_to_bead(
        retried, did(EventKind.MATCHED, RuleMatch("bob", rank=(1, "x")))
    ) == retried._replace(rule="bob")
    assert apply_to_bead(retried, did(EventKind.UNMATCHED, NEITHER)) is None


def test_a_claim_forgets_the_attempt_before() -> None:
    again = WAITS._replace(
        retry_at=AT, job="old", sign=SEEN, attempt=1, reason="", lost_note="kept"
    )
    assert apply_to_bead(again, said(EntryKind.CLAIM, 1, detail=DEADLINE)) == CLAIMED._replace(
        deadline=at(30), lost_note="kept"
    )
    assert after(said(EntryKind.CLAIM, 1)) == CLAIMED._replace(matched_at=None, rank=())
    assert after(said(EntryKind.CLAIM, 1, BOB)) == CLAIMED._replace(
        matched_at=None, rank=(), runs=False
    )
    assert after(said(EntryKind.CLAIM, 1, OPEN)) == CLAIMED._replace(
        matched_at=None, rank=(), matches=True, runs=False
    )
    assert (
        apply_to_bead(WAITS._replace(rule="bob", since=at(-9)), said(EntryKind.CLAIM, 1)) == CLAIMED
    )
    assert after(said(EntryKind.CLAIM, 1, None)) == CLAIMED._replace(
        matched_at=None, rank=(), runs=False
    )


@pytest.mark.parametrize(
    ("told", "deadline"),
    [
        (at(30), at(30)),
        (at(7200), at(7200)),
        (at(7201), at(7200)),
        ("nonsense", AT),
        ("9999-01-01", AT),
        (None, AT),
    ],
)
def test_a_claim_is_somebodys_to_settle_before_long(told: Any, deadline: datetime) -> None:
    claim = after(
        said(
            EntryKind.CLAIM,
            1,
            detail={"deadline": told.isoformat() if isinstance(told, datetime) else told},
        )
    )
    assert claim is not None
    assert claim.deadline == deadline


EARLY = ActivitySignal(at(-1), "comment", "agent", "x")
FAILED = CLAIMED._replace(
    phase=Phase.BACKOFF,
    cause="c2",
    matches=True,
    runs=False,
    token="",
    deadline=None,
    version=2,
    reason="why",
    retry_at=at(60),
)
RETRY = {"retry_at": at(60).isoformat()}
TAKEN = WAITS._replace(version=2, cause="c1", sent_at=AT)
"""The record of a bead that matched again during its attempt and is due again."""


@pytest.mark.parametrize(
    ("before", "event", "expected"),
    [
        (CLAIMED, SENT, RUNNING),
        (CLAIMED._replace(reason="x"), SENT, RUNNING),
        (
            CLAIMED,
            said(EntryKind.DISPATCHED, 2, OPEN, job="j"),
            TAKEN._replace(attempt=0, cause="c2"),
        ),
        (CLAIMED, said(EntryKind.DISPATCHED, 2, NEITHER), None),
        (CLAIMED, said(EntryKind.DISPATCHED, 2, None, job="j"), RUNNING),
        (
            CLAIMED,
            said(EntryKind.DISPATCHED, 2, BOB),
            Bead("bd-1", Phase.RUNNING, "bob", AT, "c2", runs=True, version=2, sent_at=AT),
        ),
        (
            CLAIMED,
            said(EntryKind.UNKNOWN, 2),
            CLAIMED._replace(
                phase=Phase.UNKNOWN, cause="c2", version=2, reason="why", deadline=None
            ),
        ),
        (CLAIMED, said(EntryKind.UNKNOWN, 2, NEITHER), None),
        (
            CLAIMED._replace(sign=SEEN),
            said(EntryKind.UNKNOWN, 2),
            RUNNING._replace(job="", sign=SEEN, reason="a sign of life: notes by agent"),
        ),
        (
            CLAIMED._replace(sign=EARLY),
            said(EntryKind.OVERDUE, 2),
            CLAIMED._replace(
                phase=Phase.UNKNOWN, cause="c2", version=2, reason="why", deadline=None, sign=EARLY
            ),
        ),
        (
            CLAIMED._replace(sign=SEEN, attempt=4),
            said(EntryKind.FAILED, 2, OPEN, detail=RETRY),
            FAILED,
        ),
        (
            CLAIMED,
            said(EntryKind.QUARANTINED, 2, OPEN),
            FAILED._replace(phase=Phase.QUARANTINED, retry_at=None),
        ),
        (CLAIMED, said(EntryKind.RETRY, 2, OPEN, detail=RETRY), FAILED),
        (
            RUNNING._replace(sign=SEEN, version=1),
            said(EntryKind.REQUEUE, 2, OPEN, detail=RETRY),
            FAILED._replace(job=""),
        ),
        (
            CLAIMED,
            said(EntryKind.FAILED, 2, RuleMatch("bob", rank=(1, "x")), detail=RETRY),
            FAILED._replace(rule="bob"),
        ),
        # A user runs the bead manually.
        (
            CLAIMED,
            said(EntryKind.FAILED, 2, RUNS),
            RUNNING._replace(token="", job="", reason="why"),
        ),
        (CLAIMED, said(EntryKind.FAILED, 2, NEITHER), None),
        (
            CLAIMED._replace(attempt=3, sign=SEEN, job="old"),
            said(EntryKind.BUSY, 2, OPEN),
            CLAIMED._replace(
                phase=Phase.WAITING,
                matches=True,
                runs=False,
                version=2,
                cause="c2",
                attempt=2,
                token="",
                deadline=None,
                reason="why",
            ),
        ),
        (
            CLAIMED._replace(attempt=0),
            said(EntryKind.STOPPED, 2, RuleMatch("bob", rank=(1, "x"))),
            CLAIMED._replace(
                phase=Phase.WAITING,
                rule="bob",
                matches=True,
                runs=False,
                version=2,
                cause="c2",
                attempt=0,
                token="",
                deadline=None,
                reason="why",
            ),
        ),
        (
            CLAIMED._replace(matches=True),
            said(EntryKind.BUSY, 2, None),
            CLAIMED._replace(
                phase=Phase.WAITING,
                matches=True,
                version=2,
                cause="c2",
                attempt=0,
                token="",
                deadline=None,
                reason="why",
            ),
        ),
        (
            CLAIMED._replace(matches=True, runs=False),
            said(EntryKind.DISPATCHED, 2, None),
            TAKEN._replace(cause="c2"),
        ),
        (
            CLAIMED,
            said(EntryKind.DISPATCHED, 2, RuleMatch("bob", rank=(1, "x"))),
            TAKEN._replace(rule="bob", cause="c2"),
        ),
        (
            CLAIMED,
            said(EntryKind.RELEASE, 2, RUNS),
            CLAIMED._replace(phase=Phase.RUNNING, version=2, attempt=0, token="", deadline=None),
        ),
        (RUNNING, said(EntryKind.REAP, 3, OPEN), None),
        (RUNNING, said(EntryKind.GIVE_UP, 3, RUNS), None),
        (
            RUNNING,
            said(EntryKind.FAILED, 3, token="", detail=RETRY),
            RUNNING._replace(
                phase=Phase.RUNNING,
                since=AT,
                cause="c3",
                version=3,
                token="",
                job="",
                reason="why",
                retry_at=at(60),
            ),
        ),
        (None, said(EntryKind.DISPATCHED, 2), None),
    ],
)
def test_what_each_entry_does_to_its_attempt(
    before: Bead | None, event: Event, expected: Bead | None
) -> None:
    assert apply_to_bead(before and before._replace(since=at(-9)), event) == expected


def test_what_changes_nothing_but_the_version() -> None:
    # A REPROCESS entry normally belongs to no bead.
    for kind in (EntryKind.NOTE, EntryKind.REPROCESS):
        assert apply_to_bead(RUNNING, said(kind, 3)) == RUNNING._replace(version=3)


def test_a_row_that_moved_on_is_taken_from_its_commit_on() -> None:
    """The times come from the entry's commit, because a settled attempt counts from history."""
    late = said(EntryKind.DISPATCHED, 2, OPEN)._replace(at=at(9))
    bead = apply_to_bead(CLAIMED._replace(sign=SEEN), late)
    assert bead is not None
    assert (bead.since, bead.matched_at, bead.token, bead.job, bead.sign) == (
        at(9),
        at(9),
        "",
        "",
        None,
    )
    assert apply_to_bead(CLAIMED, SENT._replace(at=at(9))) == RUNNING, (
        "but one that runs, from when it was settled"
    )
    by_hand = apply_to_bead(CLAIMED, said(EntryKind.FAILED, 2, RUNS)._replace(at=at(9)))
    assert by_hand is not None
    assert by_hand.since == at(9)


def test_one_version_is_folded_once() -> None:
    assert apply_to_bead(RUNNING, said(EntryKind.REAP, 2, RUNS)) == RUNNING
    assert apply_to_bead(RUNNING, said(EntryKind.REAP, 3, RUNS)) is None


KNEW = {
    "phase": "running",
    "since": at(-9).isoformat(),
    "sent_at": at(-10).isoformat(),
    "deadline": at(5).isoformat(),
}
RESTORED = RUNNING._replace(since=at(-9), cause="c5", version=5, sent_at=at(-10), deadline=at(5))


@pytest.mark.parametrize(
    ("before", "event", "expected"),
    [
        (
            None,
            said(EntryKind.RESTORE, 5, job="j", detail=KNEW),
            RESTORED._replace(rank=(), matched_at=None),
        ),
        (WAITS, said(EntryKind.RESTORE, 5, job="j", detail=KNEW), RESTORED),
        (
            WAITS._replace(retry_at=AT, rule="bob"),
            said(EntryKind.RESTORE, 5, detail={}),
            RESTORED._replace(
                phase=Phase.UNKNOWN, since=AT, sent_at=None, deadline=None, job="", reason="why"
            ),
        ),
        # Without a row, the values come from the entry, and no record is created.
        (RUNNING, said(EntryKind.RESTORE, 5, None, job="j", detail=KNEW), RESTORED),
        # An imported entry may contain any phase.
        *(
            (
                RUNNING,
                said(EntryKind.RESTORE, 5, job="j", detail={**KNEW, "phase": word}),
                RESTORED._replace(phase=Phase.UNKNOWN),
            )
            for word in ("dancing", "waiting", None, ["running"])
        ),
        (None, said(EntryKind.RESTORE, 5, None, job="j", detail=KNEW), None),
        (None, said(EntryKind.RESTORE, 5, NEITHER, detail=KNEW), None),
        (
            None,
            said(EntryKind.RESTORE, 5, BOB, detail=KNEW),
            Bead("bd-1", Phase.RUNNING, "bob", AT, "c5", runs=True, version=5, sent_at=AT),
        ),
        (
            WAITS,
            said(EntryKind.RESTORE, 5, OPEN, detail=KNEW),
            RESTORED._replace(
                phase=Phase.WAITING,
                since=AT,
                matches=True,
                runs=False,
                attempt=0,
                token="",
                job="",
                reason="why",
            ),
        ),
    ],
)
def test_an_attempt_that_history_lost_is_as_the_saved_state_knew_it(
    before: Bead | None, event: Event, expected: Bead | None
) -> None:
    assert apply_to_bead(before, event) == expected


UNSURE = CLAIMED._replace(phase=Phase.UNKNOWN, deadline=None)


@pytest.mark.parametrize(
    ("before", "sign", "expected"),
    [
        (RUNNING, SEEN, RUNNING._replace(sign=SEEN)),
        (
            RUNNING._replace(sign=SEEN),
            SEEN._replace(what="comment"),
            RUNNING._replace(sign=SEEN._replace(what="comment")),
        ),
        (RUNNING._replace(sign=SEEN), EARLY, RUNNING._replace(sign=SEEN)),
        (WAITS, SEEN, WAITS),
        (
            UNSURE,
            SEEN,
            UNSURE._replace(
                phase=Phase.RUNNING,
                since=at(2),
                cause="x2",
                sign=SEEN,
                reason="a sign of life: notes by agent",
            ),
        ),
        (UNSURE, EARLY, UNSURE._replace(sign=EARLY)),
        (
            UNSURE,
            SEEN._replace(at=AT),
            UNSURE._replace(
                phase=Phase.RUNNING,
                since=at(2),
                cause="x2",
                sign=SEEN._replace(at=AT),
                reason="a sign of life: notes by agent",
            ),
        ),
        (UNSURE._replace(sent_at=None), SEEN, UNSURE._replace(sent_at=None, sign=SEEN)),
        (RUNNING, None, RUNNING),
    ],
)
def test_a_sign_of_life(before: Bead, sign: ActivitySignal | None, expected: Bead) -> None:
    assert apply_to_bead(before, did(EventKind.SIGN, None, 2)._replace(sign=sign)) == expected


@pytest.mark.parametrize(
    ("off", "phase"), [(-2, Phase.RUNNING), (-3, Phase.UNKNOWN), (60, Phase.RUNNING)]
)
def test_a_row_tells_whole_seconds(off: int, phase: Phase) -> None:
    """Times of rows are whole seconds, so a difference of two may be just over one second."""
    bead = apply_to_bead(UNSURE, did(EventKind.SIGN, None)._replace(sign=SEEN._replace(off=off)))
    assert bead is not None
    assert bead.phase is phase


def test_a_change_of_the_row_is_a_sign_too() -> None:
    changed = did(EventKind.EDITED, RUNS, 2)
    bead = apply_to_bead(UNSURE, changed)
    assert bead is not None
    assert (bead.phase, bead.since, bead.cause, bead.sign) == (
        Phase.RUNNING,
        at(2),
        "x2",
        changed.sign,
    )


def test_a_note_that_is_lost_twice_is_appended_once() -> None:
    lost = did(EventKind.OVERWRITTEN, RUNS, sign=False)._replace(note="claimed")
    assert apply_to_bead(apply_to_bead(RUNNING, lost), lost) == RUNNING._replace(
        lost_note="claimed"
    )


OWES = {
    "withheld": {"note": "dispatch failed HTTP 500: x", "status": "open"},
    "retry_at": at(60).isoformat(),
}


def test_a_report_that_could_not_write_the_row_keeps_what_is_owed() -> None:
    """During an uncommitted migration of bd, only the entry is committed, without the row."""
    failed = apply_to_bead(CLAIMED, said(EntryKind.FAILED, 2, None, detail=OWES))
    assert failed is not None
    assert (failed.phase, failed.unwritten, failed.lost_note) == (
        Phase.BACKOFF,
        "open",
        "dispatch failed HTTP 500: x",
    )
    assert apply_to_bead(failed, did(EventKind.EDITED, RUNS)) == failed, (
        "the row is as the claim left it"
    )
    noted = apply_to_bead(failed, said(EntryKind.NOTE, 3, MATCHED.facts, token=""))
    assert noted is not None
    assert (noted.phase, noted.unwritten, noted.lost_note, noted.matches) == (
        Phase.BACKOFF,
        "",
        "",
        True,
    )
    taken = apply_to_bead(failed, did(EventKind.LEFT, NEITHER))
    assert taken is None, "a person took it"


def test_a_busy_answer_and_a_note_alone_are_owed_too() -> None:
    busy = apply_to_bead(
        CLAIMED, said(EntryKind.BUSY, 2, None, detail={"withheld": {"note": "", "status": "open"}})
    )
    assert busy is not None
    assert (busy.phase, busy.unwritten, busy.lost_note) == (Phase.WAITING, "open", "")
    sent = apply_to_bead(
        CLAIMED,
        said(EntryKind.DISPATCHED, 2, None, detail={"withheld": {"note": "dispatched: job=j"}}),
    )
    assert sent is not None
    assert (sent.phase, sent.unwritten, sent.lost_note) == (
        Phase.RUNNING,
        "note",
        "dispatched: job=j",
    )
