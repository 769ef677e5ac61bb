"""Readiness gives the answer of the recorded `bd ready` for every bead.

This applies to each shape, on both engines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.beads.readiness import readiness, unready_until_enough
from dolt_watch.beads.schema import TrackerSchema, tracker_schema
from dolt_watch.engines import Engine
from dolt_watch.engines.sql_text import chunks
from tests.conformance.tables import head, write
from tests.standin import recorded
from tests.support.beads import create_beads

pytestmark = pytest.mark.covering(engines="module")

TEXTS = ("description", "design", "acceptance_criteria", "notes")
STRICTER: Mapping[str, str] = {}
"""Title → reason, for recorded beads where dolt_watch is stricter than bd on purpose."""


def shape_of(recording: Mapping[str, Any], path: Path) -> str:
    """Return the shape whose tables fit the rows."""
    if any("depends_on_id" in row for row in recording["tables"]["dependencies"]):
        return "1.0.2"
    newest = any(
        "row_lock" in row or "storage_class" in row for row in recording["tables"]["issues"]
    )
    return "1.3" if newest or path.name.startswith("1.3") else "1.2.2"


def insert(engine: Engine, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that name some of the columns. The other columns get their defaults."""
    kinds: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        kinds.setdefault(tuple(row), []).append(row)
    for names, alike in kinds.items():
        for some in chunks(alike, 100):
            marks = ", ".join("?" * len(names))
            values = ", ".join([f"({marks})"] * len(some))
            params = [_param(row[name]) for row in some for name in names]
            write(engine, f"INSERT INTO {table} ({', '.join(names)}) VALUES {values}", params)


def _param(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def build(engine: Engine, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> TrackerSchema:
    """Insert a recording's rows into beads' tables, and commit the tables that aren't ignored.

    Columns of a later release than the shape's are left out, because readiness doesn't use them.
    """
    schema = tracker_schema(engine)
    for table in ("issues", "wisps", "dependencies", "wisp_dependencies"):
        edges = table.endswith("dependencies")
        keyed = edges and schema.has(table, "id")
        added = {"created_by": "ada"} if edges else dict.fromkeys(TEXTS, "")
        rows = [
            {**({"id": f"{table}-{number}"} if keyed else {}), **added}
            | {name: value for name, value in row.items() if schema.has(table, name)}
            for number, row in enumerate(tables.get(table, ()))
        ]
        insert(engine, table, rows)
    with engine.transaction() as tx:
        tx.dolt_commit(["issues", "dependencies"], "by hand", "ada <ada@example.com>")
    return schema


@pytest.mark.parametrize("path", recorded.graphs(), ids=lambda path: path.stem)
def test_the_answer_is_that_of_bd_ready(engine: Engine, path: Path) -> None:
    """Each open bead has the answer of `bd ready`, alone and together with the others."""
    recording = recorded.value(path.parent, path.name)
    create_beads(engine, shape_of(recording, path))
    schema = build(engine, recording["tables"])
    beads = [row["id"] for row in recording["tables"]["issues"] if row["status"] == "open"]
    listed = set(recording["ready"])
    assert recording["clusters"] and listed
    assert set(beads) > listed, "some open beads are not ready"
    now = datetime.now(UTC)
    found = readiness(engine.query, beads, schema, now)
    assert _differences(recording, beads, listed, found.holds) == {}
    queue = unready_until_enough(
        engine, beads, len(beads) + 1, (), schema, now, head(engine), False
    )
    assert queue.holds == found.holds
    asked_one_by_one = {
        bead: readiness(engine.query, [bead], schema, now).holds.get(bead) for bead in beads[:40]
    }
    assert asked_one_by_one == {bead: found.holds.get(bead) for bead in beads[:40]}


def _differences(
    recording: Mapping[str, Any], beads: Sequence[str], listed: set[str], holds: Mapping[str, Any]
) -> dict[str, str]:
    titles = {row["id"]: row["title"] for row in recording["tables"]["issues"]}
    return {
        bead: f"{titles[bead]}: bd lists it: {bead in listed}; here: {holds.get(bead, 'ready')}"
        for bead in beads
        if (bead in listed) == (bead in holds) and titles[bead] not in STRICTER
    }
