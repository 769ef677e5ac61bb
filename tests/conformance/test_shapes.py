"""Writes of the ledger in each shape of bd's tables, on both engines."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dolt_watch.beads.schema import NEEDED, tracker_schema
from dolt_watch.core.model.columns import KEPT_BY_BD
from dolt_watch.engines import Edge, Engine
from dolt_watch.errors import Conflict, DoltWatchError, UnsupportedSchema
from dolt_watch.inspection.doctor.context import DoctorContext
from dolt_watch.inspection.doctor.findings import Level
from dolt_watch.inspection.doctor.schema_checks import events as events_check
from dolt_watch.replay.verification import verify
from tests.support.beads import SHAPES, create_beads
from tests.support.embedded_tracker import Light

pytestmark = pytest.mark.covering(engines="module")

MINUTE = timedelta(minutes=1)


def details(here: Light, bead: str = "bd-a") -> list[Any]:
    rows = here.engine.query(
        "SELECT detail FROM watch_decision WHERE bead_id = ? ORDER BY version", (bead,)
    )
    return [json.loads(row[0]) for row in rows]


def events(here: Light, bead: str = "bd-a") -> dict[str, tuple[Any, ...]]:
    rows = here.engine.query(
        "SELECT id, event_type, actor, old_value, new_value FROM events WHERE issue_id = ?", (bead,)
    )
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_day_in_each_shape(engine: Engine, shape: str) -> None:
    """Each entry writes a row of `events`, and records its ID and whether a commit contains it."""
    here = Light(engine, shape=shape)
    here.assign("bd-a")
    here.tick(MINUTE)
    here.tick(40 * MINUTE)
    assert here.kinds("bd-a") == ["claim", "dispatched", "reap"]
    wrote = [one["wrote"] for one in details(here)]
    in_history = shape != "1.3"
    assert [one.get("events_in_history", True) for one in wrote] == [in_history] * 3
    ours = events(here)
    assert {id for one in wrote for id in one["events"]} == set(ours) and len(ours) == 3
    changes = json.loads(ours[wrote[0]["events"][0]][3])
    assert changes["status"] == "in_progress" and KEPT_BY_BD.isdisjoint(changes)
    assert KEPT_BY_BD.isdisjoint(json.loads(ours[wrote[2]["events"][0]][2]))
    assert engine.dirty() == frozenset()
    found = verify(here.past())
    assert (found.same, found.differences) == (3, [])


@pytest.mark.parametrize("shape", SHAPES)
def test_notes_are_as_long_as_the_column_takes(engine: Engine, shape: str) -> None:
    here = Light(engine, shape=shape)
    here.assign("bd-a")
    here.sql(f"UPDATE issues SET notes = '{'n' * 70_000 if shape != '1.0.2' else 'n' * 65_530}'")
    here.tick(MINUTE)
    (notes,) = here.row("bd-a", "notes")
    wide = tracker_schema(engine).text_limit("issues", "notes") > 65_535
    assert ("auto-dispatcher claimed at" in notes) is wide
    assert details(here)[0]["wrote"]["note"] != "" or not wide
    assert here.kinds("bd-a") == ["claim", "dispatched"]


@pytest.mark.parametrize("shape", SHAPES)
def test_each_write_of_a_row_sets_its_row_lock(engine: Engine, shape: str) -> None:
    here = Light(engine, shape=shape)
    here.assign("bd-a")
    column = "row_lock" if shape == "1.3" else "0"
    seen = [here.row("bd-a", column)[0]]
    here.tick(MINUTE)
    seen.append(here.row("bd-a", column)[0])
    here.tick(40 * MINUTE)
    seen.append(here.row("bd-a", column)[0])
    assert len(set(seen)) == (3 if shape == "1.3" else 1)
    assert all(-(2**63) <= value < 2**63 for value in seen)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("table", [table for table in NEEDED if table != "issues"])
def test_a_needed_table_that_is_missing_is_named(engine: Engine, shape: str, table: str) -> None:
    """The error names the table and the supported shapes, exits with 3, and blames no rule."""
    here = Light(engine, shape=shape)
    here.assign("bd-a")
    engine.execute_ddl(f"DROP TABLE {table}")
    check(here, f"table {table}")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("table", "column"), [(t, c) for t, columns in NEEDED.items() for c in columns]
)
def test_a_needed_column_that_is_missing_is_named(
    doltlite: Engine, shape: str, table: str, column: str
) -> None:
    here = Light(doltlite, shape=shape)
    here.assign("bd-a")
    doltlite.execute_ddl(f"ALTER TABLE {table} RENAME COLUMN {column} TO {column}_of_another_bd")
    check(here, f"column {table}.{column}")


def check(here: Light, what: str) -> None:
    with pytest.raises(DoltWatchError) as caught:
        here.tick(MINUTE)
    error = caught.value
    assert isinstance(error, UnsupportedSchema), error
    assert error.exit_code == 3
    assert f"no {what}:" in error.message and "bd 1.0.2 to 1.3" in error.message
    assert "rule" not in str(error) and "when" not in str(error)


def test_a_rules_own_column_that_is_gone_is_another_error(doltlite: Engine) -> None:
    here = Light(doltlite, shape="1.3", when="assignee = 'agent' AND status = 'open' AND rig = ''")
    here.assign("bd-a")
    here.tick(MINUTE)
    doltlite.execute_ddl("ALTER TABLE issues RENAME COLUMN rig TO rig_of_another_bd")
    with pytest.raises(DoltWatchError) as caught:
        here.tick(2 * MINUTE)
    assert not isinstance(caught.value, UnsupportedSchema)
    assert "rig" in str(caught.value)


def test_a_write_of_bd_at_the_same_time_conflicts(dolt_factory: Any) -> None:
    """With `row_lock`, the second write fails and is planned again.

    Otherwise, Dolt would merge two writes to different cells of one row.
    """
    here, other = Light(dolt_factory(), shape="1.3"), dolt_factory()
    here.assign("bd-a")
    with pytest.raises(Conflict), other.transaction() as tx:
        tx.execute("UPDATE issues SET title = 'theirs', row_lock = 7 WHERE id = 'bd-a'")
        here.tick(MINUTE)
        tx.dolt_commit(["issues"], "bd: update bd-a", "ada <ada@test>")
    assert here.kinds("bd-a") == ["claim", "dispatched"]
    assert here.row("bd-a", "title") == ("t",)


@pytest.mark.parametrize("shape", SHAPES)
def test_doctor_says_where_bds_events_are(doltlite: Engine, shape: str) -> None:
    create_beads(doltlite, shape)
    (found,) = events_check(cast(DoctorContext, SimpleNamespace(engine=doltlite)))
    assert (found.level, "out of history" in found.says) == (Level.OK, shape == "1.3")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_table_that_no_commit_has_is_never_altered(engine: Engine, shape: str) -> None:
    """bd 1.3 keeps `events` out of history. A replay read both ends of each commit for it."""
    here = Light(engine, shape=shape)
    here.assign("bd-a")
    here.tick(MINUTE)
    line = list(engine.commits(None, here.head()))[1::-1]
    edges = [Edge(commit.parents[0], commit.hash) for commit in line]
    for exact in (False, True):
        assert engine.altered(("issues", "events"), edges, exact=exact) == {}
