"""The commit of an entry: its content, and the cells that it doesn't change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from dolt_watch import __version__
from dolt_watch.clock import DatabaseClock
from dolt_watch.core.model import Decision, EntryKind
from dolt_watch.errors import MissingRule
from dolt_watch.ledger.codec import bd_snapshot
from dolt_watch.ledger.writer import bead_hash
from dolt_watch.timestamps import to_utc
from tests.support.beads import TEXT_BYTES as TEXT_LIMIT
from tests.unit.ledger.here import CLAIM, FAILED, NOTE, NOW, PAUSE, REAP, SENT, Here


def test_a_claim_is_one_commit_with_all_that_it_changed(here: Here) -> None:
    head, before = here.head(), here.row(*here.columns)
    written = here.decide(CLAIM)
    (event,) = written.entry.wrote.events
    cells = {"status": ["open", "in_progress"], "started_at": [None, "2026-04-18T22:35:46+00:00"]}
    hash = bead_hash(dict(zip(here.columns, before, strict=True)), here.rules["agent"])
    assert here.entries() == [
        (
            "bd-1",
            1,
            "claim",
            1,
            "agent",
            "t",
            "c0",
            head,
            "2026-04-18 22:35:46.123456",
            "",
            "",
            hash,
            "h1",
            "the-dispatcher",
            {
                "deadline": "2026-04-18T22:37:00+00:00",
                "place": 0,
                "program": __version__,
                "host": "here",
                "wrote": {"cells": cells, "note": NOTE, "events": [event]},
            },
        )
    ]
    entry = written.entry
    assert (entry.bead, entry.version, entry.kind, entry.at, entry.observed) == (
        "bd-1",
        1,
        EntryKind.CLAIM,
        NOW,
        head,
    )
    assert (entry.wrote.note, len(event)) == (NOTE, 36)
    assert (written.commit, written.row, written.warning) == (
        here.head(),
        dict(zip(here.columns, before, strict=True)),
        "",
    )
    second = "2026-04-18 22:35:46"
    assert here.row("status", "notes", "started_at", "updated_at") == (
        "in_progress",
        NOTE,
        second,
        second,
    )
    assert here.one("SELECT hash, text FROM watch_settings") == ("h1", "the settings")
    assert here.one(
        "SELECT bead_id, attempt, rule, token, claimed_at, deadline, worker FROM watch_attempt"
    ) == (
        "bd-1",
        1,
        "agent",
        "t",
        "2026-04-18 22:35:46.123456",
        "2026-04-18 22:37:00",
        "here",
    )
    assert here.engine.dirty() == frozenset(), "and nothing is left over"


def test_its_event_is_as_bd_would_write_it(here: Here) -> None:
    here.set(
        "notes = 'of bd', created_at = '2026-04-01 10:00:00', updated_at = '2026-04-02 10:00:00',"
        " priority = 0"
    )
    event = here.decide(CLAIM).entry.wrote.events[0]
    ((id, bead, kind, actor, old, new, at),) = here.events()
    assert (id, bead, kind, actor, at) == (
        event,
        "bd-1",
        "status_changed",
        "the-dispatcher",
        "2026-04-18 22:35:46",
    )
    assert new == {"status": "in_progress", "notes": f"of bd\n{NOTE}"}
    assert {
        name: old[name] for name in ("id", "title", "status", "notes", "priority", "assignee")
    } == {
        "id": "bd-1",
        "title": "t",
        "status": "open",
        "notes": "of bd",
        "priority": 0,
        "assignee": "agent",
    }
    assert "started_at" not in old and "design" not in old, "what is empty is left out"
    assert here.row("notes") == f"of bd\n{NOTE}"


def test_what_bd_leaves_out_of_a_row_and_how_it_writes_the_rest() -> None:
    row = {
        "title": "t",
        "design": "",
        "owner": None,
        "ephemeral": 0,
        "pinned": 1,
        "priority": 0,
        "share": Decimal("1.5"),
        "updated_at": datetime(2026, 4, 18, 22, 35, 46),  # noqa: DTZ001
    }
    assert bd_snapshot(row) == {
        "title": "t",
        "pinned": 1,
        "priority": 0,
        "share": "1.5",
        "updated_at": "2026-04-18T22:35:46Z",
    }


def test_the_first_note_stands_alone(here: Here) -> None:
    here.report(FAILED)
    assert (here.row("notes"), here.events()[0][5]) == (
        "dispatch failed x",
        {"notes": "dispatch failed x"},
    )


def test_what_others_left_uncommitted_in_other_tables_stays_so(here: Here) -> None:
    here.engine.execute_ddl(
        "INSERT INTO comments (id, issue_id, author, text) VALUES ('c', 'bd-1', 'ann', 'busy')"
    )
    here.decide(CLAIM)
    assert here.engine.dirty() == {"comments"}


def test_a_decision_about_no_bead_leaves_every_row_of_beads_alone(here: Here) -> None:
    """`pause` needs no context, because no rule decides it."""
    here.engine.execute_ddl("UPDATE issues SET title = 'half done' WHERE id = 'bd-1'")
    here.engine.execute_ddl(
        "INSERT INTO events (id, issue_id, event_type, actor) VALUES ('e', 'bd-1', 'updated',"
        " 'ann')"
    )
    here.ledger.record(PAUSE)
    assert here.engine.dirty() == {"issues", "events"}


def test_a_report_of_a_rule_that_the_settings_have_no_more(here: Here) -> None:
    written = here.report(SENT._replace(rule="gone"))
    assert (written.entry.rule, written.entry.job, here.row("notes")) == (
        "gone",
        "j7",
        "dispatched: job=j7",
    )


@pytest.mark.parametrize(
    "decision", [CLAIM, REAP, REAP._replace(kind=EntryKind.REQUEUE, status="open")]
)
def test_a_decision_that_its_rule_guards_is_not_written_without_that_rule(
    here: Here, decision: Decision
) -> None:
    before = (here.head(), here.row("status", "notes"), here.entries())
    with pytest.raises(MissingRule, match="no rule 'gone'") as caught:
        here.decide(decision._replace(rule="gone"))
    assert caught.value.exit_code == 1
    assert (here.head(), here.row("status", "notes"), here.entries()) == before
    assert here.engine.dirty() == frozenset()


def test_the_time_is_the_databases(here: Here) -> None:
    here.ledger.clock = DatabaseClock()
    before = to_utc(here.one("SELECT UTC_TIMESTAMP(6)"))
    assert before is not None and before <= here.report(SENT).entry.at <= before + timedelta(
        minutes=1
    )


def test_the_message_says_it_for_people_and_for_git(here: Here) -> None:
    head = here.head()
    assert (
        here.message(here.decide(CLAIM))
        == "dolt-watch: claim bd-1 (attempt 1)\n\nBead: bd-1\nDecision: claim\nVersion:"
        f" 1\nAttempt: 1\nRule: agent\nCause: c0\nObserved: {head}"
    )
    head = here.head()
    assert (
        here.message(here.report(SENT))
        == "dolt-watch: dispatch bd-1 (attempt 1, job j7)\n\nBead: bd-1\nDecision:"
        f" dispatched\nVersion: 2\nAttempt: 1\nRule: agent\nCause: c1\nObserved: {head}\nJob: j7"
    )
    head = here.head()
    assert (
        here.message(here.decide(REAP))
        == "dolt-watch: reap bd-1 (attempt 1)\n\nBead: bd-1\nDecision: reap\nVersion: 3\nAttempt:"
        f" 1\nRule: agent\nCause: c1\nObserved: {head}\nReason: silent"
    )
    head = here.head()
    assert (
        here.message(here.ledger.record(PAUSE._replace(reason="two\nlines")))
        == f"dolt-watch: pause\n\nDecision: pause\nVersion: 1\nObserved: {head}\nReason:"
        " two\\nlines"
    )
    author = here.one("SELECT committer, email FROM dolt_log LIMIT 1")
    assert author == ("dolt-watch", "dolt-watch@here")


@pytest.mark.parametrize(
    ("kind", "verb", "actor"),
    [
        (EntryKind.REQUEUE, "requeue", "the-reaper"),
        (EntryKind.REAP, "reap", "the-reaper"),
        (EntryKind.FAILED, "failed", "the-dispatcher"),
    ],
)
def test_who_and_how_it_is_called(here: Here, kind: EntryKind, verb: str, actor: str) -> None:
    here.set("status = 'in_progress'")
    written = here.decide(REAP._replace(kind=kind))
    assert (written.entry.actor, here.events()[0][3]) == (actor, actor)
    assert here.message(written).startswith(f"dolt-watch: {verb} bd-1 (attempt 1)\n")


def test_a_subject_stays_one_line_that_can_be_read(here: Here) -> None:
    here.set("status = 'in_progress'")
    written = here.decide(REAP._replace(job="j" * 200))
    assert len(here.message(written).splitlines()[0]) == 200


def test_a_report_sets_the_status_only_where_it_is_still_ours(here: Here) -> None:
    here.set("status = 'closed', notes = 'x'")
    written = here.report(FAILED)
    assert (here.row("status", "notes"), written.entry.wrote.cells) == (
        ("closed", "x\ndispatch failed x"),
        {},
    )
    ((_, _, kind, _, old, new, _),) = here.events()
    assert (kind, new, old["status"]) == ("updated", {"notes": "x\ndispatch failed x"}, "closed")
    here.set("status = 'in_progress', started_at = '2026-04-01 10:00:00'")
    written = here.report(FAILED)
    assert (here.row("status"), written.entry.wrote.cells) == (
        "open",
        {"status": ("in_progress", "open")},
    )


def test_started_is_set_once(here: Here) -> None:
    here.set("started_at = '2026-04-01 10:00:00'")
    assert here.decide(CLAIM).entry.wrote.cells == {"status": ("open", "in_progress")}
    assert here.row("started_at") == "2026-04-01 10:00:00"


def test_nothing_to_change_is_no_event_and_no_touch(here: Here) -> None:
    before = here.row("updated_at")
    written = here.report(SENT._replace(note=""))
    assert (written.entry.wrote.events, here.events(), here.row("updated_at")) == ((), [], before)
    assert len(here.entries()) == 1


def test_a_note_that_stands_again_is_not_appended(here: Here) -> None:
    here.set("notes = 'b\nx'")
    written = here.decide(Decision(EntryKind.NOTE, "bd-1", "agent", 1, "c", note="a\nb\nc"))
    assert (written.entry.wrote.note, here.row("notes")) == ("a\nc", "b\nx\na\nc")
    again = here.decide(Decision(EntryKind.NOTE, "bd-1", "agent", 1, "c", note="a\nc"))
    assert (again.entry.wrote.note, again.entry.wrote.events) == ("", ())
    twice = here.report(SENT._replace(note="x"))
    assert here.row("notes") == "b\nx\na\nc\nx", "only a repeated append reads the notes"
    assert twice.entry.wrote.note == "x"


@pytest.mark.parametrize(("over", "fits"), [(0, True), (1, False)])
def test_full_notes_are_left_alone_and_the_ledger_carries_the_note(
    here: Here, over: int, fits: bool
) -> None:
    """The size limit of the column counts bytes."""
    full = "ä" + "n" * (TEXT_LIMIT - len(f"\n{NOTE}") - 2 + over)
    here.set(f"notes = '{full}'")
    written = here.decide(CLAIM)
    if fits:
        assert (here.row("notes"), written.warning) == (f"{full}\n{NOTE}", "")
    else:
        assert (here.row("notes"), written.entry.wrote.note) == (full, "")
        assert (
            written.warning == f"the notes of bd-1 are full, so only the ledger contains '{NOTE}'"
        )


def test_an_event_that_would_not_fit_says_the_changed_cells_only(here: Here) -> None:
    here.set(f"notes = '{'n' * 40_000}', design = '{'d' * 40_000}'")
    here.decide(CLAIM)
    ((_, _, _, _, old, new, _),) = here.events()
    assert old == {"status": "open", "started_at": None}
    assert set(new) == {"status", "notes"}
    here.set(f"notes = '{'n' * 65_000}', started_at = '2026-04-01 10:00:00'")
    id = here.report(FAILED._replace(note="\\" * 400)).entry.wrote.events[0]
    assert [event[5] for event in here.events() if event[0] == id] == [{"status": "open"}]


@pytest.mark.parametrize(("over", "said"), [(0, {"status", "notes"}), (1, {"status"})])
def test_an_event_may_fill_its_column(here: Here, over: int, said: set[str]) -> None:
    around = len('{"status":"open","notes":"\\n"}') + len("dispatch failed x")
    here.set(f"notes = '{'n' * (TEXT_LIMIT - around + over)}', status = 'in_progress'")
    here.report(FAILED)
    assert set(here.events()[0][5]) == said


def test_a_decision_about_no_bead_is_a_row_alone(here: Here) -> None:
    first, second = (
        here.ledger.record(PAUSE),
        here.ledger.record(PAUSE._replace(kind=EntryKind.RESUME)),
    )
    assert [(entry[0], entry[1], entry[2]) for entry in here.entries()] == [
        ("", 1, "pause"),
        ("", 2, "resume"),
    ]
    assert (first.row, first.entry.bead_hash, second.entry.version) == (None, "", 2)
    assert here.entries()[0][-1]["wrote"] == {"cells": {}, "note": "", "events": []}
    assert here.one("SELECT COUNT(*) FROM watch_settings") == 1, (
        "the settings' text is written with the first"
    )


def test_reasons_from_outside_are_made_safe(here: Here) -> None:
    assert here.report(FAILED._replace(reason="a\x1b[31m")).entry.reason == "a\\x1b[31m"


def test_the_hash_of_what_a_bead_asks_for(here: Here) -> None:
    compiled = here.rules["agent"]
    row: Mapping[str, Any] = dict(zip(here.columns, here.row(*here.columns), strict=True))
    hash = bead_hash(row, compiled)
    assert len(hash) == 32
    ours = {
        "status": "closed",
        "notes": "x",
        "updated_at": "2030-01-01 00:00:00",
        "external_ref": "not asked for",
    }
    assert bead_hash({**row, **ours}, compiled) == hash
    content = (
        "title",
        "description",
        "design",
        "acceptance_criteria",
        "issue_type",
        "priority",
        "assignee",
    )
    hashes = {bead_hash({**row, name: "changed"}, compiled) for name in (*content, "owner")}
    assert len(hashes | {hash}) == len(content) + 2
    assert bead_hash({**row, "owner": "x"}, None) == bead_hash(row, None), (
        "of no rule: what it is about alone"
    )
    asks = compiled._replace(columns=(*compiled.columns, "notes", "updated_at"))
    assert bead_hash({**row, **ours}, asks) == hash, (
        "dolt_watch's own cells don't count, whatever a rule asks"
    )
    assert bead_hash({"title": "t"}, compiled) == bead_hash(
        {"title": "t", "status": "open"}, compiled
    )


def test_a_claim_is_its_holders_from_its_own_moment_on(here: Here) -> None:
    """The deadline counts from the claim, because targets may report their capacity slowly."""
    bare = CLAIM._replace(detail={"place": 0})
    claimed = here.decide(bare, valid=timedelta(seconds=60))
    assert claimed.entry.detail["deadline"] == (NOW + timedelta(seconds=60)).isoformat()
    assert "deadline" not in here.report(SENT).entry.detail
