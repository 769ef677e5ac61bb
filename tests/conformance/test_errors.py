"""Each database error has its class, a place and a fix, and never contains the password."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from dolt_watch import errors
from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.engines.dolt import errors as dolt_errors
from dolt_watch.engines.dolt.errors import error_class
from dolt_watch.engines.doltlite import errors as doltlite_errors
from tests.conformance.tables import commit, make, write
from tests.support.servers import free_port

FK = (
    "Committing this transaction resulted in a working set with constraint violations, transaction"
    " rolled back. …\nConstraint violations: \nType: Foreign Key Constraint"
    " Violation\n\tForeignKey: fk_events_issue,\n\tTable: events,\n\tReferencedTable: {},\n\tIndex:"
    " issue_id,\n\tReferencedIndex: "
)
ROW_1452 = (
    "cannot add or update a child row - Foreign key violation on fk: `f`, table: `e`, referenced"
    " table: `{}`, key: `[x]`"
)


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (
            1213,
            "serialization failure: this transaction conflicts with a committed transaction",
            errors.Conflict,
        ),
        (1062, "duplicate primary key given: [1]", errors.Conflict),
        (
            1105,
            (
                "… constraint violations, transaction rolled back …\nType: Unique Key Constraint"
                " Violation"
            ),
            errors.Conflict,
        ),
        (1105, "optimistic lock failed on database Root update", errors.Conflict),
        (1105, FK.format("issues"), errors.BeadNotFound),
        (1105, FK.format("issues_old"), errors.Conflict),
        (1452, ROW_1452.format("issues"), errors.BeadNotFound),
        (1452, ROW_1452.format("other"), errors.DatabaseError),
        (1105, "target commit not found", errors.UnknownCommit),
        (1105, "branch not found: ffff", errors.UnknownCommit),
        (1105, "nothing to commit", errors.NothingToCommit),
        (1146, "table not found: nope", errors.NoSuchTable),
        (1105, "error: the table(s) nope do not exist", errors.NoSuchTable),
        (1049, "database not found: x", errors.NoSuchDatabase),
        (1045, "Access denied for user 'root'", errors.AccessDenied),
        (1044, "Access denied", errors.AccessDenied),
        (1142, "command denied", errors.AccessDenied),
        (1143, "command denied", errors.AccessDenied),
        (1227, "Access denied; you need SUPER", errors.AccessDenied),
        (1370, "execute command denied", errors.AccessDenied),
        (1105, "command denied to user 'lim'@'%'", errors.AccessDenied),
        (1105, "Access denied for user 'lim'@'%' to database 'other'", errors.AccessDenied),
        (1105, "database server is set to read only mode", errors.ReadOnly),
        (1290, "running with --read-only", errors.ReadOnly),
        (
            1105,
            "`u`@`%` does not have the correct permissions on branch `main`",
            errors.BranchDenied,
        ),
        (
            1105,
            "Commit not found. You are using a shallow clone which does not contain …",
            errors.UnknownCommit,
        ),
        (1105, "runtime failure: Ghost commit encountered unexpectedly.", errors.UnknownCommit),
        (2003, "Can't connect to MySQL server", errors.Unreachable),
        (2006, "gone away", errors.Unreachable),
        (2013, "Lost connection to MySQL server during query", errors.Unreachable),
        (2055, "Lost connection", errors.Unreachable),
        (1040, "Too many connections", errors.Unreachable),
        (0, "", errors.Unreachable),
        (1105, 'column "to_x" could not be found in any table in scope', errors.SchemaChanged),
        (1105, "panic recovered: runtime error", errors.ServerPanic),
        (1048, "column name 'id' is non-nullable", errors.DatabaseError),
    ],
)
def test_the_table_for_a_server(code, text, kind):
    assert error_class(code, text) is kind
    made = dolt_errors.translate(code, text, ServerAddress("h", 1, "u", "hunter2", "b"))
    assert type(made) is kind
    assert made.where == "h:1/b"


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("SQLITE_CONSTRAINT_PRIMARYKEY", "UNIQUE constraint failed: t.id", errors.Conflict),
        ("SQLITE_CONSTRAINT_UNIQUE", "UNIQUE constraint failed: t.v", errors.Conflict),
        ("SQLITE_BUSY", "database is locked", errors.Conflict),
        ("SQLITE_BUSY_SNAPSHOT", "database is locked", errors.Conflict),
        ("SQLITE_LOCKED", "database table is locked", errors.Conflict),
        ("SQLITE_CONSTRAINT_FOREIGNKEY", "FOREIGN KEY constraint failed", errors.BeadNotFound),
        ("SQLITE_CONSTRAINT_NOTNULL", "NOT NULL constraint failed: t.id", errors.DatabaseError),
        ("SQLITE_ERROR", "no such table: main.nope", errors.NoSuchTable),
        ("SQLITE_ERROR", "nothing to commit, working tree clean", errors.NothingToCommit),
        ("SQLITE_ERROR", "dolt_diff_t: ref not found: 00", errors.UnknownCommit),
        ("SQLITE_ERROR", "invalid dolt_log revision: 00..11", errors.UnknownCommit),
        ("SQLITE_ERROR", "no such column: to_x", errors.SchemaChanged),
        ("SQLITE_CORRUPT", "database disk image is malformed", errors.DatabaseError),
        ("SQLITE_CANTOPEN", "unable to open database file", errors.NoSuchDatabase),
        ("SQLITE_READONLY", "attempt to write a readonly database", errors.AccessDenied),
    ],
)
def test_the_table_for_a_file(name, text, kind):
    assert type(doltlite_errors.translate(name, text, "/x.db")) is kind


def test_a_password_in_a_servers_words_is_cut_out():
    made = dolt_errors.translate(
        1105, "you said hunter2", ServerAddress("h", 1, "u", "hunter2", "b")
    )
    assert "hunter2" not in str(made)


def test_nobody_listens():
    address = ServerAddress("127.0.0.1", free_port(), database="x")
    with pytest.raises(errors.Unreachable) as error:
        open_engine(address)
    assert error.value.exit_code == 3
    assert error.value.where == address.display_name
    assert "dolt sql-server" in error.value.fix


def test_a_name_that_does_not_resolve():
    with pytest.raises(errors.Unreachable):
        open_engine(ServerAddress("no-such-host.invalid", database="x"))


def test_something_else_listens():
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(5)
        address = ServerAddress("127.0.0.1", other.getsockname()[1], database="x")
        import threading

        thread = threading.Thread(target=lambda: other.accept()[0].close())
        thread.start()
        with pytest.raises(errors.Unreachable):
            open_engine(address)
        thread.join()


def test_a_wrong_password(dolt_address):
    with pytest.raises(errors.AccessDenied) as error:
        open_engine(replace(dolt_address, user="nobody_at_all", password="hunter2"))
    assert "hunter2" not in str(error.value)
    assert "DOLT_WATCH_PASSWORD" in error.value.fix


def test_no_password_is_told(dolt_address):
    with pytest.raises(errors.AccessDenied, match="no password was given"):
        open_engine(replace(dolt_address, user="nobody_at_all", password=""))


def test_no_such_database(dolt_server):
    with pytest.raises(errors.NoSuchDatabase) as error:
        open_engine(dolt_server.unused())
    assert "SHOW DATABASES" in error.value.fix


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM nowhere", "SELECT 1 WHERE EXISTS (SELECT 1 FROM nowhere)"]
)
def test_no_such_table(engine, sql):
    with pytest.raises(errors.NoSuchTable) as error:
        engine.query(sql)
    assert error.value.table == "nowhere"


def test_no_such_column(engine):
    make(engine)
    with pytest.raises(errors.SchemaChanged, match="nocol"):
        engine.query("SELECT nocol FROM t")


def test_broken_sql_is_a_database_error(engine):
    with pytest.raises(errors.DatabaseError):
        engine.query("SELECT FROM WHERE")


def test_a_privilege_that_is_missing(dolt_server, dolt_address, dolt):
    make(dolt)
    user = f"u_{dolt_address.database}"
    dolt_server.sql(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY 'hunter2'",
        f"GRANT SELECT ON `{dolt_address.database}`.* TO '{user}'@'%'",
    )
    try:
        limited = open_engine(replace(dolt_address, user=user, password="hunter2"))
        try:
            assert limited.query("SELECT id FROM t") == [("a",), ("b",)]
            for attempt in (
                lambda: write(limited, "UPDATE t SET v = 'x'"),
                lambda: commit(limited, tables=["t"]),
            ):
                with pytest.raises(errors.AccessDenied, match="command denied") as error:
                    attempt()
                assert "hunter2" not in str(error.value)
                assert "SHOW GRANTS" in error.value.fix
        finally:
            limited.close()
        with pytest.raises(errors.AccessDenied):
            open_engine(replace(dolt_address, user=user, password="wrong"))
    finally:
        dolt_server.sql(f"DROP USER '{user}'@'%'")
