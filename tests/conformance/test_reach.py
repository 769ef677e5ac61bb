"""A server that can't be reached: the error, its fix, and the time until it is reported."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pymysql
import pytest

from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.engines.dolt import connection as dolt_link
from dolt_watch.engines.dolt.connection_errors import reason
from dolt_watch.engines.dolt.engine import lock_name
from dolt_watch.errors import Unreachable
from tests.support.servers import free_port, own_dolt, start_dolt

T = TypeVar("T")
HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


@contextlib.contextmanager
def listener(greets: Callable[[socket.socket], None]) -> Iterator[int]:
    """Yield a port on which a server other than Dolt listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    held.append(connection)
                    greets(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in held:
            connection.close()


def unreached(address: ServerAddress) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        open_engine(address)
    assert "Lost connection" not in caught.value.message
    assert caught.value.where == address.display_name
    return caught.value


@pytest.mark.parametrize(
    ("greets", "says", "fix"),
    [
        (lambda to: None, "accepted the connection, but sent nothing for 0.3 s", "max_connections"),
        (lambda to: to.close(), "closed the connection at once", "Check the port"),
        (
            lambda to: to.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
            "doesn't speak the MySQL protocol",
            "Specify the port",
        ),
        (lambda to: to.sendall(HTTP), "doesn't speak the MySQL protocol", "Specify the port"),
        (
            lambda to: to.sendall(b"\x01\x00\x00\x00\x0a"),
            "doesn't speak the MySQL protocol",
            "Specify the port",
        ),
        (lambda to: to.sendall(b"\x05\x00\x00\x00abc"), "sent nothing", "Check the port"),
        (
            lambda to: to.sendall(b"\x00\x00\x00\x00"),
            "doesn't speak the MySQL protocol",
            "Specify the port",
        ),
    ],
    ids=["silent", "closes", "ssh", "http", "short", "half", "empty"],
)
def test_a_port_of_something_else(
    greets: Callable[[socket.socket], None], says: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dolt_link, "CONNECT_SECONDS", 0.3)
    with listener(greets) as port:
        error = unreached(ServerAddress(port=port, database="b"))
    assert says in error.message
    assert f"127.0.0.1:{port}" in error.message
    assert fix in (error.fix or "")


def test_how_long_it_takes() -> None:
    assert dolt_link.CONNECT_SECONDS == 10


def test_nothing_listens(tmp_path: Path) -> None:
    port = free_port()
    error = unreached(ServerAddress(port=port, database="b"))
    assert f"No server listens at 127.0.0.1:{port}" in error.message
    assert f"dolt sql-server --host 127.0.0.1 --port {port}" in (error.fix or "")
    error = unreached(ServerAddress(port=port, database="b", managed=True))
    assert "bd dolt start" in (error.fix or "")
    error = unreached(ServerAddress(socket=str(tmp_path / "none.sock"), database="b"))
    assert f"The socket {tmp_path}/none.sock doesn't exist." in error.message
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "dead.sock"))
    error = unreached(ServerAddress(socket=str(tmp_path / "dead.sock"), database="b"))
    assert "No server listens at" in error.message


def test_a_name_that_is_none() -> None:
    error = unreached(ServerAddress(host="nope.invalid", database="b", tls=False))
    assert "The host name nope.invalid is not known" in error.message


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        (TimeoutError("timed out"), "h:1 did not accept a connection within 10 s"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "There is no route to h:1"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "h:1 closed the connection at once"),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), "TLS with h:1 failed"),
        (OSError(errno.EMFILE, "Too many open files"), "h:1 can't be reached"),
    ],
)
def test_what_no_test_can_provoke_at_once(cause: OSError, says: str) -> None:
    assert (
        says
        in reason(2003, "Can't connect", cause, ServerAddress("h", 1, database="b"), 10).message
    )


def test_a_host_that_is_not_allowed() -> None:
    assert (
        "from this machine"
        in reason(1130, "Host is not allowed", None, ServerAddress("h", 1), 10).message
    )


def when_free(act: Callable[[], T]) -> T:
    """Retry until the only connection of a server is free.

    The server frees it some time after the last client has left.
    """
    deadline = time.monotonic() + 30
    while True:
        try:
            return act()
        except (Unreachable, pymysql.OperationalError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.mark.parametrize("backlog", [0, 1], ids=["refused at once", "queued"])
def test_a_full_server(backlog: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dolt keeps a client in its backlog before it refuses it, and sends nothing meanwhile."""
    config = (
        f"  max_connections: 1\n  back_log: {backlog}\n  max_connections_timeout_millis: 600000\n"
    )
    with start_dolt(own_dolt(), tmp_path, config=config) as server:
        when_free(lambda: server.sql("CREATE DATABASE IF NOT EXISTS b"))
        address = ServerAddress(port=server.address.port, database="b")
        first = when_free(lambda: open_engine(address))
        monkeypatch.setattr(dolt_link, "CONNECT_SECONDS", 1)
        error = unreached(address)
        assert "max_connections" in (error.fix or ""), error
        first.close()


LONG = "a" * 53


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ((LONG + "1", "main"), (LONG + "2", "main")),
        (("b", "m" * 60 + "1"), ("b", "m" * 60 + "2")),
        ((LONG, "main"), (LONG + "x", "main")),
        (("ä" * 27 + "1", "main"), ("ä" * 27 + "2", "main")),
    ],
)
def test_locks_of_names_that_are_alike(one: tuple[str, str], two: tuple[str, str]) -> None:
    assert lock_name(*one) != lock_name(*two)
    assert lock_name(*one) == lock_name(*one)
    assert max(len(lock_name(*each).encode()) for each in (one, two)) <= 64


def test_the_lock_of_a_short_name_is_readable() -> None:
    assert lock_name("beads", "main") == "dolt_watch:beads:main"
    assert lock_name("b" * 48, "main") == f"dolt_watch:{'b' * 48}:main", "64 fit"


def test_two_trackers_lead_on_one_server(tmp_path: Path) -> None:
    with start_dolt(own_dolt(), tmp_path) as server:
        engines = []
        for database in (LONG + "1", LONG + "2"):
            server.sql(f"CREATE DATABASE `{database}`")
            engines.append(open_engine(ServerAddress(port=server.address.port, database=database)))
        second = open_engine(ServerAddress(port=server.address.port, database=LONG + "1"))
        assert [engine.try_acquire_leadership() for engine in engines] == [True, True]
        assert not second.try_acquire_leadership()
        named = ServerAddress(port=server.address.port, database=LONG + "1/main")
        same = open_engine(named)
        assert not same.try_acquire_leadership(), "its branch named: the same tracker"
        for engine in (*engines, second, same):
            engine.close()
