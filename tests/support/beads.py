"""A tracker for tests: a bd workspace on a server, or beads' real tables without bd on either
engine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dolt_watch.engines import Engine
from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.sql_text import split_statements
from tests.standin import launcher
from tests.standin.dialect import VARIABLE
from tests.support import forked
from tests.support.servers import Server, Source, choose_bd, give_up, home

ROOT = Path(__file__).resolve().parents[2]
SHAPES_FOLDER = Path(__file__).resolve().parents[1] / "shapes"
SHAPES = ("1.0.2", "1.2.2", "1.3")
"""Shapes of beads' tables, named by the release of bd that makes them;
``tests/shapes/<name>.sql`` has the DDL.
"""

TEXT_BYTES = 65_535
"""Bytes that a TEXT column holds: notes, events.old_value and events.new_value of bd 1.0.2."""


@dataclass(frozen=True)
class Workspace:
    """A folder in which real bd commands work, on a fresh database of the server."""

    path: Path
    address: ServerAddress
    env: Mapping[str, str]
    program: str

    @property
    def url(self) -> str:
        return self.address.url

    @property
    def database(self) -> str:
        return self.address.database

    def attempt(self, *arguments: str, actor: str = "") -> subprocess.CompletedProcess[str]:
        """Run bd as ``actor``, else as git's user; whatever comes of it."""
        env = dict(self.env) | ({"BEADS_ACTOR": actor} if actor else {})
        dialect = launcher.dialect_of(self.program)
        if dialect and forked.forks(env):
            return forked.run("bd", arguments, cwd=self.path, env={VARIABLE: dialect} | env)
        return subprocess.run(
            [self.program, *arguments],
            cwd=self.path,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def run(self, *arguments: str, actor: str = "") -> str:
        """Run bd; what it prints, stripped. Raises AssertionError with its words when it fails."""
        done = self.attempt(*arguments, actor=actor)
        assert done.returncode == 0, (
            f"bd {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout.strip()

    def close(self, bead: str, *arguments: str) -> str:
        """The agent closes its bead. bd 1.3 allows only the assignee to do that."""
        return self.run("close", bead, *arguments, actor="agent")

    def create(self, title: str, *arguments: str, actor: str = "") -> str:
        """A new bead; its id."""
        return self.run("create", title, *arguments, "--silent", actor=actor)


def bd_program(folder: Path) -> str:
    """The path of this run's bd: a real one, or the stand-in, written into ``folder``.

    Fails where none is as named.
    """
    choice = choose_bd(os.environ, shutil.which)
    if choice.source is Source.STANDIN:
        return str(launcher.write(folder, choice.why))
    if choice.source is not Source.BINARY:
        give_up(choice)
    if Path(choice.why).name == "bd":
        return choice.why
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bd").symlink_to(choice.why)
    return str(folder / "bd")


def standin() -> bool:
    """Whether this run's bd is the stand-in."""
    return choose_bd(os.environ, shutil.which).source is Source.STANDIN


def described() -> str:
    """Which bd the tests exercise, in one line."""
    choice = choose_bd(os.environ, shutil.which)
    if choice.source is Source.STANDIN:
        return (
            f"none on PATH: the tests' stand-in, in the dialect of {choice.why}"
            " (DOLT_WATCH_TEST_BD)"
        )
    if choice.source is not Source.BINARY:
        return choice.why
    done = subprocess.run([choice.why, "version"], capture_output=True, text=True, timeout=300)
    return f"{choice.why}, {done.stdout.strip() or done.stderr.strip()}"


def initialized(on: Server, folder: Path, program: str = "") -> Workspace:
    """``bd init`` on a database that it makes itself: up to a second."""
    address = on.unused()
    path = folder / "workspace"
    path.mkdir()
    program = program or bd_program(folder / "bin")
    env = home(folder) | {"BEADS_DOLT_PASSWORD": address.password, "BEADS_DOLT_AUTO_START": "0"}
    env |= {"PATH": f"{Path(program).parent}:{env['PATH']}", "BD_DISABLE_METRICS": "1"}
    subprocess.run(["git", "init", "-q"], cwd=path, env=env, check=True, capture_output=True)
    made = Workspace(path, address, env, program)
    where = (
        "--server-host",
        address.host,
        "--server-port",
        str(address.port),
        "--server-user",
        address.user,
    )
    made.run(
        *("init", "--server", "--external", *where, "--database", address.database, "-p", "bd"),
        *("--non-interactive", "--role", "maintainer", "--skip-hooks", "--skip-agents", "-q"),
    )
    return made


TEMPLATES: dict[Path, Workspace] = {}
"""The workspace of each server from which the others are copied, by the server's data folder."""


def workspace(on: Server, folder: Path) -> Workspace:
    """A workspace as ``bd init`` leaves it: a copy of one, where the server's data are at hand."""
    if on.data is None:
        return initialized(on, folder)
    if on.data not in TEMPLATES:
        place = on.data.parent / "template"
        place.mkdir()
        TEMPLATES[on.data] = initialized(on, place)
    return copied(on, TEMPLATES[on.data], folder)


def copied(on: Server, template: Workspace, folder: Path) -> Workspace:
    """A copy of a workspace: its history by a clone, then what no commit holds, and the folder
    with the new name.
    """
    assert on.data is not None
    address = replace(template.address, database=on.unused().database)
    source, target = template.database, address.database
    with on.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "CALL DOLT_CLONE(%s, %s)", (f"file://{on.data / source / '.dolt' / 'noms'}", target)
        )
        cursor.execute(f"USE `{target}`")
        cursor.execute("CALL DOLT_REMOTE('remove', 'origin')")
        cursor.execute("SHOW TABLES")
        there = {row[0] for row in cursor.fetchall()}
        cursor.execute(f"USE `{source}`")
        cursor.execute("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")
        local = [row[0] for row in cursor.fetchall() if row[0] not in there]
        texts = []
        for name in local:
            cursor.execute(f"SHOW CREATE TABLE `{name}`")
            texts.append(cursor.fetchone()[1])
        cursor.execute("SELECT DISTINCT table_name FROM dolt_status")
        dirty = [row[0] for row in cursor.fetchall()]
        cursor.execute(f"USE `{target}`")
        cursor.execute("SET foreign_key_checks = 0")
        for text in texts:
            cursor.execute(text)
        for name in (*local, *dirty):
            cursor.execute(f"REPLACE INTO `{name}` SELECT * FROM `{source}`.`{name}`")
    path = folder / "workspace"
    env = home(folder) | {
        key: value for key, value in template.env.items() if key not in ("HOME", "DOLT_ROOT_PATH")
    }
    shutil.copytree(template.path, path)
    file = path / ".beads" / "metadata.json"
    metadata = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(metadata | {"dolt_database": target}, indent=2), "utf-8")
    return Workspace(path, address, env, template.program)


def create_beads(engine: Engine, shape: str = "1.0.2") -> str:
    """Create beads' real tables of one shape in an empty database of either engine; return the
    commit's hash.
    """
    return create_tables(engine, (SHAPES_FOLDER / f"{shape}.sql").read_text(encoding="utf-8"))


def create_tables(engine: Engine, script: str) -> str:
    """Run a script of DDL on an empty database and commit the tables that are not ignored;
    return the commit's hash.
    """
    for statement in split_statements(script):
        engine.execute_ddl(statement)
    with engine.transaction() as tx:
        return tx.dolt_commit(sorted(engine.dirty()), "schema: beads", "beads <beads@local>")
