"""``bd ready`` and ``bd blocked`` of the stand-in, compared with the answers of real bd.

The tests use the recorded graphs.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from pymysql.cursors import DictCursor

from tests.standin import launcher, recorded
from tests.standin.dialect import DEFAULT, DIALECTS, NEWEST
from tests.support.beads import Workspace, initialized
from tests.support.matrix import chosen
from tests.support.servers import Server

GRAPHS = recorded.graphs()


def dialect_of(path: Path) -> str:
    """Return the dialect at the beginning of the file's name, or the newest for a later release."""
    return next((name for name in DIALECTS if path.name.startswith(name)), NEWEST)


def load(server: Server, bd: Workspace, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Write the recorded rows unchanged. Cells without a recorded value are empty or zero."""
    with (
        contextlib.closing(server.connect(bd.database, cursorclass=DictCursor)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SET foreign_key_checks = 0")
        connection.begin()
        for table in ("custom_statuses", "issues", "wisps", "dependencies", "wisp_dependencies"):
            cursor.execute(f"SHOW COLUMNS FROM {table}")
            columns = cursor.fetchall()
            for row in tables.get(table, []):
                cells = {each["Field"]: zero(each) for each in columns} | row
                names = ", ".join(f"`{name}`" for name in cells)
                cursor.execute(
                    f"INSERT INTO {table} ({names}) VALUES ({', '.join(['%s'] * len(cells))})",
                    tuple(cells.values()),
                )
        connection.commit()


def zero(column: dict[str, Any]) -> Any:
    """Return the value for a cell without a recorded value."""
    if column["Field"] in ("created_at", "updated_at"):
        return "2026-11-29 12:00:00"
    if column["Null"] == "YES":
        return None
    kind = column["Type"]
    return 0 if "int" in kind else ""


@pytest.mark.parametrize(
    "path",
    chosen(GRAPHS, lambda path: dialect_of(path) == DEFAULT),
    ids=[path.stem for path in GRAPHS],
)
def test_ready_is_what_bd_answered(path: Path, dolt_server: Server, tmp_path: Path) -> None:
    graph = recorded.value(path.parent, path.name)
    dialect = dialect_of(path)
    bd = initialized(dolt_server, tmp_path, str(launcher.write(tmp_path / "bin", dialect)))
    try:
        load(dolt_server, bd, graph["tables"])
        answers = {
            "ready": ("ready", "--json", "-n", "0"),
            "ready_assignee_agent": ("ready", "--json", "-n", "0", "--assignee", "agent"),
            "blocked": ("blocked", "--json"),
        }
        for name, words in answers.items():
            ids = {each["id"] for each in json.loads(bd.run(*words))}
            assert ids == set(graph[name]), (name, ids ^ set(graph[name]))
    finally:
        dolt_server.drop(bd.address)


def test_every_dialect_has_graphs() -> None:
    found = {dialect_of(path) for path in GRAPHS}
    assert found == set(DIALECTS)
