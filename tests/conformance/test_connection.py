"""The connection to a Dolt server: few statements, and recovery after a loss."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from dataclasses import replace

import pymysql
import pytest

from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import SettingsError, Unreachable
from tests.conformance.tables import ME, head, make, read
from tests.support.servers import Server, start_dolt


@pytest.fixture
def sent(monkeypatch):
    """Return a list of all commands that are sent to a server."""
    commands: list[str] = []
    real = pymysql.connections.Connection._execute_command

    def spy(self, command, sql):
        commands.append(sql.decode() if isinstance(sql, bytes) else sql)
        return real(self, command, sql)

    monkeypatch.setattr(pymysql.connections.Connection, "_execute_command", spy)
    return commands


def kill(server: Server, engine) -> None:
    """End the engine's connection from outside, as a restarted server or a firewall does."""
    (number,) = engine.query("SELECT CONNECTION_ID()")[0]
    server.sql(f"KILL {number}")


def test_an_idle_process_sends_one_statement(dolt_address, sent):
    engine = open_engine(dolt_address)
    assert sent == []
    engine.query("SELECT 1")
    assert sent == ["SELECT 1"]
    engine.close()


def test_the_session_is_set_once_before_the_second(dolt_address, sent):
    engine = open_engine(dolt_address)
    for number in (1, 2, 3):
        engine.query(f"SELECT {number}")
    assert [text for text in sent if text.startswith("SET")] == [sent[1]]
    assert len(sent) == 4
    engine.close()


def test_or_before_the_first_transaction(dolt_address, sent):
    engine = open_engine(dolt_address)
    with engine.transaction() as tx:
        assert tx.query("SELECT @@session.time_zone") == [("+00:00",)]
    assert sent[0].startswith("SET")
    assert sent[1:] == ["START TRANSACTION", "SELECT @@session.time_zone", "ROLLBACK"]
    engine.close()


def test_utf8_without_asking_for_it(dolt):
    assert dolt.query("SELECT @@character_set_client, @@character_set_results, ?", ("ä🚀",))[0] == (
        "utf8mb4",
        "utf8mb4",
        "ä🚀",
    )


def test_a_lost_connection_is_made_anew_for_a_read(dolt_server, dolt):
    make(dolt)
    kill(dolt_server, dolt)
    assert read(dolt, "a") == "1"
    assert dolt.query("SELECT @@session.time_zone, @@session.autocommit") == [("+00:00", 1)]


def test_the_first_statement_of_a_further_connection_has_the_session_too(dolt_server, dolt):
    dolt.query("SELECT 1")
    kill(dolt_server, dolt)
    assert dolt.query("SELECT @@session.time_zone, @@session.autocommit") == [("+00:00", 1)]


def test_and_for_a_transactions_begin(dolt_server, dolt):
    make(dolt)
    kill(dolt_server, dolt)
    with dolt.transaction() as tx:
        assert tx.query("SELECT v FROM t WHERE id = 'a'") == [("1",)]


def test_and_for_commits_and_diffs(dolt_server, dolt):
    made = make(dolt)
    kill(dolt_server, dolt)
    assert next(dolt.commits(None, made)).hash == made


def test_but_never_inside_a_transaction(dolt_server, dolt):
    make(dolt)
    with dolt.transaction() as tx:
        tx.execute("UPDATE t SET v = 'x' WHERE id = 'a'")
        kill(dolt_server, dolt)
        with pytest.raises(Unreachable):
            tx.query("SELECT 1")
    assert read(dolt, "a") == "1", "and the engine lives on"


@pytest.mark.parametrize("how", ["commit", "dolt_commit"])
def test_lost_on_a_commit_says_that_nobody_knows(dolt_server, dolt, how):
    make(dolt)
    before = head(dolt)
    with pytest.raises(Unreachable, match="not known"), dolt.transaction() as tx:
        tx.execute("UPDATE t SET v = 'x' WHERE id = 'a'")
        kill(dolt_server, dolt)
        if how == "commit":
            tx.commit()
        else:
            tx.dolt_commit([], "m", ME)
    assert (read(dolt, "a"), head(dolt), dolt.dirty()) == ("1", before, frozenset())


def test_lost_after_staging_leaves_nothing_staged(dolt_server, dolt_factory):
    mine, other = dolt_factory(), dolt_factory()
    make(mine)
    with pytest.raises(Unreachable), mine.transaction() as tx:
        tx.execute("UPDATE t SET v = 'x' WHERE id = 'a'")
        tx.query("CALL DOLT_ADD('t')")
        kill(dolt_server, mine)
        tx.dolt_commit(["t"], "m", ME)
    assert other.dirty() == frozenset()


