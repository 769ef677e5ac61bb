"""One HTTP exchange under failures of the server and the network.

An exchange is bounded in time, sends once, and reports whether it sent anything.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.core.model.target_answers import Accepted, Refused, Unknown
from dolt_watch.targets.http_client import HttpClient, TransportFailure
from tests.stubs import server
from tests.stubs.asking import SHORT, TASK, beadboard, dispatch, patience
from tests.stubs.beadboard import BeadBoardStub, dead_port, dead_url


@pytest.fixture
def stub() -> Iterator[BeadBoardStub]:
    with BeadBoardStub() as stub:
        yield stub


@pytest.mark.parametrize(
    "what",
    [
        "break",
        "break-after-accept",
        "reset",
        "cut",
        "garbage",
        "oversized",
        "hang-after-accept",
        "hang",
    ],
)
def test_not_known_after_sending_and_sent_once(stub: BeadBoardStub, what: str) -> None:
    stub.answer_next(what)
    assert isinstance(dispatch(stub.url, patience(what)), Unknown)
    stub.received()
    assert len(stub.dispatches) == 1


@pytest.mark.parametrize("what", ["drip", "drip-headers", "hang"])
def test_a_server_that_never_ends_does_not_hold_us(stub: BeadBoardStub, what: str) -> None:
    stub.answer_next(what)
    began = time.monotonic()
    answer = dispatch(stub.url, SHORT)
    assert time.monotonic() - began < SHORT + 4.0
    assert answer == Unknown(f"no answer within 1 s (127.0.0.1:{stub.port})", unreachable="target")


def test_a_body_that_our_own_watch_cut_off_is_no_answer(stub: BeadBoardStub) -> None:
    # A body without a length ends with its connection. A time-out looks the same.
    stub.answer_next("drip")
    caller = HttpClient(stub.url)
    exchange = caller.exchange("POST", "/api/agent-dispatch", timeout=SHORT, body=b"{}")
    caller.close()
    assert (exchange.failure, exchange.body) == (TransportFailure.TIMEOUT, b"")


def test_our_own_connection_refused_says_that_nothing_runs() -> None:
    port = dead_port()
    assert dispatch(f"http://127.0.0.1:{port}") == Refused(
        f"connection refused (127.0.0.1:{port})", unreachable="target"
    )


def test_a_name_that_nobody_has_says_that_nothing_runs() -> None:
    answer = dispatch("http://no-such-host.invalid:80")
    assert isinstance(answer, Refused)
    assert answer.why.startswith("no connection (no-such-host.invalid:80)")
    assert not answer.permanent


def test_tls_that_fails_at_connect_says_that_nothing_runs(stub: BeadBoardStub) -> None:
    answer = dispatch(stub.url.replace("http://", "https://"))
    assert isinstance(answer, Refused)
    assert answer.why.startswith(f"TLS failed (127.0.0.1:{stub.port})")
    assert stub.dispatches == []


def test_a_request_that_cannot_be_made_says_that_nothing_runs(stub: BeadBoardStub) -> None:
    board = beadboard(stub.url)
    answer = board.dispatch(TASK, "tökén")
    board.close()
    assert isinstance(answer, Refused)
    assert stub.requests == []


def test_after_its_time_nothing_is_sent_any_more(
    stub: BeadBoardStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Name resolution has no time-out. After its deadline a claim must not be sent, even if the
    # connection exists.
    find = socket.getaddrinfo

    def slow(*args: Any, **more: Any) -> Any:
        time.sleep(0.1)
        return find(*args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    assert dispatch(stub.url, 0.05) == Refused(
        f"connection timed out (127.0.0.1:{stub.port})", unreachable="target"
    )
    assert stub.requests == []


def test_a_password_in_the_url_is_sent_but_never_shown(stub: BeadBoardStub) -> None:
    url = stub.url.replace("http://", "http://user:hunter2-secret@")
    stub.answer_next(500, "you said hunter2-secret and dXNlcjpodW50ZXIyLXNlY3JldA==")
    assert dispatch(url) == Refused("HTTP 500: you said *** and ***", 500)
    assert "authorization" in stub.requests[0].headers
    answer = dispatch(f"http://user:hunter2-secret@127.0.0.1:{dead_port()}")
    assert isinstance(answer, Refused)
    assert "hunter2" not in answer.why


def test_a_token_with_a_slash_is_not_shown_in_escaped_json(stub: BeadBoardStub) -> None:
    client, sent = HttpClient(stub.url), {"authorization": "Bearer ab/cd+ef/gh=="}
    stub.answer_next(500, '{"error": "not ab\\/cd+ef\\/gh== but ab/cd+ef/gh=="}')
    found = client.exchange("POST", "/api/agent-dispatch", timeout=5.0, headers=sent, body=b"{}")
    client.close()
    assert found.summary == 'HTTP 500: {"error": "not *** but ***"}'


def test_without_a_thread_for_its_watch_nothing_is_sent(
    stub: BeadBoardStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Timer, "start", refuses)
        answer = dispatch(stub.url)
    assert isinstance(answer, Refused) and "can't start new thread" in answer.why
    assert stub.requests == []


def test_no_proxy_from_the_environment(
    stub: BeadBoardStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, dead_url())
    assert isinstance(dispatch(stub.url), Accepted)


def test_a_redirect_is_not_followed(stub: BeadBoardStub) -> None:
    stub.answer_next(308, "", headers={"Location": stub.url + "/api/agent-dispatch"})
    assert isinstance(dispatch(stub.url), Refused)
    assert len(stub.requests) == 1 and stub.accepted == []


def test_one_target_sends_many_and_each_on_a_connection_of_its_own(stub: BeadBoardStub) -> None:
    board = beadboard(stub.url + "/")
    for what in ("break", "reset", "cut"):
        stub.answer_next(what)
        assert isinstance(board.dispatch(TASK, "t"), Unknown)
        assert isinstance(board.dispatch(TASK, "t"), Accepted)
    board.close()
    assert len({request.port for request in stub.dispatches}) == len(stub.dispatches) == 6


def test_a_connection_is_not_kept_alive(stub: BeadBoardStub) -> None:
    # The server could close a kept connection during the next POST. The outcome of this POST would
    # be unknown.
    board = beadboard(stub.url)
    for _ in range(3):
        assert isinstance(board.dispatch(TASK, "t"), Accepted)
    board.close()
    assert len({request.port for request in stub.dispatches}) == 3


def test_https_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    pem = Path(server.__file__).with_name("self_signed.pem")
    with BeadBoardStub(tls=pem) as secure:
        answer = dispatch(secure.url)
        assert isinstance(answer, Refused)
        assert "CERTIFICATE_VERIFY_FAILED" in answer.why
        assert secure.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert isinstance(dispatch(secure.url), Accepted)
        for what in ("drip", "drip-headers", "hang"):
            secure.answer_next(what)
            assert dispatch(secure.url, SHORT) == Unknown(
                f"no answer within 1 s (127.0.0.1:{secure.port})", unreachable="target"
            )


TWO_FIRST_REQUESTS = """
import sys, threading
from dolt_watch.targets.http_client import _httpx

found, second = [], threading.Thread(target=lambda: found.append(_httpx().__name__))

class Meanwhile:
    def find_spec(self, name, *_):
        if name == "httpx" and second.ident is None:
            second.start()
            second.join(0.2)  # It waits for this import.

sys.meta_path.insert(0, Meanwhile())
found.append(_httpx().__name__)
second.join()
assert found == ["httpx", "httpx"], found
assert "httpx._main" not in sys.modules
"""


def test_two_threads_send_their_first_requests() -> None:
    """Both threads import httpx, and one import must not undo the preparation of the other."""
    done = subprocess.run(
        [sys.executable, "-c", TWO_FIRST_REQUESTS], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
