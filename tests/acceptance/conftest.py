"""A watcher of a real bd workspace on a real Dolt server.

A stub of BeadBoard looks up each bead in the workspace.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.cli.composition import identity
from dolt_watch.config import Settings, load
from dolt_watch.controller.tick_result import TickResult
from dolt_watch.core.decisions.policy import Scope
from dolt_watch.engines import Engine
from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.ledger.schema import migrate
from dolt_watch.targets.protocol import Target
from dolt_watch.targets.registry import TargetPool
from dolt_watch.timestamps import to_utc
from tests.stubs.beadboard import BeadBoardStub
from tests.support import forked
from tests.support.beads import Workspace, standin, workspace
from tests.support.clocks import ShiftedClock
from tests.support.lines import build
from tests.support.servers import Server

ASSIGNED = ("--acceptance", "it works", "-a", "agent")
NOW = timedelta()
Ticked = tuple[TickResult, list[str]]


@dataclass(frozen=True)
class Ran:
    """The exit code and the output of a real command."""

    code: int
    stdout: str
    stderr: str


@dataclass
class Watch:
    """A watcher of a workspace, with helpers that change and read its tracker.

    ``dispatch``, ``reap`` and ``tick`` run in this process. ``shift`` moves the database's clock,
    so that no test sleeps.
    """

    bd: Workspace
    board: BeadBoardStub
    server: Server
    env: Mapping[str, str]
    settings: Settings
    engine: Engine
    waited: timedelta = NOW
    """Total sleep of the ticks so far. The clock of the next tick includes it."""

    def run(
        self, scope: Scope, shift: timedelta = NOW, targets: Callable[[str], Target] | None = None
    ) -> Ticked:
        lines: list[str] = []
        own = TargetPool(self.settings.targets)
        clock = ShiftedClock(self.waited + shift)
        try:
            return (
                build(self.engine, self.settings, targets or own, clock, lines.append).tick(scope),
                lines,
            )
        finally:
            own.close()
            self.waited = clock.offset - shift

    def dispatch(
        self, shift: timedelta = NOW, targets: Callable[[str], Target] | None = None
    ) -> Ticked:
        return self.run(Scope(dispatch=True), shift, targets)

    def reap(self, shift: timedelta = NOW) -> Ticked:
        return self.run(Scope(reap=True), shift)

    def tick(self, shift: timedelta = NOW) -> Ticked:
        return self.run(Scope(dispatch=True, reap=True), shift)

    def command(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ran:
        done = forked.dolt_watch(arguments, cwd=self.bd.path, env={**self.env, **(env or {})})
        return Ran(done.returncode, done.stdout, done.stderr)

    def on_branch(self, name: str) -> tuple[str, str]:
        """Return the arguments that name another branch of the tracker's database."""
        assert isinstance(self.settings.address, ServerAddress)
        database = f"{self.settings.address.database}/{name}"
        return "--database", replace(self.settings.address, database=database).url

    def change(self, **settings: Any) -> None:
        """Replace settings for all later calls."""
        self.settings = replace(self.settings, **settings)

    # -- actions of users --------------------

    def assigned(self, title: str, *more: str) -> str:
        """Create a bead that matches the rule ``agent``, and return its ID."""
        return self.bd.create(title, *ASSIGNED, *more)

    def sql(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement on another writer's connection, with SQL commits only."""
        with (
            contextlib.closing(self.server.connect(self.bd.database)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(text, parameters or None)
            return list(cursor.fetchall())

    def committed(self, *texts: str, date: datetime | None = None) -> str:
        """Run statements, make one Dolt commit, and return its hash."""
        when = f", '--date', '{date:%Y-%m-%dT%H:%M:%SZ}'" if date else ""
        return str(
            self.server.sql(
                *texts, f"CALL DOLT_COMMIT('-Am', 'by hand'{when})", database=self.bd.database
            )[0][0]
        )

    def left_comment(self, bead: str, text: str) -> None:
        """Add a comment without a Dolt commit, as bd 1.0.2 does. Later releases commit comments."""
        self.sql(
            "INSERT INTO comments (id, issue_id, author, text, created_at)"
            " VALUES (UUID(), %s, 'agent', %s, UTC_TIMESTAMP())",
            bead,
            text,
        )

    # -- state of the tracker --------------------

    def shown(self, bead: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.bd.run("show", bead, "--json"))[0]
        return found

    def notes(self, bead: str) -> list[str]:
        return self._cell(bead, "notes").splitlines()

    def status(self, bead: str) -> str:
        return self._cell(bead, "status")

    def _cell(self, bead: str, name: str) -> str:
        """Return a cell as bd shows it. With the stand-in, read the row and start no process."""
        if standin():
            [(value,)] = self.sql(f"SELECT `{name}` FROM issues WHERE id = %s", bead)
            return str(value or "")
        return str(self.shown(bead).get(name, ""))

    def kinds(self, bead: str) -> list[str]:
        rows = self.sql("SELECT kind FROM watch_decision WHERE bead_id = %s ORDER BY version", bead)
        return [row[0] for row in rows]

    def head(self) -> str:
        return str(self.sql("SELECT HASHOF('HEAD')")[0][0])

    def sent(self) -> list[str]:
        """Return the bead of each POST request, in order."""
        return [request.json["taskId"] for request in self.board.dispatches]

    def record(self, bead: str) -> dict[str, Any]:
        """Return the saved state of one bead."""
        found: dict[str, Any] = json.loads(
            self.sql("SELECT record FROM watch_bead WHERE bead_id = %s", bead)[0][0]
        )
        return found

    def now(self) -> datetime:
        moment = to_utc(self.sql("SELECT UTC_TIMESTAMP(6)")[0][0])
        assert moment is not None
        return moment


def rows_of(beads: Sequence[str], assignee: str = "'agent'") -> str:
    """Return an INSERT statement of beads with default values."""
    values = ", ".join(f"('{bead}', 't', '', '', 'must', '', {assignee})" for bead in beads)
    return (
        "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes, assignee)"
        f" VALUES {values}"
    )


@contextlib.contextmanager
def watching(bd: Workspace, server: Server) -> Iterator[Watch]:
    """Yield a watcher of the workspace.

    Create the ledger's tables if they don't exist, and start a BeadBoard that knows the beads.
    """

    def lookup(bead: str) -> Mapping[str, Any] | None:
        with (
            contextlib.closing(server.connect(bd.database)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "SELECT id, title, acceptance_criteria FROM issues WHERE id = %s", (bead,)
            )
            row = cursor.fetchone()
        return dict(zip(("id", "title", "acceptance_criteria"), row, strict=True)) if row else None

    with BeadBoardStub(lookup=lookup) as board:
        env = {**bd.env, "BEADBOARD_URL": board.url}
        settings = load({}, env, bd.path)
        engine = open_engine(settings.address)
        list(migrate(engine, identity(settings).author))
        yield Watch(bd, board, server, env, settings, engine)
        engine.close()


@pytest.fixture
def watch(dolt_server: Server, tmp_path: Path) -> Iterator[Watch]:
    bd = workspace(dolt_server, tmp_path, identity(Settings(dolt_server.address)).author)
    with watching(bd, dolt_server) as made:
        yield made
    dolt_server.drop(bd.address)
