"""The grants of ``init --print-grants``: enough for the loop, and no more."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pymysql
import pytest

from dolt_watch.config import load
from dolt_watch.engines.connect import open_engine
from tests.acceptance.conftest import Watch

PASSWORD = "s3cret:/@#?"


@pytest.fixture
def limited(watch: Watch) -> Iterator[Watch]:
    """Yield a watcher of the same workspace, whose user has only those grants."""
    user = f"w_{watch.bd.database[-8:]}"
    printed = watch.command("init", "--print-grants", user)
    assert (printed.code, printed.stderr) == (0, "")
    watch.server.sql(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY '{PASSWORD}'", *printed.stdout.strip().splitlines()
    )
    env = {
        **watch.env,
        "BEADS_DOLT_SERVER_USER": user,
        "BEADS_DOLT_PASSWORD": PASSWORD,
        "DOLT_WATCH_PASSWORD": PASSWORD,
    }
    settings = load({}, env, watch.bd.path)
    engine = open_engine(settings.address)
    yield Watch(watch.bd, watch.board, watch.server, env, settings, engine)
    engine.close()
    watch.server.sql(f"DROP USER '{user}'@'%'")


def test_a_full_dispatch_and_reap(limited: Watch) -> None:
    bead = limited.assigned("by the watcher's user")
    ran = limited.command("dispatch", "--set", "settle=0s")
    assert (ran.code, ran.stderr, limited.sent()) == (0, "", [bead])
    limited.left_comment(bead, "uncommitted, so it is adopted")
    assert limited.tick(timedelta(minutes=5))[0].exit_code == 0
    assert "comments" not in limited.engine.dirty()
    outcome, _ = limited.reap(timedelta(minutes=40))
    assert (outcome.reaped, limited.status(bead)) == (1, "blocked")
    limited.bd.run("flatten", "--force")
    assert limited.tick(timedelta(hours=2))[0].exit_code == 0
    assert limited.kinds("") == ["resync"]


def test_denied_the_rest(limited: Watch) -> None:
    bead = limited.assigned("stays")
    limited.dispatch()
    address: Any = limited.settings.address
    as_user = pymysql.connect(
        host=address.host,
        port=address.port,
        user=address.user,
        password=PASSWORD,
        database=address.database,
        ssl_disabled=True,
        autocommit=True,
    )
    with contextlib.closing(as_user), as_user.cursor() as cursor:
        for text in (
            f"DELETE FROM issues WHERE id = '{bead}'",
            (
                "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes)"
                " VALUES ('x', '', '', '', '', '')"
            ),
            "UPDATE watch_decision SET reason = 'never happened'",
            "DELETE FROM watch_decision",
            "UPDATE watch_settings SET text = ''",
            "UPDATE events SET actor = 'somebody else'",
            "DROP TABLE watch_decision",
            "ALTER TABLE issues ADD COLUMN more INT",
            "CREATE TABLE mine (id INT)",
            f"DROP DATABASE `{address.database}`",
            "CALL DOLT_RESET('--hard', 'HEAD~1')",
            "CALL DOLT_BRANCH('mine')",
            "CREATE USER another",
        ):
            with pytest.raises(pymysql.MySQLError) as told:
                cursor.execute(text)
            assert told.value.args[0] in (1045, 1142, 1370, 1105, 1227, 1044), (text, told.value)
            assert "denied" in str(told.value).lower(), (text, told.value)
    assert limited.kinds(bead) == ["claim", "dispatched"]


def test_init_as_that_user_says_what_it_lacks(limited: Watch) -> None:
    limited.server.sql("DROP TABLE watch_attempt", database=limited.bd.database)
    ran = limited.command("init")
    assert (ran.code, "Traceback" in ran.stderr) == (3, False)
    assert "fix:" in ran.stderr
