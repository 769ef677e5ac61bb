"""The shape of beads' tables on both engines, in each of the three shapes of real bd."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest

from dolt_watch.beads.schema import (
    KNOWN_TABLES,
    LONGEST_TEXT,
    NEEDED,
    TARGETS,
    TrackerSchema,
    is_ignored,
    schema_at,
    tracker_schema,
)
from dolt_watch.engines import Edge, Engine
from dolt_watch.errors import UnknownCommit, UnsupportedSchema
from dolt_watch.inspection.doctor import schema_checks
from dolt_watch.inspection.doctor.context import DoctorContext
from dolt_watch.inspection.doctor.findings import Level
from tests.support.beads import SHAPES, create_beads

ME = "ann <ann@test>"
BEAD = "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes) VALUES"


@dataclass(frozen=True)
class Expected:
    """The expected properties of one shape."""

    target: str
    events_in_history: bool
    notes: int
    leases: bool
    is_blocked: bool
    row_lock: bool


NEW_TARGET = "COALESCE(depends_on_issue_id, depends_on_wisp_id, depends_on_external)"
EXPECTED = {
    "1.0.2": Expected("depends_on_id", True, 65_535, False, False, False),
    "1.2.2": Expected(NEW_TARGET, True, LONGEST_TEXT, False, True, False),
    "1.3": Expected(NEW_TARGET, False, LONGEST_TEXT, True, True, True),
}


def head(engine: Engine) -> str:
    return str(engine.query("SELECT HASHOF('HEAD')")[0][0])


def test_each_shape_is_told_by_its_tables(shaped_engine: Engine, beads_shape: str) -> None:
    schema, expected = tracker_schema(shaped_engine), EXPECTED[beads_shape]
    schema.require()
    assert schema.dependency_target() == expected.target
    assert schema.events_in_history is expected.events_in_history
    assert ("events" in schema.watched) is expected.events_in_history
    assert schema.has_leases is expected.leases
    assert schema.has_is_blocked is expected.is_blocked
    assert schema.has_row_lock is expected.row_lock
    assert schema.has_wisps
    assert schema.text_limit("issues", "id") == 255
    if shaped_engine.name == "dolt":  # DoltLite's only text type has no limit.
        assert schema.text_limit("issues", "notes") == expected.notes
        assert schema.text_limit("events", "old_value") == expected.notes
    committed = [table for table in ("issues", "events") if table not in schema.unversioned]
    assert committed == ["issues", "events"][: 1 + expected.events_in_history]


GENERATIONS = {"1.0.2": "bd 1.0.2 to 1.0.4", "1.2.2": "bd 1.0.5 to 1.2", "1.3": "bd 1.3"}


def test_doctor_names_the_generation_by_the_shape(shaped_engine: Engine, beads_shape: str) -> None:
    """bd's own schema number is shown if it exists. A partly migrated tracker isn't supported."""
    case = cast(DoctorContext, SimpleNamespace(engine=shaped_engine))
    (found,) = schema_checks.tracker(case)
    says = f"tables of {GENERATIONS[beads_shape]}"
    assert (found.level, found.says) == (Level.OK, f"{says}: supported")
    with shaped_engine.transaction() as tx:
        tx.execute("INSERT INTO schema_migrations (version) VALUES (7), (32)")
        tx.commit()
    (found,) = schema_checks.tracker(case)
    assert (found.level, found.says) == (Level.OK, f"{says} (schema 32): supported")
    shaped_engine.execute_ddl("DROP TABLE schema_migrations")
    assert [one.says for one in schema_checks.tracker(case)] == [f"{says}: supported"]
    column = "depends_on_issue_id" if beads_shape == "1.0.2" else "depends_on_id"
    shaped_engine.execute_ddl(f"ALTER TABLE dependencies ADD COLUMN {column} VARCHAR(255)")
    (found,) = schema_checks.tracker(case)
    assert (found.level, "`bd dolt commit`" in found.fix) == (Level.WARNING, True)
    assert "supported: bd 1.0.2 to 1.3" in found.says
    shaped_engine.execute_ddl("DROP TABLE dependencies")
    with pytest.raises(UnsupportedSchema, match="no table dependencies"):
        list(schema_checks.tracker(case))


def test_the_target_is_read_of_rows_and_of_both_sides_of_a_diff(
    shaped_engine: Engine, beads_shape: str
) -> None:
    before = head(shaped_engine)
    column, own = (
        ("depends_on_id", "") if beads_shape == "1.0.2" else ("depends_on_issue_id", "id, ")
    )
    with shaped_engine.transaction() as tx:
        tx.execute(f"{BEAD} ('bd-1', 't', '', '', '', ''), ('bd-2', 't', '', '', '', '')")
        tx.execute(
            f"INSERT INTO dependencies ({own}issue_id, {column}, created_by) VALUES"
            f" ({'?, ' if own else ''}'bd-1', 'bd-2', 'ann')",
            (str(uuid.uuid4()),) if own else (),
        )
        made = tx.dolt_commit(["issues", "dependencies"], "m", ME)
    schema = tracker_schema(shaped_engine)
    assert shaped_engine.query(f"SELECT {schema.dependency_target('d.')} FROM dependencies d") == [
        ("bd-2",)
    ]
    sides = {side: schema.dependency_target(f"{side}_") for side in ("from", "to")}
    assert list(shaped_engine.diff("dependencies", [Edge(before, made)], sides)) == [
        (Edge(before, made), (None, "bd-2"))
    ]


def test_a_commit_has_the_shape_of_its_time(shaped_engine: Engine) -> None:
    """A new column, a new table or a dropped table doesn't change the shape of older commits."""
    old, was = head(shaped_engine), tracker_schema(shaped_engine)
    shaped_engine.execute_ddl("ALTER TABLE issues ADD COLUMN extra text")
    shaped_engine.execute_ddl("DROP TABLE labels")
    assert tracker_schema(shaped_engine).has("issues", "extra")
    assert not tracker_schema(shaped_engine).has("labels")
    with shaped_engine.transaction() as tx:
        new = tx.dolt_commit(["issues", "labels"], "m", ME)
    shaped_engine.execute_ddl("ALTER TABLE issues ADD COLUMN later text")
    at_old, at_new = schema_at(shaped_engine, old), schema_at(shaped_engine, new)
    assert at_old.tables == {
        table: was.tables[table]
        for table in was.tables
        if table not in {*IGNORED, *was.unversioned}
    }
    assert at_new.columns("issues") == (*was.columns("issues"), "extra")
    assert not at_new.has("labels") and at_old.has("labels")
    with pytest.raises(UnknownCommit):
        schema_at(shaped_engine, "0" * len(old))


