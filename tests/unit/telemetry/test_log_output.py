"""Logs of `run --log json`: each line is JSON, and stderr stays empty.

Neither clients nor libraries can change that.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dolt_watch.cli.output import console
from dolt_watch.engines.address import FileAddress
from dolt_watch.inspection.report.web import Request, Response
from dolt_watch.log_events import LogEvent
from dolt_watch.telemetry.health import Server
from dolt_watch.telemetry.log_output import LogHandler, logging_to
from tests.support.commands import Commands, commands
from tests.support.lines import heard, record
from tests.support.servers import die_with_parent


@pytest.fixture
def world(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        made.board.release()
        yield made


def reset(connection: socket.socket) -> None:
    """Close the connection with a TCP reset, as some probes do after the status line."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


CLIENTS: list[Callable[[socket.socket], None]] = [
    lambda to: to.close(),
    reset,
    lambda to: (to.sendall(b"GET /metrics HTTP/1.1\r\n\r\n"), reset(to))[1],
    lambda to: (to.sendall(b"GET / HTTP/1.1\r\n\r\n"), reset(to))[1],
    lambda to: (to.sendall(b"GET /healthz HT"), to.close())[1],
    lambda to: to.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    lambda to: to.sendall(b"\x00\xff\r\n\r\n"),
    lambda to: to.sendall(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"),
    lambda to: to.sendall(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n"),
    lambda to: to.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n"),
    lambda to: to.sendall(b"GET /\x1b[31m\xe4 HTTP/9.9\r\n\r\n"),
    lambda to: to.sendall(b"BREW / HTTP/1.1\r\n\r\n"),
    lambda to: to.sendall(b"GET //a:b@[::1 HTTP/1.1\r\nHost: \xff\r\n\r\n"),
    lambda to: to.sendall(b"HEAD /metrics HTTP/1.1\r\n\r\n"),
    lambda to: to.sendall(b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"),
    lambda to: to.sendall(b"\r\n\r\n\r\n"),
]


def test_whatever_a_client_does(world: Commands) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "dolt_watch",
            "run",
            "--poll",
            "100ms",
            "--log",
            "json",
            "--port",
            "0",
        ],
        cwd=world.folder,
        env=world.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    port = int(json.loads(lines[0])["message"].rpartition(":")[2].partition("/")[0])
    for client in CLIENTS * 3:
        connection = socket.create_connection(("127.0.0.1", port), 10)
        try:
            client(connection)
            if connection.fileno() >= 0:
                connection.settimeout(10)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
        except OSError:
            pass
        finally:
            connection.close()
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    asked.request("GET", "/healthz")
    assert asked.getresponse().status == 200, "and it still answers"
    asked.close()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    for line in [*lines, *out.splitlines()]:
        assert isinstance(json.loads(line), dict), line


def test_a_page_that_fails_is_one_line() -> None:
    said: list[str] = []

    def broken(request: Request) -> Response:
        raise KeyError("no\nsuch")

    with heard(said.append):
        server = Server("127.0.0.1", 0, {"/": broken})
        try:
            asked = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
            asked.request("GET", "/?x=\n".strip())
            assert asked.getresponse().status == 500
            asked.close()
        finally:
            server.close()
    assert [line.partition(" (at ")[0] for line in said] == [
        "error: the page / failed: KeyError: 'no\\nsuch'"
    ]


def test_a_client_that_sends_a_byte_now_and_then(capfd: pytest.CaptureFixture[str]) -> None:
    server = Server("127.0.0.1", 0, {}, patience=0.3)
    begun, ended = time.monotonic(), 0.0
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.settimeout(0.02)
        while not ended and time.monotonic() - begun < 20:
            try:
                connection.sendall(b"G")
                if connection.recv(1) == b"":
                    ended = time.monotonic() - begun
            except TimeoutError:
                continue
            except OSError:
                ended = time.monotonic() - begun
    server.close()
    assert ended, "its thread was held"
    assert capfd.readouterr() == ("", "")


def test_what_python_itself_would_write(capfd: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    log = LogHandler(stream, json=True)

    class Broken:
        def __del__(self) -> None:
            raise RuntimeError("in a finalizer")

    def ends() -> None:
        raise ValueError("in a thread\nof two lines")

    with logging_to(log):
        thread = threading.Thread(target=ends, name="probe")
        thread.start()
        thread.join()
        made: Broken | None = Broken()
        assert made is not None
        made = None
        logging.getLogger("pymysql").warning("odd %s", "thing")
        logging.getLogger("httpx").error("a line\nand another")
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(one["level"], one["message"].partition(" (at ")[0]) for one in said] == [
        ("error", "error: thread probe ended: ValueError: in a thread\\nof two lines"),
        ("error", said[1]["message"].partition(" (at ")[0]),
        ("warning", "warning: odd thing"),
        ("error", "error: a line\\nand another"),
    ]
    assert "in a finalizer" in said[1]["message"]
    assert capfd.readouterr() == ("", "")


def test_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    program = (
        "import warnings\nfrom dolt_watch.telemetry.log_output import LogHandler, logging_to\n"
        "with logging_to(LogHandler(json=True)):\n    warnings.warn('two\\nlines')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert (json.loads(done.stdout)["message"], done.stderr) == (
        "warning: UserWarning: two\\nlines",
        "",
    )


@pytest.mark.parametrize("fields", [{"bead": "a\udcff"}, {"at": object()}, {"more": {1: "\ud800"}}])
def test_values_that_json_has_no_form_for(fields: dict[str, Any]) -> None:
    stream = io.StringIO()
    LogHandler(stream, json=True).handle(record("line \udc80", LogEvent.HOLDING, **fields))
    assert json.loads(stream.getvalue())["message"] == "line \\udc80"


def test_nothing_is_printed_unless_its_user_asks(capfd: pytest.CaptureFixture[str]) -> None:
    """Python's handler of last resort prints nothing either."""
    program = (
        "import logging\nimport"
        " dolt_watch.cli.tick_runner\nlogging.getLogger('dolt_watch.controller.loop').error('error:"
        " for a handler, if there is one')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_logging_is_as_before_afterwards() -> None:
    own, root = logging.getLogger("dolt_watch"), logging.getLogger()

    def now() -> list[object]:
        return [own.handlers[:], own.level, own.propagate, root.handlers[:], root.level]

    before = now()
    with logging_to(LogHandler(io.StringIO())):
        assert now() != before
    with pytest.raises(KeyError), console():
        raise KeyError
    assert now() == before
