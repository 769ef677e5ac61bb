"""Output failures change no decision: closed pipes, missing streams, unsupported characters."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest

from dolt_watch.cli.output import Console
from dolt_watch.controller.loop import ControlLoop
from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress
from dolt_watch.log_events import LogEvent
from dolt_watch.telemetry.log_output import LogHandler
from tests.support.clocks import ShiftedClock
from tests.support.commands import Commands, commands
from tests.support.embedded_tracker import Light
from tests.support.lines import Service, build, record
from tests.unit.controller.test_service import Still, Told

LATIN = {"PYTHONIOENCODING": "latin-1"}


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        yield made


def unread() -> int:
    """Return the write end of a pipe that has no reader."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def test_a_claimed_bead_is_sent_though_nobody_reads(cli: Commands) -> None:
    cli.here.assign("bd-a")
    end = unread()
    try:
        done = cli.run("dispatch", stdout=end)
    finally:
        os.close(end)
    assert [bead for bead, _ in cli.board.accepted] == ["bd-a"]
    assert cli.here.kinds("bd-a") == ["claim", "dispatched"]
    assert (done.returncode, done.stderr) == (1, "")


def test_run_ends_after_the_tick_whose_reader_has_gone(doltlite: Engine) -> None:
    class Leaves(io.StringIO):
        def write(self, text: str) -> int:
            if "picked bead" in text:
                raise BrokenPipeError
            return super().write(text)

    here, log = Light(doltlite), LogHandler(Leaves(), json=False)
    here.assign("bd-a")

    def make(engine: Engine) -> ControlLoop:
        clock = ShiftedClock(timedelta(minutes=1))
        return build(engine, here.settings, lambda name: here.target, clock, log, patient=False)

    one = Service(lambda: here.engine, make, log, Told(), between=log.check, clock=Still())
    one.step()
    assert (here.target.sent, here.kinds("bd-a")) == (["bd-a"], ["claim", "dispatched"])
    with pytest.raises(BrokenPipeError):
        one.step()


def test_run_ends_where_nobody_reads(cli: Commands) -> None:
    end = unread()
    try:
        done = cli.run("run", "--poll", "100ms", "--log", "text", stdout=end)
    finally:
        os.close(end)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.long
def test_what_the_encoding_lacks_is_escaped(cli: Commands) -> None:
    cli.here.assign("bd-a")
    reason = "für später: 漢字 😀"
    assert cli.run("pause", "--reason", reason).returncode == 0
    assert "\\u6f22\\u5b57 \\ud83d\\ude00" in cli.run("log", env=LATIN, encoding="latin-1").stdout
    told = json.loads(cli.run("log", "--format", "json", env=LATIN, encoding="latin-1").stdout)
    assert told["entries"][0]["reason"] == reason
    why = cli.run("why", "bd-a", env=LATIN, encoding="latin-1")
    assert (why.returncode, why.stderr) == (0, ""), "its marks are not in Latin-1"


def test_no_stdout_at_all(cli: Commands) -> None:
    command = ["/bin/sh", "-c", 'exec "$0" -m dolt_watch log >&-', sys.executable]
    done = subprocess.run(command, env=cli.env, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


class Broken(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


def test_a_line_that_is_lost_is_told_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = iter(("first", "second"))

    def say(line: str) -> None:
        raise BrokenPipeError(next(lost))

    monkeypatch.setattr("dolt_watch.cli.output.print_line", say)
    console = Console()
    console.check()
    console.handle(record("a line", LogEvent.IDLE))
    console.print("another")
    with pytest.raises(BrokenPipeError, match="first"):
        console.check()
    log = LogHandler(Broken(BrokenPipeError("gone")), json=False)
    log.check()
    log.handle(record("a line", LogEvent.IDLE))
    with pytest.raises(BrokenPipeError):
        log.check()
    full = LogHandler(Broken(OSError(28, "No space left on device")), json=True)
    full.handle(record("a line", LogEvent.IDLE))
    full.check()


def test_a_confirmation_without_standard_input(cli: Commands) -> None:
    assert cli.run("init").returncode == 0
    shell = 'exec "$0" -m dolt_watch replay --apply --from HEAD <&-'
    done = subprocess.run(
        ["/bin/sh", "-c", shell, sys.executable],
        cwd=cli.folder,
        env=cli.env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "standard input is not a terminal" in done.stderr
