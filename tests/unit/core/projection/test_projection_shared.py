"""Effects of an entry outside its bead: pauses, cooldowns, stopped rules, claims and holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from dolt_watch.core.model import (
    Bead,
    EntryEffects,
    EntryKind,
    Event,
    EventKind,
    LedgerEntry,
    Pause,
    Phase,
    State,
)
from dolt_watch.core.projection.projection import HELD_REASON, Projection

AT = datetime(2026, 4, 18, 22, 35, 46, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


VERSIONS = count(1)


def said(
    kind: EntryKind,
    rule: str = "",
    at: datetime = AT,
    reason: str = "why",
    bead: str = "",
    **detail: Any,
) -> Event:
    entry = LedgerEntry(
        bead,
        next(VERSIONS),
        kind,
        1,
        rule,
        "t",
        "c",
        "c",
        at,
        "",
        reason,
        "",
        "settings",
        "the actor",
        detail,
        EntryEffects(),
    )
    return Event(EventKind.LEDGER, bead, "c", at + MINUTE, entry=entry)


def folded(*events: Event, **state: Any) -> Projection:
    projection = Projection(State(**state))
    projection.apply(events)
    return projection


def test_what_is_not_folded_stays_as_it_was() -> None:
    whole = State(
        "c",
        "m",
        {"a": Bead("a", Phase.WAITING, "agent", AT, "c")},
        {"": Pause("", "x", AT, "ops")},
        {"beadboard": AT},
        {"agent": "s"},
        {"agent": (AT,)},
        7,
    )
    projection = Projection(whole)
    projection.apply([Event(EventKind.SIGN, "b", "c", AT)])
    assert (projection.state(), projection.touched) == (whole, set())


def test_touched_names_what_a_save_must_write() -> None:
    waits = Bead("a", Phase.WAITING, "agent", AT, "c", matches=True)
    from_nothing = Event(EventKind.MATCHED, "b", "c", AT, facts=None)
    gone = Event(EventKind.UNMATCHED, "a", "c", AT, facts=None)
    projection = folded(
        from_nothing, gone, Event(EventKind.SIGN, "z", "c", AT), beads={"a": waits, "z": waits}
    )
    assert (list(projection.beads), projection.touched) == (["z"], {"a"})


def test_the_claims_of_the_last_hour_are_kept_rule_by_rule() -> None:
    before = {"agent": (AT - HOUR, AT - HOUR + MINUTE), "other": (AT,)}
    made = folded(said(EntryKind.CLAIM, "agent"), said(EntryKind.CLAIM, "new"), claims=before)
    assert made.claims == {"agent": (AT - HOUR + MINUTE, AT), "other": (AT,), "new": (AT,)}


@pytest.mark.parametrize("kind", [EntryKind.FAILED, EntryKind.BUSY])
def test_a_claim_after_which_nothing_ran_is_not_counted(kind: EntryKind) -> None:
    before = {"agent": (AT - 2 * MINUTE, AT - MINUTE)}
    made = folded(
        said(kind, "agent", uncounted_claim=(AT - MINUTE).isoformat()),
        # The state no longer contains this claim.
        said(kind, "agent", uncounted_claim=(AT - HOUR).isoformat()),
        claims=before,
    )
    assert made.claims == {"agent": (AT - 2 * MINUTE,)}


@pytest.mark.parametrize(
    ("detail", "resting"),
    [
        (
            {"target": "beadboard", "until": "2026-04-18T22:40:00+00:00"},
            {"beadboard": datetime(2026, 4, 18, 22, 40, tzinfo=UTC)},
        ),
        ({"until": "2026-04-18T22:40:00"}, {"": datetime(2026, 4, 18, 22, 40, tzinfo=UTC)}),
        ({"target": "beadboard"}, {}),
        ({"target": "beadboard", "until": "soon"}, {}),
    ],
)
def test_a_busy_target_rests_until_it_said(
    detail: dict[str, str], resting: dict[str, datetime]
) -> None:
    assert folded(said(EntryKind.BUSY, **detail)).resting == resting


def test_a_rule_stops_under_the_settings_that_stand() -> None:
    assert folded(said(EntryKind.STOPPED, "agent")).stopped == {"agent": "settings"}


@pytest.mark.parametrize(
    ("detail", "pause"),
    [
        ({}, Pause("agent", "upgrade", AT, "the actor")),
        (
            {"by": "ann", "reaping": True, "until": AT.isoformat()},
            Pause("agent", "upgrade", AT, "ann", until=AT, reaping=True),
        ),
    ],
)
def test_a_pause_says_who_why_and_for_how_long(detail: dict[str, Any], pause: Pause) -> None:
    assert folded(said(EntryKind.PAUSE, "agent", reason="upgrade", **detail)).pauses == {
        "agent": pause
    }


def test_resume_ends_one_rule_or_all() -> None:
    pauses = {name: Pause(name, "x", AT, "ops") for name in ("", "agent", "other")}
    stopped = {"agent": "s", "other": "s"}
    one = folded(said(EntryKind.RESUME, "agent"), pauses=pauses, halted_rules=stopped)
    assert (set(one.pauses), set(one.stopped)) == ({"", "other"}, {"other"})
    every = folded(said(EntryKind.RESUME), pauses=pauses, halted_rules=stopped)
    assert (every.pauses, every.stopped) == ({}, {})


def waiting(id: str, since: datetime = AT, **more: Any) -> Bead:
    return Bead(id, Phase.WAITING, "agent", since, "c", matches=True)._replace(**more)


def test_a_resync_may_hold_beads_that_wait_and_a_resume_lets_them_go() -> None:
    beads = {
        "held": waiting("held", AT - MINUTE),
        "at once": waiting("at once"),
        "new": waiting("new", AT + MINUTE),
        "runs": waiting("runs", phase=Phase.RUNNING),
        "other": waiting("other"),
    }
    projection = folded(
        said(EntryKind.RESYNC, held=["held", "at once", "new", "runs", "unknown"]), beads=beads
    )
    held = {
        id: waiting(id, phase=Phase.HELD, reason=HELD_REASON) for id in ("held", "at once", "new")
    }
    assert projection.beads == {**beads, **held}
    assert projection.touched == held.keys()
    again = folded(said(EntryKind.RESUME), beads=projection.beads)
    assert again.beads == {**beads, **{id: waiting(id, AT + MINUTE) for id in held}}
    assert again.touched == held.keys()


@pytest.mark.parametrize("held", [None, "held", 7, {"held": 1}, [["held"], {}, None, 7]])
def test_a_resync_that_says_it_otherwise_holds_nobody(held: Any) -> None:
    assert (
        folded(said(EntryKind.RESYNC, held=held), beads={"held": waiting("held")}).touched == set()
    )


def test_a_resume_of_one_rule_lets_go_only_what_that_rule_held() -> None:
    """The beads of another rule stay held, because their agents may be working."""
    beads = {name: waiting(name, phase=Phase.HELD, rule=name) for name in ("agent", "other")}
    projection = folded(said(EntryKind.RESUME, "agent"), beads=beads)
    assert {id: bead.phase for id, bead in projection.beads.items()} == {
        "agent": Phase.WAITING,
        "other": Phase.HELD,
    }
    assert projection.touched == {"agent"}


def test_what_is_said_of_no_bead_makes_none() -> None:
    assert folded(said(EntryKind.REPROCESS), said(EntryKind.PAUSE)).beads == {}


def test_what_a_merge_shows_again_is_said_once() -> None:
    """A merge that repeats an entry has no second effect, so an ended pause stays ended.

    A state of unknown version applies each entry.
    """
    pause, resume = said(EntryKind.PAUSE), said(EntryKind.RESUME)
    ended = folded(pause, resume)
    assert ended.version == resume.entry.version  # type: ignore[union-attr]
    ended.apply([pause, resume, pause])
    assert (ended.pauses, ended.version) == ({}, resume.entry.version)  # type: ignore[union-attr]
    assert list(folded(pause, resume, said(EntryKind.PAUSE)).pauses) == [""]
    assert list(folded(pause, version=0).pauses) == [""]


def test_a_claim_that_a_merge_shows_again_counts_once() -> None:
    claim, late = (
        said(EntryKind.CLAIM, "agent", bead="a"),
        said(EntryKind.CLAIM, "agent", AT + MINUTE, bead="a"),
    )
    gone = folded(claim, late, claim, late)
    assert gone.claims == {"agent": (AT, AT + MINUTE)}
    gone.apply([Event(EventKind.LEFT, "a", "c", AT), claim])
    assert gone.claims == {"agent": (AT, AT + MINUTE)}, "also of a bead that left"
    other = said(EntryKind.CLAIM, "agent", bead="b")
    waits = Bead("b", Phase.WAITING, "agent", AT, "c", matches=True)
    assert folded(other, claims={"agent": (AT,)}, beads={"b": waits}).claims == {
        "agent": (AT, AT)
    }, "at the same moment"


def test_a_claim_of_a_bead_that_left_counts_once_and_what_is_no_claim_is_heard() -> None:
    """A merge may repeat the claim of a bead that left and has no record."""
    again = said(EntryKind.CLAIM, "agent", bead="gone")
    assert folded(again, claims={"agent": (AT,)}).claims["agent"] == (AT,)
    assert len(folded(again, claims={"other": (AT,)}).claims["agent"]) == 1
    busy = said(EntryKind.BUSY, "agent", bead="gone", until=(AT + HOUR).isoformat(), target="board")
    assert "board" in folded(busy, claims={"agent": (AT,)}).resting
