"""Several processes create the tables at the same time, like pods that start together."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.engines.dolt import engine as dolt_engine
from dolt_watch.engines.sql_text import split_statements
from dolt_watch.errors import DatabaseError
from dolt_watch.ledger.schema import is_up_to_date, migrate, migrations
from tests.support.beads import create_beads

WORKERS = 4


def test_concurrent_migrations_run_one_after_the_other(dolt_address: ServerAddress) -> None:
    with contextlib.closing(open_engine(dolt_address)) as engine:
        create_beads(engine)
        assert not is_up_to_date(engine, None)
    together = Barrier(WORKERS)

    def work(_: int) -> list[str]:
        with contextlib.closing(open_engine(dolt_address)) as engine:
            together.wait()
            return [each.name for each in migrate(engine, "w <w@test>")]

    with ThreadPoolExecutor(WORKERS) as pool:
        found = sorted(pool.map(work, range(WORKERS)))
    assert found == [[], [], [], ["ledger"]]
    with contextlib.closing(open_engine(dolt_address)) as engine:
        assert is_up_to_date(engine, None)


def test_a_migration_that_was_interrupted_is_repeated(dolt_address: ServerAddress) -> None:
    """DDL commits itself, so a crash can leave the tables without the row that records them."""
    with contextlib.closing(open_engine(dolt_address)) as engine:
        create_beads(engine)
        for statement in split_statements(migrations()[0].sql):
            engine.execute_ddl(statement)
        assert not is_up_to_date(engine, None)
        assert [each.name for each in migrate(engine, "w <w@test>")] == ["ledger"]
        assert is_up_to_date(engine, None)


def test_a_migration_that_never_ends_does_not_hang_another(
    dolt_address: ServerAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dolt_engine, "MIGRATION_WAIT", 0)
    with (
        contextlib.closing(open_engine(dolt_address)) as first,
        contextlib.closing(open_engine(dolt_address)) as second,
    ):
        with (
            first.migration_lock(),
            pytest.raises(DatabaseError, match=r"Another `dolt_watch init`"),
            second.migration_lock(),
        ):
            pass
        with second.migration_lock():
            pass  # The lock was released.
