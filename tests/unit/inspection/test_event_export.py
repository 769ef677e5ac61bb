"""Exported events: the author of each cell, and stable IDs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dolt_watch.core.model import (
    CommitChanges,
    EntryEffects,
    EntryKind,
    LedgerEntry,
    RowChange,
    Rule,
    RuleAnswers,
)
from dolt_watch.core.projection.event_deriver import derive_events
from dolt_watch.engines import Commit
from dolt_watch.inspection.event_export import event_records, to_cloudevent

AT = datetime(2026, 4, 18, 12, tzinfo=UTC)
RULES = [Rule("first"), Rule("second")]
NO = RuleAnswers(False, False, False, False)


def told(row: RowChange, *entries: LedgerEntry) -> list[dict[str, Any]]:
    commit = Commit("c1", ("c0",), AT, "dolt-watch")
    changes = CommitChanges("c1", AT, "dolt-watch", (row,), entries)
    return list(event_records(commit, derive_events(changes, RULES), RULES))


def claim(**cells: tuple[Any, Any]) -> LedgerEntry:
    return LedgerEntry(
        "bd-1",
        1,
        EntryKind.CLAIM,
        1,
        "first",
        "t",
        "c0",
        "c0",
        AT,
        "",
        "",
        "",
        "",
        "beads-dispatcher",
        {},
        EntryEffects(cells, "claimed"),
    )


def test_what_our_commit_swept_in_is_told_apart_cell_by_cell() -> None:
    before = {"status": "open", "title": "old", "notes": ""}
    after = {"status": "in_progress", "title": "new", "notes": "claimed"}
    row = RowChange(
        "issues", "bd-1", "modified", ("status", "title", "notes"), before, after, answers=(NO, NO)
    )
    ours, theirs = told(row, claim(status=("open", "in_progress")))
    assert (ours["kind"], ours["ours"], ours["before"], ours["after"], ours["note"]) == (
        "claim",
        True,
        {"status": "open"},
        {"status": "in_progress"},
        "claimed",
    )
    assert (theirs["kind"], theirs["ours"], theirs["before"], theirs["after"], theirs["who"]) == (
        "edited",
        False,
        {"title": "old"},
        {"title": "new"},
        "an unknown writer",
    )
    assert [one["id"] for one in (ours, theirs)] == ["c1:bd-1:0", "c1:bd-1:1"]


def test_added_and_removed_and_the_rule_that_was_left() -> None:
    row = RowChange(
        "issues",
        "bd-1",
        "added",
        ("title",),
        {"title": None},
        {"title": "new"},
        answers=(NO, RuleAnswers(False, True, False, False)),
    )
    (added,) = told(row)
    assert (added["kind"], added["rule"], added["before"], added["after"]) == (
        "matched",
        "second",
        {},
        {"title": "new"},
    )
    row = RowChange(
        "issues",
        "bd-1",
        "removed",
        ("title",),
        {"title": "old"},
        {"title": None},
        answers=(NO, RuleAnswers(False, False, True, False)),
    )
    (removed,) = told(row)
    assert (removed["kind"], removed["rule"], removed["before"], removed["after"]) == (
        "left",
        "second",
        {"title": "old"},
        {},
    )


def test_a_cloudevent_about_no_bead_has_no_subject() -> None:
    pause = claim()._replace(bead="", kind=EntryKind.PAUSE)
    row = RowChange("comments", "bd-1", "added", key="k", who="ann")
    cloud = [to_cloudevent(one, "/dolt_watch/x") for one in told(row, pause)]
    assert [(one["type"], one.get("subject")) for one in cloud] == [
        ("dolt_watch.pause", None),
        ("dolt_watch.sign-of-life", "bd-1"),
    ]
