"""A demonstration: three beads, a user, an agent, and the real loop between them.

The loop is the one of all commands. Only the agent and the thresholds belong to the demo.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

from dolt_watch.config import Settings, load
from dolt_watch.controller.loop import ControlLoop
from dolt_watch.core.decisions.policy import BOTH
from dolt_watch.core.model import BLOCKED, CLOSED, EntryKind
from dolt_watch.demo.fake_agent import Agent, edit
from dolt_watch.demo.tracker import create_demo_database, make_tracker
from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.ledger.reader import read_entries
from dolt_watch.ledger.schema import migrate
from dolt_watch.log_events import LogEvent, handling
from dolt_watch.text_table import format_table
from dolt_watch.timestamps import to_utc

REFUSED, WORKS, DIES = "demo-1", "demo-2", "demo-3"
BEADS = {
    REFUSED: ("Dark theme", "every page is readable in the dark"),
    WORKS: ("Fix the login time-out", "users stay signed in for one hour"),
    DIES: ("Upgrade the parser", "all tests pass with the new parser"),
}
"""Bead → title and acceptance criteria, in queue order."""
USER = "ada"
PROGRAM = "dolt_watch"
AGENT = "agent"
AUTHOR = "demo <demo@example.com>"
SILENCE = 3
"""Seconds without activity after which the demo's rule reaps a bead. DoltLite dates commits in
whole seconds, so a shorter time would reap an agent that is at work.
"""
SHORT = ("settle=200ms", f"rules.agent.stale_after={SILENCE}s", "rules.agent.retry_after=1s")
"""Settings of the demo: short times, so that it ends within seconds."""
PATIENCE = 40.0
"""Seconds after which the demo counts as stuck."""
POLL_SECONDS = 0.2
"""Pause between two ticks."""

EXPECTED = {
    WORKS: (CLOSED, (EntryKind.CLAIM, EntryKind.DISPATCHED)),
    DIES: (BLOCKED, (EntryKind.CLAIM, EntryKind.DISPATCHED, EntryKind.REAP)),
    REFUSED: (CLOSED, (EntryKind.CLAIM, EntryKind.FAILED, EntryKind.CLAIM, EntryKind.DISPATCHED)),
}
"""Bead → its status at the end, and its entries in the ledger, oldest first."""

STEPS: Mapping[str, str] = {
    EntryKind.CLAIM: "claims {bead} for one attempt, and sends it to the agent",
    EntryKind.DISPATCHED: "records that the agent accepted {bead}",
    EntryKind.FAILED: "records the refusal, and puts {bead} back into the queue",
    EntryKind.REAP: f"blocks {{bead}}: no activity for {SILENCE} seconds",
}
"""Kind of an entry → the step in plain words."""

MakeLoop = Callable[[Engine, Settings], AbstractContextManager[ControlLoop]]
Say = Callable[[str], None]
Echo = Callable[[str, str], None]
"""Prints a line, given its actor ('' for none)."""


class Narrator:
    """A printer of steps, each with its time and its actor."""

    def __init__(self, echo: Echo) -> None:
        self.echo = echo
        self._begun = time.monotonic()
        self._lock = threading.Lock()

    @property
    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._begun

    def by(self, actor: str) -> Say:
        """Return the function that prints a step of an actor."""

        def say(step: str) -> None:
            with self._lock:
                self.echo(f"{self.elapsed:5.1f}s  {actor:<10}  {step}", actor)

        return say


def flags_for(address: FileAddress) -> Mapping[str, Any]:
    """Return the settings of the demo.

    An empty file prevents the search for a settings file, whose targets would get the beads: the
    temporary folder may be inside of a project.
    """
    return {"database": address.url, "config": os.devnull, "set": SHORT}


def run_scenario(folder: Path, make_loop: MakeLoop, echo: Echo) -> tuple[bool, FileAddress]:
    """Run the demo.

    Args:
        folder: An empty folder for the tracker.
        make_loop: Returns the loop for an engine and settings.
        echo: Prints a line.

    Returns:
        Whether the demo ended as expected, and the address of its database.

    Raises:
        DatabaseError: DoltLite can't be loaded.
    """
    address = create_demo_database(folder)
    with closing(open_engine(address)) as engine:
        echo("Three beads, an agent, and dolt_watch between them, in a temporary folder.\n", "")
        for bead, (title, criteria) in BEADS.items():
            echo(f"  {bead}  {title:<24}done when {criteria}", "")
        echo("", "")
        make_tracker(engine, AUTHOR)
        wrong = _play(engine, address, folder, make_loop, Narrator(echo))
        for line in _audit(engine):
            echo(line, "")
        echo("", "")
        for trouble in wrong:
            echo(f"Not as expected: {trouble}", "error")
        if not wrong:
            echo(
                f"As expected: {WORKS} is done, {REFUSED} is done after a second attempt, and"
                f" {DIES} is blocked.",
                "ok",
            )
        return not wrong, address


def _play(
    engine: Engine, address: FileAddress, folder: Path, make_loop: MakeLoop, narrator: Narrator
) -> list[str]:
    """Run the loop until the expected end, and return the differences from it."""

    def connect() -> Engine:
        return open_engine(address)

    watch, user = narrator.by(PROGRAM), narrator.by(USER)
    with Agent(connect, narrator.by(AGENT), dies=DIES, refuses=REFUSED) as agent:
        settings = load(flags_for(address), {"BEADBOARD_URL": agent.url}, folder)
        for _ in migrate(engine, AUTHOR):
            pass
        watch("init: adds its own tables to the tracker")
        with (
            handling(_Handler(watch)),
            make_loop(engine, settings) as loop,
            closing(connect()) as users,
        ):
            loop.tick(BOTH)
            _create_beads(users, user)
            while (wrong := _wrong(engine)) and not agent.troubles:
                if narrator.elapsed > PATIENCE:
                    return [f"The demo did not end within {PATIENCE:g} s.", *wrong]
                loop.tick(BOTH)
                time.sleep(POLL_SECONDS)
            loop.tick(BOTH)
    return [*wrong, *(f"The agent failed: {trouble}" for trouble in agent.troubles)]


class _Handler(logging.Handler):
    """A handler that turns the records of decisions into steps."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {})
        if getattr(record, "event", None) is LogEvent.DECISION and fields["kind"] in STEPS:
            self._say(STEPS[fields["kind"]].format(bead=fields["bead"]))


