"""The lock for the turns of workers: GET_LOCK of real servers of Dolt 1 and Dolt 2."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.engines.dolt import engine as dolt_engine
from tests.conformance.test_older_dolt import NEWER
from tests.support.servers import Server, start_dolt

pytestmark = pytest.mark.long

HOLDER = """
import sys, time
from dolt_watch.engines.address import parse_url
from dolt_watch.engines.connect import open_engine
engine = open_engine(parse_url(sys.argv[1]))
print("begins", flush=True)
print(engine.take_turn(30), flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module", params=["on PATH", "newer"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    if request.param == "on PATH":
        yield request.getfixturevalue("dolt_server")
        return
    if not os.environ.get(NEWER):
        pytest.skip(f"{NEWER} names no dolt of version 2")
    with start_dolt(os.environ[NEWER], tmp_path_factory.mktemp("newer")) as newer:
        yield newer


@pytest.fixture
def address(server: Server) -> ServerAddress:
    return server.fresh()


@contextlib.contextmanager
def holder(address: ServerAddress) -> Iterator[subprocess.Popen[str]]:
    """Yield a process of another worker that takes the turn and never ends it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, address.url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_one_at_a_time(address: ServerAddress, server: Server) -> None:
    with (
        contextlib.closing(open_engine(address)) as one,
        contextlib.closing(open_engine(address)) as two,
        contextlib.closing(open_engine(server.fresh())) as elsewhere,
    ):
        assert one.take_turn(1)
        assert not two.take_turn(1)
        assert elsewhere.take_turn(1), "the lock is of one database"
        assert one.query("SELECT 1") == [(1,)]
        one.end_turn()
        assert two.take_turn(1)
        assert two.try_acquire_leadership(), "it isn't the lock of the service"
        assert one.leader() is not None
        two.close()
        assert one.take_turn(5), "it ends with its connection"


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_holder_that_dies(address: ServerAddress, sign: signal.Signals) -> None:
    with contextlib.closing(open_engine(address)) as one, holder(address) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not one.take_turn(1)
        other.send_signal(sign)
        other.wait()
        assert one.take_turn(5)


def test_one_that_dies_while_it_waits(address: ServerAddress) -> None:
    """A dead worker must not receive the turn and keep it."""
    with (
        contextlib.closing(open_engine(address)) as one,
        contextlib.closing(open_engine(address)) as two,
    ):
        assert one.take_turn(1)
        with holder(address) as other:
            other.kill()
            other.wait()
        one.end_turn()
        assert two.take_turn(10)


def test_a_server_without_it(address: ServerAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dolt_engine, "TAKE_TURN", "SELECT NO_SUCH_FUNCTION(?, ?)")
    monkeypatch.setattr(dolt_engine, "END_TURN", "SELECT NO_SUCH_FUNCTION(?)")
    with contextlib.closing(open_engine(address)) as one:
        assert not one.take_turn(1)
        one.end_turn()
        assert one.query("SELECT 1") == [(1,)]
