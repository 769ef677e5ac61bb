"""A copy of a template equals its original, and is independent of other copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress
from dolt_watch.engines.connect import open_engine
from tests.support.beads import create_tracker
from tests.support.templates import fill

AUTHOR = "ann <ann@test>"


def write(engine: Engine, sql: str) -> None:
    with engine.transaction() as tx:
        tx.execute(sql)
        tx.commit()


def seen(engine: Engine) -> list[Any]:
    """Return history, the tables that differ from it, and the rows."""
    return [
        engine.query("SELECT commit_hash, message FROM dolt_log"),
        sorted(engine.dirty()),
        *(engine.query(f"SELECT n FROM {table} ORDER BY n") for table in ("kept", "left_over")),
    ]


@pytest.mark.parametrize("name", ["dolt", "doltlite"])
def test_a_copy_is_what_was_made(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> None:
    made: list[Engine] = []

    def fresh(number: int) -> Engine:
        if name == "doltlite":
            address: Any = FileAddress(str(tmp_path / f"{number}.db"))
        else:
            address = server.fresh()
        engine = open_engine(address, create=True)

        def make() -> None:
            made.append(engine)
            engine.execute_ddl("CREATE TABLE kept (n INT PRIMARY KEY)")
            with engine.transaction() as tx:
                tx.execute("INSERT INTO kept VALUES (1)")
                tx.dolt_commit(["kept"], "kept", AUTHOR)
            engine.execute_ddl("CREATE TABLE left_over (n INT PRIMARY KEY)")
            write(engine, "INSERT INTO left_over VALUES (1)")

        fill(engine, "of test_templates", make)
        return engine

    server = request.getfixturevalue("dolt_server") if name == "dolt" else None
    first, second = fresh(1), fresh(2)
    assert seen(second) == seen(first)
    assert seen(second)[1:] == [["left_over"], [(1,)], [(1,)]]
    write(second, "INSERT INTO kept VALUES (2)")
    third = fresh(3)
    assert (seen(third), made) == (seen(first), [first])
    assert seen(second)[2] == [(1,), (2,)]
    for engine in (first, second, third):
        engine.close()
        if server:
            server.drop(engine.address)  # type: ignore[attr-defined]


def test_authors_have_trackers_of_their_own(engine: Engine) -> None:
    create_tracker(engine, AUTHOR)
    asked = "SELECT committer FROM dolt_log WHERE message LIKE '%migration%'"
    assert engine.query(asked) == [("ann",)]
