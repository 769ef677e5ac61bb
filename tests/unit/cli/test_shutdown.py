"""SIGTERM, SIGHUP and SIGINT for each command that dispatches.

The command waits for the answer and records it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from dolt_watch.cli.shutdown import unrecorded
from dolt_watch.clock import DatabaseClock
from dolt_watch.core.decisions.policy import Scope
from dolt_watch.core.model import Decision, EntryKind
from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress
from dolt_watch.ledger.decision_context import DecisionContext
from dolt_watch.ledger.writer import LedgerWriter, Written
from tests.support import forked
from tests.support.commands import Commands, commands
from tests.support.embedded_tracker import Light
from tests.support.lines import build
from tests.support.servers import as_in_a_terminal

pytestmark = pytest.mark.long

SIGNALS = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
DISPATCH = "/api/agent-dispatch"
# A clean shutdown of `run` exits with 0. A one-shot command's exit code contains the signal.
SENDERS: dict[str, tuple[Sequence[str], Callable[[int], int], Callable[[int], int]]] = {
    "dispatch": (["dispatch"], lambda number: 128 + number, lambda number: 128 + number),
    "tick": (["tick"], lambda number: 128 + number, lambda number: 128 + number),
    "run": (["run", "--poll", "100ms", "--log", "text"], lambda _: 0, lambda _: 1),
}


@pytest.fixture
def world(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        made.here.assign("bd-a", "bd-b")
        made.here.sql("UPDATE issues SET priority = 1 WHERE id = 'bd-a'")
        yield made


class Begun:
    """A command whose request for bd-a has no answer yet."""

    def __init__(self, world: Commands, words: Sequence[str]) -> None:
        world.board.script(DISPATCH, "freeze")
        self.world = world
        program = forked.program(world.folder, "dolt_watch")
        command = [str(program), *words, "--set", "rules.agent.max_in_flight=2"]
        self.process = subprocess.Popen(
            command,
            cwd=world.folder,
            env=world.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=as_in_a_terminal,
        )
        until(lambda: bool(world.board.asked("POST", DISPATCH)))

    def ends(self) -> str:
        """Wait for the process to end, and return its output."""
        try:
            return self.process.communicate(timeout=300)[0]
        finally:
            self.process.kill()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


@pytest.mark.covering
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("name", SENDERS)
def test_the_answer_is_recorded(world: Commands, name: str, number: int) -> None:
    words, code, _ = SENDERS[name]
    begun = Begun(world, words)
    begun.process.send_signal(number)
    world.board.release()
    said = begun.ends()
    assert begun.process.returncode == code(number), said
    assert world.here.kinds("bd-a") == ["claim", "dispatched"]
    assert world.here.kinds("bd-b") == [], "no other attempt begins"
    assert len(world.board.asked("POST", DISPATCH)) == 1


@pytest.mark.covering
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("name", SENDERS)
def test_a_second_signal_names_what_is_not_recorded(
    world: Commands, name: str, number: int
) -> None:
    words, _, code = SENDERS[name]
    begun = Begun(world, words)
    begun.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)  # the kernel may merge two equal pending signals
    begun.process.send_signal(number)
    said = begun.ends()
    world.board.release()
    assert begun.process.returncode == code(number), said
    assert "bd-a: ended before the target answered. The outcome is not recorded." in said
    assert world.here.kinds("bd-a") == ["claim"]


@pytest.mark.parametrize("name", ["dispatch", "tick"])
def test_nothing_under_way_ends_at_once(world: Commands, name: str) -> None:
    """The command waits for a bead to settle. It has no claim, so it ends without an answer."""
    world.env["DOLT_WATCH_SETTLE"] = "1h"
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, name],
        cwd=world.folder,
        env=world.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "sleeping\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert process.returncode == 143
    assert world.decisions() == 0


WAITING = """
import sys, time
import dolt_watch.clock as times
plain = times.DatabaseClock.sleep
def sleep(self, seconds):
    print("sleeping", flush=True)
    plain(self, 60)
times.DatabaseClock.sleep = sleep
from dolt_watch.cli import main
main()
"""


@pytest.mark.parametrize("codes", [None, (0, 1)])
def test_the_grace_ends(codes: tuple[int, int] | None) -> None:
    program = f"""
import os, signal, threading, time
from dolt_watch.cli.shutdown import Shutdown
from dolt_watch.core.model import Decision, EntryKind
claim = Decision(EntryKind.CLAIM, "bd-a", "agent", 1, "", token="t")
with Shutdown(lambda: claim, print, stop=threading.Event(), codes={codes}, grace=0.05):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""
    done = subprocess.run(
        [sys.executable, "-uc", program], capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, "bd-a: ended before" in done.stdout) == (0 if codes else 143, True), (
        done
    )


def test_ignored_signals_stay_ignored() -> None:
    """nohup starts a command with SIGHUP ignored."""
    program = """
import os, signal
from dolt_watch.cli.shutdown import Shutdown
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.default_int_handler)
with Shutdown(lambda: None, print) as shutdown:
    os.kill(os.getpid(), signal.SIGHUP)
    print(shutdown.code)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout == "0\n"


def test_what_is_under_way(doltlite: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unfinished decision is the claim. After the answer, it is the entry with the job."""
    light = Light(doltlite)
    light.assign("bd-a")
    loop = build(
        doltlite, light.settings, lambda name: light.target, DatabaseClock(), light.lines.append
    )
    ledger: LedgerWriter = loop.executor.ledger  # type: ignore[attr-defined]
    seen: list[Decision | None] = []
    sent, append = light.target.dispatch, LedgerWriter._append_until_written

    def dispatch(*args: object) -> object:
        seen.append(ledger.under_way)
        return sent(*args)  # type: ignore[arg-type]

    def appended(
        self: LedgerWriter, context: DecisionContext | None, decision: Decision
    ) -> Written:
        seen.append(self.under_way)
        return append(self, context, decision)

    light.target.dispatch = dispatch  # type: ignore[method-assign, assignment]
    monkeypatch.setattr(LedgerWriter, "_append_until_written", appended)
    loop.tick(Scope(dispatch=True, reap=True))
    claim, answered = seen
    assert claim is not None and answered is not None
    assert (claim.kind, claim.bead, answered.kind, answered.job) == (
        EntryKind.CLAIM,
        "bd-a",
        EntryKind.DISPATCHED,
        "job1",
    )
    assert claim.token == answered.token == light.target.tokens[0]
    assert ledger.under_way is None
    error = unrecorded(answered)
    assert error.message == "bd-a: ended before dispatched (job job1) was recorded."
    assert error.fix == "Add the note manually: `bd note bd-a 'dispatched (job job1)'`."


def test_the_idle_tick_pays_nothing(world: Commands, tmp_path: Path) -> None:
    world.board.release()
    world.here.sql("UPDATE issues SET status = 'closed'")
    assert world.run("tick").returncode == 0
    program = (
        "import sys\nsys.argv = ['dolt_watch', 'tick']\nfrom dolt_watch.cli import main\n"
        "try:\n    main()\nfinally:\n    print('dolt_watch.cli.shutdown' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=world.folder,
        env=world.env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "False"
