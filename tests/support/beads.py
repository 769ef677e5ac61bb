"""Trackers for tests: a bd workspace on a server, or beads' real tables on either engine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dolt_watch.engines import Engine
from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.engines.sql_text import split_statements
from dolt_watch.ledger.schema import migrate
from tests.standin import launcher
from tests.standin.dialect import VARIABLE
from tests.support import forked
from tests.support.servers import Server, Source, choose_bd, give_up, home
from tests.support.templates import fill

ROOT = Path(__file__).resolve().parents[2]
SHAPES_FOLDER = Path(__file__).resolve().parents[1] / "shapes"
SHAPES = ("1.0.2", "1.2.2", "1.3")
"""Shapes of beads' tables, named by the release of bd that creates them.

``tests/shapes/<name>.sql`` contains the DDL.
"""

TEXT_BYTES = 65_535
"""Maximum number of bytes in a TEXT column.

In bd 1.0.2: notes, events.old_value and events.new_value.
"""


@dataclass(frozen=True)
class Workspace:
    """A folder for real bd commands, with a fresh database on the server."""

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
        """Run bd as ``actor``, by default as git's user. Return its result, even a failure."""
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
        """Run bd. Return its stripped output. Raises AssertionError with the output if bd fails."""
        done = self.attempt(*arguments, actor=actor)
        assert done.returncode == 0, (
            f"bd {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout.strip()

    def close(self, bead: str, *arguments: str) -> str:
        """Close the bead as its agent. bd 1.3 allows only the assignee to close it."""
        return self.run("close", bead, *arguments, actor="agent")

    def create(self, title: str, *arguments: str, actor: str = "") -> str:
        """Create a bead. Return its ID."""
        return self.run("create", title, *arguments, "--silent", actor=actor)


def bd_program(folder: Path) -> str:
    """Return the path of this run's bd, a real one or the stand-in in ``folder``.

    Fails if DOLT_WATCH_TEST_BD or BD names a bd that doesn't exist.
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
    """Return whether this run's bd is the stand-in."""
    return choose_bd(os.environ, shutil.which).source is Source.STANDIN


def described() -> str:
    """Return one line that names the bd of the tests."""
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
    """Run ``bd init``, which creates a database and takes up to a second."""
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


@dataclass(frozen=True)
class Template:
    """A workspace, and a copy of the files of its new database."""

    workspace: Workspace
    database: Path


TEMPLATES: dict[tuple[Path, str], Template] = {}
"""Templates by the data folder of their server, and the author of the ledger's tables."""


def workspace(on: Server, folder: Path, author: str = "") -> Workspace:
    """Return a workspace like that of ``bd init``, copied if the server's files are accessible.

    Args:
        author: With an author, the workspace has the ledger's tables, created by this author.
    """
    if on.data is None:
        return _made(on, folder, author)
    key = on.data, author
    if key not in TEMPLATES:
        place = on.data.parent / f"template-{len(TEMPLATES)}"
        place.mkdir()
        TEMPLATES[key] = saved(on, _made(on, place, author), place)
    return copied(on, TEMPLATES[key], folder)


def _made(on: Server, folder: Path, author: str) -> Workspace:
    made = initialized(on, folder)
    if author:
        with contextlib.closing(open_engine(made.address)) as engine:
            list(migrate(engine, author))
    return made


def saved(on: Server, made: Workspace, folder: Path) -> Template:
    """Save the workspace as a template with files below ``folder``."""
    on.save(made.database, folder / "database")
    return Template(made, folder / "database")


def copied(on: Server, template: Template, folder: Path) -> Workspace:
    """Return a copy of a template's workspace, with its own database."""
    original = template.workspace
    address = on.unused()
    on.restore(address.database, template.database)
    env = home(folder) | {
        key: value for key, value in original.env.items() if key not in ("HOME", "DOLT_ROOT_PATH")
    }
    path = folder / "workspace"
    shutil.copytree(original.path, path)
    file = path / ".beads" / "metadata.json"
    metadata = json.loads(file.read_text("utf-8"))
    renamed = metadata | {"dolt_database": address.database}
    file.write_text(json.dumps(renamed, indent=2), "utf-8")
    return Workspace(path, address, env, original.program)


def create_beads(engine: Engine, shape: str = "1.0.2") -> None:
    """Create and commit beads' real tables of one shape in an empty database of either engine."""
    script = (SHAPES_FOLDER / f"{shape}.sql").read_text(encoding="utf-8")
    fill(engine, f"beads {shape}", lambda: create_tables(engine, script))


def create_tracker(
    engine: Engine, author: str, shape: str = "1.0.2", *, dated: str = "now"
) -> None:
    """Create and commit beads' real tables and the ledger's in an empty database of either engine.

    Args:
        author: Author of the ledger's commits.
        dated: Date that ``engine`` gives its commits.
    """
    script = (SHAPES_FOLDER / f"{shape}.sql").read_text(encoding="utf-8")

    def make() -> None:
        create_tables(engine, script)
        list(migrate(engine, author))

    fill(engine, f"tracker {shape} {author} {dated}", make)


def create_tables(engine: Engine, script: str) -> None:
    """Run a DDL script on an empty database, and commit the tables that aren't ignored."""
    for statement in split_statements(script):
        engine.execute_ddl(statement)
    with engine.transaction() as tx:
        tx.dolt_commit(sorted(engine.dirty()), "schema: beads", "beads <beads@local>")