IGNORED = ("leases", "wisps", "wisp_dependencies")


def test_a_table_that_a_pattern_matches_is_staged_no_more_although_head_holds_it(
    engine: Engine,
) -> None:
    """DOLT_ADD skips the table without an error.

    Only `dolt_ignore` shows whether the row is committed.
    """
    create_beads(engine, "1.2.2")
    with engine.transaction() as tx:
        tx.execute("INSERT INTO dolt_ignore (pattern, ignored) VALUES ('events', 1)")
        tx.execute(f"{BEAD} ('bd-1', 't', '', '', '', '')")
        tx.execute(
            "INSERT INTO events (id, issue_id, event_type, actor) VALUES ('e', 'bd-1', 'created',"
            " 'ann')"
        )
        before = head(engine)
        after = tx.dolt_commit(["dolt_ignore", "issues", "events"], "m", ME)
    assert "events" not in engine.changed_tables(before, after)
    assert engine.columns("events", after)
    assert not tracker_schema(engine).events_in_history


def test_a_table_that_leaves_history(engine: Engine) -> None:
    """The shape is correct during bd's migration to schema 62.

    One commit drops `events`, the next adds the pattern, and then the new table is created.
    """
    create_beads(engine, "1.2.2")
    old = head(engine)
    engine.execute_ddl("DROP TABLE events")
    with engine.transaction() as tx:
        tx.dolt_commit(["events"], "m", ME)
    assert not tracker_schema(engine).has("events")
    with engine.transaction() as tx:
        tx.execute("INSERT INTO dolt_ignore (pattern, ignored) VALUES ('events', 1)")
        tx.dolt_commit(["dolt_ignore"], "m", ME)
    engine.execute_ddl("CREATE TABLE events (id char(36) PRIMARY KEY)")
    schema = tracker_schema(engine)
    assert schema.columns("events") == ("id",) and not schema.events_in_history
    assert schema_at(engine, old).has("events", "event_type") and not schema_at(
        engine, head(engine)
    ).has("events")


