"""A bead's timeline contains all its events in history, on both engines.

The histories are random.
"""

from __future__ import annotations

import random

import pytest

from dolt_watch.core.model import Rule
from dolt_watch.engines import Engine
from dolt_watch.history import reader
from dolt_watch.inspection import event_stream
from dolt_watch.inspection.event_export import event_records
from dolt_watch.inspection.why.explanation import build_timeline
from tests.acceptance.conftest import rows_of
from tests.conformance.test_feed import committed
from tests.support.matrix import chosen
from tests.support.servers import call

pytestmark = pytest.mark.covering(engines="module")

RULES = [Rule("agent")]


def step(dice: random.Random, number: int, bead: str) -> list[str]:
    """Return the statements of a random user action on a bead.

    Some actions include bd's row of ``events``. Others are plain SQL.
    """
    when = f"'2026-04-{1 + number // 24:02} {number % 24:02}:{dice.randrange(60):02}:00'"
    event = (
        f"INSERT INTO events (id, issue_id, event_type, actor, created_at) VALUES ('e{number}',"
        f" '{bead}', 'updated', 'ann', {when})"
    )
    update = f"UPDATE issues SET {{}}, updated_at = {when} WHERE id = '{bead}'"
    change = update.format(
        dice.choice(
            [
                f"priority = {number % 5}",
                f"title = 't{number}'",
                "assignee = 'agent'",
                "assignee = ''",
                "status = 'closed'",
            ]
        )
    )
    return dice.choice(
        [
            [change, event],
            [change, event],
            [change],
            [f"UPDATE issues SET title = 'undated {number}' WHERE id = '{bead}'"],
            [f"UPDATE issues SET title = 'undated {number}' WHERE id = '{bead}'", event],
            [
                "INSERT INTO comments (id, issue_id, author, text, created_at) VALUES"
                f" ('c{number}', '{bead}', 'ann', 'hm', {when})"
            ],
            [f"INSERT INTO labels (issue_id, label) VALUES ('{bead}', 'l{number}')"],
        ]
    )


def told(engine: Engine, bead: str) -> tuple[list[str], list[str]]:
    """Return the IDs of the bead's events, from its timeline and from all of history."""
    head = engine.query("SELECT HASHOF('HEAD')")[0][0]
    line = reader.whole_line(engine, head)
    touched = list(reader.commits_of_bead(engine, line.commits, bead))
    history = reader.HistoryReader(engine, event_stream.full_feed_query(engine, RULES), RULES)
    found = [
        one["id"]
        for deed in build_timeline(history, touched, bead)
        for one in event_records(deed.commit, deed.events, RULES)
    ]
    everything = (
        one
        for passed in event_stream.read_events(engine, line.first.hash, head, RULES)
        for one in event_records(passed.commit, passed.events, RULES)
    )
    return found, [one["id"] for one in everything if one["bead"] == bead]


@pytest.mark.parametrize("seed", chosen(range(3), lambda seed: seed < 1))
def test_the_same_as_reading_all_of_history(beads_engine: Engine, seed: int) -> None:
    engine, dice = beads_engine, random.Random(seed)
    beads = ["bd-1", "bd-2", "bd-3"]
    committed(engine, rows_of(beads))
    for number in range(40):
        committed(engine, *step(dice, number, dice.choice(beads)))
    committed(engine, "DELETE FROM issues WHERE id = 'bd-3'")
    committed(engine, "UPDATE issues SET title = 'after' WHERE id = 'bd-1'")
    for bead in beads:
        found, all_of_it = told(engine, bead)
        assert found == all_of_it, bead
        assert len(found) > 5
    assert told(engine, "bd-4") == ([], [])


def test_a_comment_of_no_date(beads_engine: Engine) -> None:
    """Dolt accepts 0000-00-00 if sql_mode is lax."""
    engine = beads_engine
    committed(engine, rows_of(["bd-1"]))
    if engine.dialect == "mysql":
        engine.query("SET sql_mode = ''")
    columns = "INSERT INTO comments (id, issue_id, author, text, created_at)"
    committed(engine, f"{columns} VALUES ('c1', 'bd-1', 'ann', 'hm', '0000-00-00 00:00:00')")
    found, all_of_it = told(engine, "bd-1")
    assert found == all_of_it and len(found) == 2


def test_on_a_line_that_merges(beads_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = beads_engine
    first = committed(engine, rows_of(["bd-1", "bd-2"]))
    for turn in range(3):
        call(engine, "dolt_branch", f"side{turn}")
        call(engine, "dolt_checkout", f"side{turn}")
        committed(engine, f"UPDATE issues SET title = 'on the side {turn}' WHERE id = 'bd-1'")
        committed(engine, f"INSERT INTO labels (issue_id, label) VALUES ('bd-1', 'l{turn}')")
        call(engine, "dolt_checkout", "main")
        committed(engine, f"UPDATE issues SET title = 'on main {turn}' WHERE id = 'bd-2'")
        call(engine, "dolt_merge", f"side{turn}")
    committed(engine, "UPDATE issues SET priority = 1 WHERE id = 'bd-1'")
    for bead, count in (("bd-1", 1 + 2 * 3 + 1), ("bd-2", 1 + 3)):
        found, all_of_it = told(engine, bead)
        assert found == all_of_it
        assert len(found) == count
    head = engine.query("SELECT HASHOF('HEAD')")[0][0]
    whole = list(event_stream.read_events(engine, first, head, RULES))
    for page in (1, 2, 3, 4):
        monkeypatch.setattr(reader, "LINE_PAGE", page)
        assert list(event_stream.read_events(engine, first, head, RULES)) == whole


def test_pages_make_no_difference(beads_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, dice = beads_engine, random.Random(7)
    first = committed(engine, rows_of(["bd-1"]))
    for number in range(12):
        committed(engine, *step(dice, number, "bd-1"))
    head = engine.query("SELECT HASHOF('HEAD')")[0][0]
    whole = list(event_stream.read_events(engine, first, head, RULES))
    assert len(whole) == 12
    begins = reader.first_commit(engine, head)
    for page in (1, 5):
        monkeypatch.setattr(reader, "LINE_PAGE", page)
        monkeypatch.setattr(event_stream, "PAGE", 2)
        assert list(event_stream.read_events(engine, first, head, RULES)) == whole
        assert reader.first_commit(engine, head) == begins