def test_a_server_that_does_not_answer_is_not_asked_twice(dolt_address, monkeypatch):
    monkeypatch.setattr("dolt_watch.engines.dolt.connection.ANSWER_SECONDS", 0.3)
    engine = open_engine(dolt_address)
    with pytest.raises(Unreachable, match=r"timed out.*limits are"):
        engine.query("SELECT SLEEP(3)")
    assert engine.query("SELECT 1") == [(1,)], "on a new connection"
    engine.close()


def test_an_interrupt_while_an_answer_is_under_way(dolt, monkeypatch):
    """The next statement must not read the answer of the interrupted one."""
    real = pymysql.connections.Connection._read_query_result

    def interrupted(self, unbuffered=False):
        raise KeyboardInterrupt

    dolt.query("SELECT 1")
    monkeypatch.setattr(pymysql.connections.Connection, "_read_query_result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dolt.query("SELECT 'old'")
    monkeypatch.setattr(pymysql.connections.Connection, "_read_query_result", real)
    assert dolt.query("SELECT 'new'") == [("new",)]


def test_closing_twice_and_two_engines_in_threads(dolt_factory):
    make(dolt_factory())
    engines = [dolt_factory() for _ in range(4)]
    seen: list[str | None] = []
    threads = [threading.Thread(target=lambda e=e: seen.append(read(e, "a"))) for e in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["1"] * 4
    engines[0].close()
    engines[0].close()


def test_a_server_restarted_and_one_without_autocommit(dolt_server, tmp_path):
    """Reads are current although the server's sessions begin with autocommit off.

    The engine survives a restart and reports an outage.
    """
    program = shutil.which("dolt")
    if program is None or dolt_server.data is None:
        pytest.skip("needs a server that the tests start")
    config = "behavior:\n  autocommit: false\n"
    with start_dolt(program, tmp_path, config=config) as server:
        address = server.fresh()
        mine, theirs = open_engine(address), open_engine(address)
        assert mine.query("SELECT @@session.autocommit") == [(0,)], "the first statement goes alone"
        make(theirs)
        assert read(mine, "a") == "1"
        with theirs.transaction() as tx:
            tx.execute("UPDATE t SET v = '2' WHERE id = 'a'")
            tx.commit()
        assert read(mine, "a") == "2"
    with pytest.raises(Unreachable):
        read(mine, "a")
    with start_dolt(program, tmp_path, port=address.port, config=config):
        assert read(mine, "a") == "2"
        mine.close()
        theirs.close()


def test_tls_is_verified(dolt_server, tmp_path, monkeypatch):
    """The connection is encrypted, and the certificate of an unknown authority is refused."""
    program, openssl = shutil.which("dolt"), shutil.which("openssl")
    if program is None or openssl is None or dolt_server.data is None:
        pytest.skip("needs a server that the tests start, and openssl to make a certificate")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    names = "subjectAltName=IP:127.0.0.1,IP:0.0.0.0"
    make_one = (
        f"req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=test -addext {names} -keyout {key}"
        f" -out {cert}"
    )
    subprocess.run([openssl, *make_one.split()], check=True, capture_output=True)
    with start_dolt(program, tmp_path, config=f"  tls_cert: {cert}\n  tls_key: {key}\n") as server:
        address = server.fresh()
        engine = open_engine(replace(address, tls=True, ca=str(cert)))
        assert engine.query("SELECT 1") == [(1,)]
        assert isinstance(engine._link._connection._sock, ssl.SSLSocket)
        engine.close()
        with pytest.raises(Unreachable, match="certificate isn't trusted") as told:
            open_engine(replace(address, tls=True))
        assert "SSL_CERT_FILE=" in (told.value.fix or "")
        with pytest.raises(SettingsError, match="CA file"):
            open_engine(replace(address, tls=True, ca=str(tmp_path / "none.pem")))
        # 0.0.0.0 reaches this machine, but isn't a loopback address. So the connection is encrypted
        # by default.
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        engine = open_engine(replace(address, host="0.0.0.0"))
        assert isinstance(engine._link._connection._sock, ssl.SSLSocket)
        engine.close()


def test_tls_that_the_server_does_not_have_is_refused(dolt_server, dolt_address):
    """Nothing is sent in plain text, and the error shows how to allow plain text."""
    if dolt_server.data is None:
        pytest.skip("needs a server that the tests start")
    with pytest.raises(Unreachable, match="The server doesn't support TLS"):
        open_engine(replace(dolt_address, tls=True))
    away = replace(dolt_address, host="0.0.0.0")
    with pytest.raises(Unreachable, match=r"TLS, and 0\.0\.0\.0 is another machine") as told:
        open_engine(away)
    for way in ("BEADS_DOLT_SERVER_TLS=false", '"dolt_server_tls": false', "?tls=false"):
        assert way in (told.value.fix or "")
    engine = open_engine(replace(away, tls=False))
    assert engine.query("SELECT 1") == [(1,)]
    engine.close()
