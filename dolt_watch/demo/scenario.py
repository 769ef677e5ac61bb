"""The demo's story: three beads, a person, an agent, and the real loop between them, told as it
happens.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path

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
from dolt_watch.log_events import handling
from dolt_watch.text_table import format_table
from dolt_watch.timestamps import to_utc

REFUSED, WORKS, DIES = "demo-1", "demo-2", "demo-3"
BEADS = {
    REFUSED: ("Dark theme", "every page is readable in the dark"),
    WORKS: ("Fix the login time-out", "a session lasts an hour"),
    DIES: ("Upgrade the parser", "all tests pass on the new parser"),
}
"""Bead → title, acceptance criteria; in the order of the queue."""
AUTHOR = "demo <demo@example.com>"
SHORT = ("settle=200ms", "rules.agent.stale_after=3s", "rules.agent.retry_after=1s")
"""The thresholds of a demo.

Commits are dated in whole seconds on DoltLite, so none of silence is much shorter.
"""
PATIENCE = 40.0
"""Seconds until the story counts as stuck."""
LOOK_EVERY = 0.2
IDLE = "nothing new"
WAITING = (IDLE, "no eligible beads", "holding ", "keeping ")
"""How lines of the loop begin that only say that it waits."""

EXPECTED = {
    WORKS: (CLOSED, (EntryKind.CLAIM, EntryKind.DISPATCHED)),
    DIES: (BLOCKED, (EntryKind.CLAIM, EntryKind.DISPATCHED, EntryKind.REAP)),
    REFUSED: (CLOSED, (EntryKind.CLAIM, EntryKind.FAILED, EntryKind.CLAIM, EntryKind.DISPATCHED)),
}
"""How it should end: bead → its status, and what the ledger says of it, oldest first."""

MakeLoop = Callable[[Engine, Settings], AbstractContextManager[ControlLoop]]


class Narrator:
    """Prints who did what, and when.

    The loop looks five times a second here: that it still waits is told once.
    """

    def __init__(self, echo: Callable[[str], None]) -> None:
        self.echo = echo
        self._begun = time.monotonic()
        self._said: set[str] = set()
        self._lock = threading.Lock()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._begun

    def by(self, who: str) -> Callable[[str], None]:
        def say(what: str) -> None:
            waits = next(
                (what if word != IDLE else word for word in WAITING if what.startswith(word)), ""
            )
            with self._lock:
                if waits not in self._said:
                    self.echo(f"{self.elapsed:5.1f}s  {who:<10}  {what}")
                if waits:
                    self._said.add(waits)

        return say


def run_scenario(
    folder: Path, make_loop: MakeLoop, echo: Callable[[str], None]
) -> tuple[bool, FileAddress]:
    """Did it end as it should, and where its database was. Raises DatabaseError."""
    where = create_demo_database(folder)
    with closing(open_engine(where)) as engine:
        echo(
            f"a tracker in {folder} (DoltLite, one file), an agent behind BeadBoard's contract, and"
            " dolt_watch between them\n"
        )
        make_tracker(engine, AUTHOR)
        wrong = _play(engine, where, folder, make_loop, Narrator(echo))
        for line in _audit(engine):
            echo(line)
        echo("")
        for trouble in wrong:
            echo(f"NOT as it should be: {trouble}")
        if not wrong:
            echo(
                f"as it should be: {WORKS} done, {DIES} reaped, {REFUSED} refused once and then"
                " done"
            )
        return not wrong, where


def _play(
    engine: Engine, where: FileAddress, folder: Path, make_loop: MakeLoop, teller: Narrator
) -> list[str]:
    """What is not as it should be when it is over."""

    def connect() -> Engine:
        return open_engine(where)

    watch, person = teller.by("dolt_watch"), teller.by("person")
    with Agent(connect, teller.by("agent"), dies=DIES, refuses=REFUSED) as agent:
        flags = {"database": where.url, "config": None, "set": SHORT}
        settings = load(flags, {"BEADBOARD_URL": agent.url}, folder)
        done = [migration.name for migration in migrate(engine, AUTHOR)]
        watch(f"init: tables of its own, migrated: {', '.join(done)}")
        with (
            handling(_Handler(watch)),
            make_loop(engine, settings) as loop,
            closing(connect()) as hers,
        ):
            loop.tick(BOTH)
            _describe(hers, person)
            while (wrong := _wrong(engine)) and not agent.troubles:
                if teller.elapsed > PATIENCE:
                    return [f"not over after {PATIENCE:g} s", *wrong]
                loop.tick(BOTH)
                time.sleep(LOOK_EVERY)
            loop.tick(BOTH)
    return [*wrong, *(f"the agent: {trouble}" for trouble in agent.troubles)]


class _Handler(logging.Handler):
    """Hands on the message of each record."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())


def _describe(engine: Engine, person: Callable[[str], None]) -> None:
    """What `bd create` and `bd assign` do."""
    with engine.transaction() as tx:
        for priority, (bead, (title, criteria)) in enumerate(BEADS.items(), 1):
            tx.execute(
                "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes,"
                " priority) VALUES (?, ?, '', '', ?, '', ?)",
                (bead, title, criteria, priority),
            )
            person(f"bd create: {bead} «{title}»")
        tx.dolt_commit(["issues"], f"bd: create {', '.join(BEADS)}", "ada <ada@example.com>")
    for bead in BEADS:
        edit(engine, bead, "ada", f"bd: assign {bead}", assignee="agent")
        person(f"bd assign {bead} agent")


def _wrong(engine: Engine) -> list[str]:
    status: Mapping[str, str] = dict(engine.query("SELECT id, status FROM issues"))
    ledger = [(entry.bead, entry.kind) for entry in reversed(read_entries(engine))]
    wrong = []
    for bead, (should, kinds) in EXPECTED.items():
        have = tuple(kind for of, kind in ledger if of == bead)
        if status.get(bead) != should or have != kinds:
            wrong.append(
                f"{bead} is {status.get(bead)} ({', '.join(have) or 'no decision'}); it should be"
                f" {should}"
            )
    return wrong


def _audit(engine: Engine) -> Iterator[str]:
    """The beads' notes, history and ledger, as `bd show`, `dolt log` and `dolt_watch log` show
    them.
    """
    yield "\nWhat the beads say now (issues.notes)\n"
    for bead, status, notes in engine.query("SELECT id, status, notes FROM issues ORDER BY id"):
        yield f"{bead}  {status}"
        yield from (f"    {line}" for line in notes.splitlines())
    yield "\nThe audit log: Dolt's own history, newest first (dolt_log)\n"
    rows = [
        (commit[:8], f"{to_utc(date):%H:%M:%S}", author, message.splitlines()[0])
        for commit, date, author, message in engine.query(
            "SELECT commit_hash, date, committer, message FROM dolt_log"
        )
    ]
    yield from format_table(("COMMIT", "TIME", "AUTHOR", "SUBJECT"), rows)
    yield "\nThe ledger, newest first (watch_decision)\n"
    decisions = [
        (
            f"{e.at:%H:%M:%S}",
            e.bead or "-",
            str(e.version),
            e.kind.value,
            str(e.attempt or "-"),
            e.actor,
            e.reason or (e.job and f"job {e.job}") or "-",
        )
        for e in read_entries(engine)
    ]
    yield from format_table(
        ("TIME", "BEAD", "VERSION", "DECISION", "ATTEMPT", "ACTOR", "WHAT"), decisions
    )
