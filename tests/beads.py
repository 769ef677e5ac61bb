"""A tracker for tests: a real bd workspace on a server, or beads' real tables without bd on either engine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dolt_watch.engines import Engine
from dolt_watch.engines.address import Address
from dolt_watch.engines.sql import statements
from tests.servers import Server, Source, choose_bd, give_up, home

ROOT = Path(__file__).resolve().parent.parent
SHAPES_FOLDER = Path(__file__).resolve().parent / "shapes"
SHAPES = ("1.0.2", "1.2.2", "1.3")
"""Shapes of beads' tables, named by the release of bd that makes them; ``tests/shapes/<name>.sql`` has the DDL."""


@dataclass(frozen=True)
class Workspace:
    """A folder in which real bd commands work, on a fresh database of the server."""

    path: Path
    address: Address
    env: Mapping[str, str]
    program: str

    @property
    def url(self) -> str:
        return self.address.url

    @property
    def database(self) -> str:
        return self.address.database

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run bd; whatever comes of it."""
        return subprocess.run(
            [self.program, *arguments], cwd=self.path, env=dict(self.env), capture_output=True, text=True, timeout=60
        )

    def run(self, *arguments: str) -> str:
        """Run bd; what it prints, stripped. Raises AssertionError with its words when it fails."""
        done = self.attempt(*arguments)
        assert done.returncode == 0, f"bd {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def create(self, title: str, *arguments: str) -> str:
        """A new bead; its id."""
        return self.run("create", title, *arguments, "--silent")


def workspace(on: Server, folder: Path) -> Workspace:
    """``bd init`` on a database that it makes itself: about 0.5 s. Skips or fails where there is no bd."""
    choice = choose_bd(os.environ, shutil.which)
    if choice.source is not Source.BINARY:
        give_up(choice)
    address = on.unused()
    path = folder / "workspace"
    path.mkdir()
    env = home(folder) | {"BEADS_DOLT_PASSWORD": address.password, "BEADS_DOLT_AUTO_START": "0"}
    subprocess.run(["git", "init", "-q"], cwd=path, env=env, check=True, capture_output=True)
    made = Workspace(path, address, env, choice.why)
    where = ("--server-host", address.host, "--server-port", str(address.port), "--server-user", address.user)
    made.run(
        *("init", "--server", "--external", *where, "--database", address.database, "-p", "bd"),
        *("--non-interactive", "--role", "maintainer", "--skip-hooks", "--skip-agents", "-q"),
    )
    return made


def create_beads(engine: Engine, shape: str = "1.0.2") -> str:
    """Create beads' real tables of one shape in an empty database of either engine; return the commit's hash."""
    return create_tables(engine, (SHAPES_FOLDER / f"{shape}.sql").read_text(encoding="utf-8"))


def create_tables(engine: Engine, script: str) -> str:
    """Run a script of DDL on an empty database and commit the tables that are not ignored; return the commit's hash."""
    for statement in statements(script):
        engine.run(statement)
    with engine.transaction() as tx:
        return tx.dolt_commit(sorted(engine.dirty()), "schema: beads", "beads <beads@local>")
