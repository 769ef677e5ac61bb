"""Migrations of the `watch_*` schema.

Each is a numbered SQL file and one Dolt commit, recorded in ``watch_migration``. Local tables are
made if they are missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import dolt_watch
from dolt_watch import __version__
from dolt_watch.engines import Engine
from dolt_watch.engines.sql_text import split_statements
from dolt_watch.errors import (
    NewerSchema,
    NoSuchTable,
    NotABeadsDatabase,
    NotMigrated,
    SettingsError,
)

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

COMMITTED = ("watch_migration", "watch_settings", "watch_decision")
LATEST_VERSION = 1
"""Number of the last migration of this program. A constant, so that a tick need not list the
files.
"""
VERSIONS = "SELECT version FROM watch_migration"
LOCAL = ("watch_cursor", "watch_bead", "watch_attempt")


class Migration(NamedTuple):
    version: int
    name: str
    sql: str


def migrations_directory() -> Traversable:
    """Return the folder of the migrations.

    A wheel contains the files inside the package. In a checkout or an editable install they are
    next to the package.
    """
    # Late: only an installed wheel contains the files.
    from importlib import resources

    packaged = resources.files("dolt_watch") / "migrations"
    # Not is_dir: a checkout from before the move keeps a folder with __pycache__ there.
    return (
        packaged
        if (packaged / "local.sql").is_file()
        else Path(dolt_watch.__file__).parents[1] / "migrations"
    )


def migrations() -> list[Migration]:
    """Return the migrations of this program, in order."""
    found = []
    for file in migrations_directory().iterdir():
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name)
        if match:
            found.append(Migration(int(match[1]), match[2], file.read_text()))
    return sorted(found, key=lambda migration: migration.version)


def local_sql() -> str:
    return (migrations_directory() / "local.sql").read_text()


def installed_version(engine: Engine) -> int:
    """Return the version of the schema in the database. 0 if it has no tables of dolt_watch."""
    if not engine.columns("watch_migration"):
        return 0
    # Not MAX: Dolt 1.86.4 answers an aggregate without a row if the table is empty, as an
    # interrupted migration leaves it.
    return max((int(version) for (version,) in engine.query(VERSIONS)), default=0)


def _require_known(version: int) -> int:
    """Return the version. Raises NewerSchema if this program doesn't know it."""
    if version > LATEST_VERSION:
        raise NewerSchema(
            f"The tables have version {version}, but this program ({__version__})"
            f" supports only up to {LATEST_VERSION}.",
            fix="Upgrade dolt_watch to the release that wrote them, or a later one.",
        )
    return version


def check_database(engine: Engine, project_id: str | None) -> None:
    """Check in one query that the database is the expected one, and that this program knows its
    schema.

    Raises:
        NewerSchema: The tables have a newer version.
        NotMigrated: The tables are missing or have an older version.
        SettingsError: The database belongs to another project.
    """
    owned = "MAX(value) FROM watch_migration LEFT JOIN metadata ON `key` = '_project_id'"
    try:
        rows = engine.query(
            f"SELECT MAX(version), {owned if project_id else 'NULL FROM watch_migration'}"
        )
    except NoSuchTable as error:
        if error.table == "metadata":
            check_database(engine, None)
            return
        rows = [(None, None)]
    # Dolt 1.86.4 answers an aggregate without a row if the table is empty.
    version, owner = rows[0] if rows else (None, None)
    if _require_known(version or 0) < LATEST_VERSION:
        problem = "The tables of dolt_watch are not in this database, or not on this branch."
        if version:
            problem = f"The tables have version {version}, which is older than this program."
        raise NotMigrated(problem, fix=NotMigrated.FIX)
    _own(owner, project_id)


def check_project(engine: Engine, project_id: str | None) -> None:
    """Check that the database is a beads database of the expected project.

    It need not have tables of dolt_watch.

    Raises:
        NotBeads: It is not a beads database.
        SettingsError: It belongs to another project.
    """
    if not engine.columns("issues"):
        raise NotABeadsDatabase
    if project_id and engine.columns("metadata"):
        for (owner,) in engine.query("SELECT value FROM metadata WHERE `key` = '_project_id'"):
            _own(owner, project_id)


def _own(owner: str | None, project_id: str | None) -> None:
    if owner is not None and owner != project_id:
        raise SettingsError(
            f"The database belongs to project {owner}, but metadata.json names {project_id}.",
            where=".beads/metadata.json, project_id",
            fix=(
                "Run the command in the folder of that project, or name its database with"
                " --database."
            ),
        )


def migrate(engine: Engine, author: str) -> Iterator[Migration]:
    """Bring the database up to date. Yield each migration that was applied.

    The function can be repeated. Raises NotBeads, NewerSchema, AccessDenied.
    """
    check_project(engine, None)
    with engine.migration_lock():
        have = _require_known(installed_version(engine))
        for migration in migrations():
            if migration.version > have:
                _apply(engine, migration, author)
                yield migration
        for statement in split_statements(local_sql()):
            engine.execute_ddl(statement)


def is_up_to_date(engine: Engine, project_id: str | None) -> bool:
    """Return whether the tables exist in this program's version, those of this clone too.

    Raises:
        NewerSchema: The tables have a newer version.
        SettingsError: The database belongs to another project.
    """
    try:
        check_database(engine, project_id)
    except NotMigrated:
        return False
    return all(engine.columns(table) for table in LOCAL)


def _apply(engine: Engine, migration: Migration, author: str) -> None:
    """Apply one migration.

    DDL commits itself on a server, so an interrupted migration leaves tables behind. Each statement
    must allow repetition.
    """
    for statement in split_statements(migration.sql):
        engine.execute_ddl(statement)
    with engine.transaction() as tx:
        tx.execute(
            "INSERT INTO watch_migration (version, name, program, applied_at) VALUES (?, ?, ?,"
            " UTC_TIMESTAMP(6))",
            (migration.version, migration.name, __version__),
        )
        message = (
            f"dolt-watch: migration {migration.version:04} {migration.name}\n\nMigration:"
            f" {migration.version}"
        )
        tx.dolt_commit((*COMMITTED, "dolt_ignore"), message, author)