def _create_beads(engine: Engine, user: Say) -> None:
    """Create and assign the beads, as `bd create` and `bd assign` do."""
    with engine.transaction() as tx:
        for priority, (bead, (title, criteria)) in enumerate(BEADS.items(), 1):
            tx.execute(
                "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes,"
                " priority) VALUES (?, ?, '', '', ?, '', ?)",
                (bead, title, criteria, priority),
            )
        tx.dolt_commit(["issues"], f"bd: create {', '.join(BEADS)}", f"{USER} <{USER}@example.com>")
    for bead in BEADS:
        edit(engine, bead, USER, f"bd: assign {bead}", assignee="agent")
    user("creates the three beads, and assigns them to agent")


def _wrong(engine: Engine) -> list[str]:
    """Return how the tracker and the ledger differ from the expected end."""
    status: Mapping[str, str] = dict(engine.query("SELECT id, status FROM issues"))
    ledger = [(entry.bead, entry.kind) for entry in reversed(read_entries(engine))]
    wrong = []
    for bead, (expected, kinds) in EXPECTED.items():
        have = tuple(kind for of, kind in ledger if of == bead)
        if status.get(bead) != expected or have != kinds:
            wrong.append(
                f"{bead} must be {expected}, but is {status.get(bead)}"
                f" ({', '.join(have) or 'no decision'})."
            )
    return wrong


def _audit(engine: Engine) -> Iterator[str]:
    """Yield the lines of the audit log: history, newest first, as `dolt log` shows it."""
    yield "\nThe audit log: each step is a commit in Dolt's history.\n"
    rows = [
        (commit[:8], f"{to_utc(date):%H:%M:%S}", author, message.splitlines()[0])
        for commit, date, author, message in engine.query(
            "SELECT commit_hash, date, committer, message FROM dolt_log"
        )
    ]
    yield from format_table(("COMMIT", "TIME", "AUTHOR", "SUBJECT"), rows)
