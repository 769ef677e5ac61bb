"""The databases of the bench: bd workspaces, and trackers of a given size, on one Dolt server."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import Process, size
from dolt_watch.config import Settings, load
from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.connect import open_engine
from tests.support import beads
from tests.support.servers import Server, start_dolt

NONE = "no eligible beads"
DISPATCH = (sys.executable, "-m", "dolt_watch", "dispatch")
SCRIPT = (str(Path(sys.executable).parent / "dolt_watch"), "dispatch")
FLOOR = (sys.executable, str(Path(__file__).with_name("floor.py")))
BARE = (sys.executable, str(Path(__file__).with_name("bare.py")))
ORIGINAL = ("bash", str(Path(__file__).with_name("original.sh")))
INSERT = (
    "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes, status,"
    " priority, assignee, created_at, updated_at) VALUES "
)


@dataclass
class Place:
    """A bd workspace on its own migrated database. ``run`` runs commands as a CronJob does."""

    server: Server
    address: ServerAddress
    run: Process
    settings: Settings
    name: str
    """Name of its folder."""

    @property
    def board(self) -> str:
        return self.run.env["BEADBOARD_URL"]

    @property
    def data(self) -> Path:
        assert self.server.data is not None
        return self.server.data / self.address.database

    @property
    def size(self) -> int:
        return size(self.data)

    @property
    def where(self) -> tuple[str, ...]:
        """Return the address as arguments of the floors."""
        return (self.address.host, str(self.address.port), self.address.user, self.address.database)

    @property
    def floor(self) -> tuple[str, ...]:
        return (*FLOOR, *self.where)

    def sql(self, *texts: str) -> list[tuple[Any, ...]]:
        return self.server.sql(*texts, database=self.address.database)

    def commits(self) -> int:
        return int(self.sql("SELECT COUNT(*) FROM dolt_log")[0][0])

    def noise(self, run: int) -> None:
        """Commit a change to a watched table that leads to no decision."""
        self.sql(
            f"UPDATE issues SET title = 'noise {run}', updated_at = UTC_TIMESTAMP() WHERE id ="
            " 'bd-noise'",
            "CALL DOLT_COMMIT('-am', 'noise')",
        )

    def assign(self, count: int, name: str = "go") -> None:
        """Create beads that are ready for dispatch, in one commit."""
        for start in range(0, count, 1000):
            numbers = range(start, min(start + 1000, count))
            self.sql(
                INSERT + ", ".join(_row(f"bd-{name}{n:05}", "agent", "it works") for n in numbers)
            )
        self.sql(*_committed(name))

    def clear(self) -> None:
        """Close the beads that other measurements left."""
        self.sql(
            "UPDATE issues SET status = 'closed' WHERE assignee = 'agent'",
            "CALL DOLT_COMMIT('-am', 'clear', '--allow-empty')",
        )

    def done(self) -> None:
        """Close running beads, so that the next dispatch has a slot."""
        self.sql(
            "UPDATE issues SET status = 'closed' WHERE status = 'in_progress'", *_committed("done")
        )


def _committed(message: str) -> tuple[str, str]:
    return "CALL DOLT_ADD('issues')", f"CALL DOLT_COMMIT('-m', '{message}')"


def _row(bead: str, assignee: str = "", acceptance: str = "") -> str:
    text = "Lorem ipsum dolor sit amet. " * 8
    at = "UTC_TIMESTAMP() - INTERVAL 1 HOUR"
    return (
        f"('{bead}', 'Bead {bead}', '{text}', '', '{acceptance}', '', 'open', 2, '{assignee}',"
        f" {at}, {at})"
    )


def place(server: Server, folder: Path, board: str) -> Place:
    """Create a real bd workspace with ten beads that no rule matches."""
    folder.mkdir()
    made = beads.workspace(server, folder)
    env = {**made.env, "BEADBOARD_URL": board}
    settings = load({}, env, made.path)
    here = Place(server, made.address, Process(made.path, env), settings, folder.name)
    rows = [_row("bd-noise"), *(_row(f"bd-other{n}", "somebody", "it works") for n in range(9))]
    here.sql(INSERT + ", ".join(rows), *_committed("rows"))
    here.run((sys.executable, "-m", "dolt_watch", "init"), "migrated")
    here.run(DISPATCH, NONE)
    return here


def sized(
    server: Server, folder: Path, rows: int, commits: int, board: str = "http://127.0.0.1:9"
) -> Place:
    """Create beads' tables with these numbers of issues and commits. The watcher applies them."""
    folder.mkdir()
    address = server.fresh()
    with contextlib.closing(open_engine(address)) as engine:
        beads.create_beads(engine)
    env = {"DOLT_WATCH_DATABASE": address.url, "BEADBOARD_URL": board}
    here = Place(server, address, Process(folder, env), load({}, env, folder), folder.name)
    with (
        contextlib.closing(server.connect(address.database)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(INSERT + _row("bd-noise"))
        for start in range(1, rows, 1000):
            cursor.execute(
                INSERT
                + ", ".join(
                    _row(f"bd-{n * 7919 % 1_000_003:06}")
                    for n in range(start, min(start + 1000, rows))
                )
            )
        cursor.execute("CALL DOLT_COMMIT('-Am', 'rows')")
    here.run((sys.executable, "-m", "dolt_watch", "init"), "migrated")
    with (
        contextlib.closing(server.connect(address.database)) as connection,
        connection.cursor() as cursor,
    ):
        for n in range(commits - here.commits()):
            cursor.execute(f"UPDATE issues SET priority = {n % 5} WHERE id = 'bd-noise'")
            cursor.execute("CALL DOLT_COMMIT('-am', 'priority')")
    here.run(DISPATCH, NONE)
    return here


@contextlib.contextmanager
def own_server(folder: Path) -> Iterator[Server]:
    """Start ``dolt`` from PATH with its data in ``folder``.

    A server that a variable names isn't used, because the bench also measures the disk.
    """
    program = shutil.which("dolt")
    if program is None:
        raise SystemExit("bench: not on PATH: dolt")
    with start_dolt(program, folder) as started:
        yield started


def missing_of_original() -> list[str]:
    """Return the programs that `original.sh` needs and that aren't on PATH."""
    return [name for name in ("bd", "jq", "curl", "bash") if shutil.which(name) is None]
