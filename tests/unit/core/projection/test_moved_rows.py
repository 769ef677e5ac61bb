"""Rows that a migration of bd rewrites are no signs of life.

A migration changes the IDs of comments and events, and sets a new `updated_at`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dolt_watch.core.model import (
    ActivitySignal,
    Bead,
    CommitChanges,
    Event,
    EventKind,
    Phase,
    RowChange,
    Rule,
    RuleAnswers,
    RuleMatch,
)
from dolt_watch.core.projection.event_deriver import derive_events
from dolt_watch.core.projection.moved_rows import without_rekeyed
from dolt_watch.core.projection.projection import apply_to_bead

AT = datetime(2026, 4, 18, 12, 0, tzinfo=UTC)
WAITS = RuleAnswers(matched=True, matches=True, was_running=False, runs=False)


def side(
    kind: str, key: str, table: str = "comments", who: str = "ann", at: datetime | None = AT
) -> RowChange:
    return RowChange(table, "bd-1", kind, key=key, at=at, who=who)


@pytest.mark.parametrize("table", ["comments", "events"])
def test_a_row_under_another_id_is_no_change(table: str) -> None:
    assert without_rekeyed([side("removed", "a", table), side("added", "b", table)]) == ()


def test_of_two_new_rows_one_can_be_the_old_one() -> None:
    rows = [side("added", "b"), side("removed", "a"), side("added", "c")]
    assert without_rekeyed(rows) == (rows[2],)


@pytest.mark.parametrize(
    "rows",
    [
        [side("removed", "a")],
        [side("added", "a")],
        [side("removed", "a"), side("added", "b", who="bob")],
        [side("removed", "a"), side("added", "b", at=AT + timedelta(seconds=1))],
        [side("removed", "a"), side("added", "b")._replace(bead="bd-2")],
        [side("removed", "a"), side("added", "b", "events")],
        [side("removed", "a", at=None), side("added", "b", at=None)],
        [side("removed", "a", "labels"), side("added", "b", "labels")],
    ],
)
def test_what_says_something_else_stays(rows: list[RowChange]) -> None:
    assert without_rekeyed(rows) == tuple(rows)


def touched(*changed: str, answers: RuleAnswers = WAITS) -> RowChange:
    return RowChange("issues", "bd-1", "modified", changed, at=AT, answers=(answers,))


def derived(row: RowChange, *, migration: bool, order_by: str = "priority") -> list[Event]:
    changes = CommitChanges("c1", AT, "root", (row,), migration=migration)
    return list(derive_events(changes, [Rule("agent", order_by=order_by)]))


def test_a_row_that_a_migration_touched_says_nothing() -> None:
    assert derived(touched("updated_at"), migration=True) == []
    assert derived(touched("updated_at", "is_blocked"), migration=True) == []


def test_touched_by_a_person_it_is_a_sign_of_life() -> None:
    (event,) = derived(touched("updated_at"), migration=False)
    assert event.sign is not None and event.changed == ("updated_at",)


def test_an_edit_in_the_commit_of_a_migration_counts() -> None:
    (event,) = derived(touched("title", "updated_at"), migration=True)
    assert event.sign is not None and event.changed == ("title", "updated_at")


def test_a_row_that_a_migration_touched_has_a_new_place_in_the_queue() -> None:
    answers = WAITS._replace(rank=(2, "later"))
    (event,) = derived(
        touched("updated_at", answers=answers), migration=True, order_by="priority, updated_at"
    )
    assert event.sign is None and event.facts is not None and event.facts.rank == (2, "later")


@pytest.mark.parametrize("phase", [Phase.QUARANTINED, Phase.BACKOFF, Phase.HELD, Phase.CLAIMED])
def test_a_row_that_a_migration_touched_frees_no_bead(phase: Phase) -> None:
    bead = Bead("bd-1", phase, "agent", AT, "c0", matches=True, unclear="why", reason="boom")
    facts = RuleMatch("agent", (), (2, "later"))
    event = Event(EventKind.EDITED, "bd-1", "c1", AT, facts=facts, changed=("updated_at",))
    assert apply_to_bead(bead, event) == bead._replace(rank=(2, "later"))


def test_a_person_s_touch_arms_a_quarantined_bead_again() -> None:
    bead = Bead("bd-1", Phase.QUARANTINED, "agent", AT, "c0", matches=True)
    sign = ActivitySignal(AT, "updated_at", "ann", "c1")
    event = Event(
        EventKind.EDITED,
        "bd-1",
        "c1",
        AT,
        facts=RuleMatch("agent"),
        changed=("updated_at",),
        sign=sign,
    )
    after = apply_to_bead(bead, event)
    assert after is not None and after.phase is Phase.WAITING
