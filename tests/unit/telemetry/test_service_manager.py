"""Messages of a real service to systemd, on a real socket."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolt_watch.engines.address import FileAddress
from dolt_watch.telemetry.service_manager import ServiceManager
from tests.support.commands import commands


class Manager:
    """The receiver of sd_notify(3) messages."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.settimeout(60)

    def next(self) -> str:
        return self.socket.recv(4096).decode()

    def waiting(self) -> list[str]:
        """Return the unread messages."""
        found = []
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.next())
        return found


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    file = str(tmp_path / "notify")
    made = Manager(file if request.param == "file" else f"@dolt-watch-test-{os.getpid()}")
    yield made
    made.socket.close()


def variables(manager: Manager) -> dict[str, str]:
    return {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "60000000",
        "WATCHDOG_PID": str(os.getpid()),
    }


def test_ready_once_and_each_new_status(manager: Manager) -> None:
    env = variables(manager)
    service = ServiceManager(env, lambda: True)
    assert env == {}, "agents must not inherit the variables"
    assert service.interval == 30
    with service:
        for status in ("leading", "leading", "error:\n no database"):
            service.polled(status)
    assert manager.waiting() == [
        "READY=1\nSTATUS=leading",
        "READY=1\nSTATUS=error: no database",
        "STOPPING=1",
    ]


def test_a_loop_that_hangs_does_not_answer_the_watchdog(manager: Manager) -> None:
    alive = [True]
    service = ServiceManager(variables(manager), lambda: alive[0])
    service.answer_watchdog()
    alive[0] = False
    service.answer_watchdog()
    assert manager.waiting() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    "changed",
    [{"WATCHDOG_USEC": ""}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_PID": "1"}],
)
def test_a_watchdog_that_is_not_for_this_process(manager: Manager, changed: dict[str, str]) -> None:
    assert ServiceManager({**variables(manager), **changed}, lambda: True).interval == 0


@pytest.mark.parametrize("address", ["", "/nowhere/at/all"])
def test_without_systemd_nothing_happens(address: str) -> None:
    with ServiceManager({"NOTIFY_SOCKET": address}, lambda: True) as service:
        service.polled("leading")
        service.answer_watchdog()


def test_the_service_reports_ready_alive_and_stopping(
    tmp_path: Path, doltlite_path: FileAddress
) -> None:
    manager = Manager(str(tmp_path / "notify"))
    notified = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    with commands(doltlite_path) as cli:
        assert cli.run("init").returncode == 0
        program = [sys.executable, "-m", "dolt_watch", "run"]
        process = subprocess.Popen(
            program, cwd=cli.folder, env={**cli.env, **notified}, stderr=subprocess.PIPE
        )
        with process:
            received = [manager.next()]
            while "READY=1\nSTATUS=leading" not in received or "WATCHDOG=1" not in received:
                received.append(manager.next())
            process.send_signal(signal.SIGTERM)
            while received[-1] != "STOPPING=1":
                received.append(manager.next())
            assert process.wait(60) == 0
    manager.socket.close()