def test_more_tables_and_columns_than_are_known_are_ignored(shaped_engine: Engine) -> None:
    for table in NEEDED:
        shaped_engine.execute_ddl(f"ALTER TABLE {table} ADD COLUMN next_release text")
    shaped_engine.execute_ddl("CREATE TABLE next_release (id int PRIMARY KEY)")
    schema = tracker_schema(shaped_engine)
    schema.require()
    assert set(schema.tables) <= set(KNOWN_TABLES)


FULL = {table: dict.fromkeys((*columns, *TARGETS), "text") for table, columns in NEEDED.items()}


@pytest.mark.parametrize(
    ("table", "column"), [(t, c) for t, columns in NEEDED.items() for c in ("", *columns)]
)
def test_what_is_missing_is_named(table: str, column: str) -> None:
    without = {name: dict(columns) for name, columns in FULL.items()}
    if column:
        del without[table][column]
    else:
        del without[table]
    TrackerSchema(FULL).require()
    with pytest.raises(UnsupportedSchema) as caught:
        TrackerSchema(without).require()
    assert (
        f"no {'column' if column else 'table'} {table}{column and '.'}{column}:"
        in caught.value.message
    )
    assert "bd 1.0.2 to 1.3" in caught.value.message and "rule" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_dependency_without_any_target_is_named() -> None:
    tables = {**FULL, "dependencies": dict.fromkeys(NEEDED["dependencies"], "text")}
    with pytest.raises(
        UnsupportedSchema, match=r"dependencies\.depends_on_issue_id or dependencies\.depends_on_id"
    ):
        TrackerSchema(tables).require()


@pytest.mark.parametrize("present", [TARGETS, TARGETS[1:], TARGETS[:1]])
def test_the_target_in_the_middle_of_a_migration(present: tuple[str, ...]) -> None:
    expression = TrackerSchema({"dependencies": dict.fromkeys(present, "text")}).dependency_target(
        "d."
    )
    names = ", ".join(f"d.{name}" for name in present)
    assert expression == (f"COALESCE({names})" if len(present) > 1 else names)


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("text", 65_535),
        ("tinytext", 255),
        ("mediumtext", LONGEST_TEXT),
        ("longtext", LONGEST_TEXT),
        ("varchar(500)", 500),
        ("char(36)", 36),
        ("text(255)", 255),
    ],
)
def test_the_width_of_a_text(kind: str, limit: int) -> None:
    assert TrackerSchema({"t": {"c": kind}}).text_limit("t", "c") == limit


IGNORE_CASES = [
    ({"events": True}, "events", True),
    ({"events": False}, "events", False),
    ({"events": True}, "wisp_events", False),
    ({"wisp_%": True}, "wisp_events", True),
    ({"wisp_*": True}, "wisp_events", True),
    ({"wisp_%": True}, "wisps", False),
    ({"event?": True}, "events", True),
    ({"event?": True}, "event", False),
    ({"e_ents": True}, "events", False),
    ({"%": True, "events": False}, "events", False),
    ({"%": False, "e%": True}, "events", True),
    ({"e%": False, "%s": True}, "events", False),
]


@pytest.mark.parametrize(("patterns", "table", "ignored"), IGNORE_CASES)
def test_patterns_of_ignored_tables(patterns: dict[str, bool], table: str, ignored: bool) -> None:
    assert is_ignored(patterns, table) is ignored


@pytest.mark.parametrize(("patterns", "table", "ignored"), IGNORE_CASES[:-1])
def test_patterns_mean_to_the_engine_what_they_mean_here(
    engine: Engine, patterns: dict[str, bool], table: str, ignored: bool
) -> None:
    """The last case is left out: Dolt refuses DOLT_ADD if patterns contradict each other."""
    for pattern, value in patterns.items():
        engine.execute_ddl(
            f"INSERT INTO dolt_ignore (pattern, ignored) VALUES ('{pattern}', {int(value)})"
        )
    engine.execute_ddl(f"CREATE TABLE {table} (id int PRIMARY KEY)")
    with engine.transaction() as tx:
        tx.dolt_commit([table, "dolt_ignore"], "m", ME)
    assert bool(engine.columns(table, head(engine))) is not ignored


def test_every_shape_has_its_expectations() -> None:
    assert set(SHAPES) == set(EXPECTED)
