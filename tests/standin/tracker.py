"""The tracker's folder and the connection to its database."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymysql
from pymysql.constants import CLIENT
from pymysql.cursors import DictCursor

from tests.standin.dialect import DIALECTS, VARIABLE, Dialect, of_schema

Row = dict[str, Any]
AUTHOR = "beads <beads@local>"
SPACE = uuid.UUID("5f1f3a6e-1c57-5d7c-9a5c-1d0f7a1f5a11")
"""Namespace of the IDs that bd derives from content."""


class Refused(Exception):
    """An error with exit code 1 and this text on stderr.

    The text begins with 'Error: ' unless ``bare`` is true.
    """

    def __init__(self, text: str, *, bare: bool = False) -> None:
        super().__init__(text if bare else f"Error: {text}")


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0, tzinfo=None)


def find_folder(env: Mapping[str, str], start: Path) -> Path | None:
    """Return the ``.beads`` folder: BEADS_DIR, or the nearest one upward."""
    if named := env.get("BEADS_DIR"):
        return Path(named)
    for each in (start, *start.parents):
        if (each / ".beads").is_dir():
            return each / ".beads"
    return None


def git_user() -> dict[str, str]:
    """Return ``name`` and ``email`` of git's configuration."""
    done = subprocess.run(
        ["git", "config", "--get-regexp", r"^user\."], capture_output=True, text=True
    )
    pairs = (line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    return {key.removeprefix("user."): value for key, value in pairs}


def connect(env: Mapping[str, str], metadata: Mapping[str, Any], database: str | None) -> Any:
    """Return a connection with autocommit and rows as dictionaries.

    An UPDATE returns the number of matched rows.
    """
    host = env.get("BEADS_DOLT_SERVER_HOST") or metadata.get("dolt_server_host") or "127.0.0.1"
    port = (
        env.get("BEADS_DOLT_SERVER_PORT")
        or env.get("BEADS_DOLT_PORT")
        or metadata.get("dolt_server_port")
        or 3307
    )
    try:
        return pymysql.connect(
            host=host,
            port=int(port),
            user=env.get("BEADS_DOLT_SERVER_USER") or metadata.get("dolt_server_user") or "root",
            password=env.get("BEADS_DOLT_PASSWORD", ""),
            database=database,
            autocommit=True,
            cursorclass=DictCursor,
            client_flag=CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS,
            ssl_disabled=True,
            init_command="SET time_zone = '+00:00'",
        )
    except pymysql.MySQLError as error:
        raise Refused(f"failed to connect to the Dolt server at {host}:{port}: {error}") from error


class Tracker:
    """An open tracker. Rows are dictionaries. Times are naive UTC in whole seconds."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder, self.env = folder, env
        try:
            self.metadata = json.loads((folder / "metadata.json").read_text("utf-8"))
        except FileNotFoundError:
            raise Refused(f"no metadata.json in {folder}") from None
        self.database = env.get("BEADS_DOLT_SERVER_DATABASE") or self.metadata["dolt_database"]
        self.connection = connect(env, self.metadata, self.database)
        self.in_transaction = False
        self.dialect = self._dialect()
        self._user: dict[str, str] | None = None

    def _dialect(self) -> Dialect:
        there = of_schema(int(self.one("SELECT MAX(version) AS n FROM schema_migrations")["n"]))
        wanted = DIALECTS[self.env.get(VARIABLE) or there.name]
        if wanted.schema < there.schema:
            raise Refused(f"database schema {there.schema} is newer than this bd ({wanted.schema})")
        if wanted.schema > there.schema:
            from tests.standin.upgrade import upgrade

            upgrade(self.connection, there, wanted)
        return wanted

    # -- actor --------------------

    @property
    def user(self) -> dict[str, str]:
        if self._user is None:
            self._user = git_user()
        return self._user

    @property
    def actor(self) -> str:
        named = self.env.get("BEADS_ACTOR") or self.env.get("BD_ACTOR")
        return named or self.user.get("name") or self.env.get("USER") or "unknown"

    # -- SQL --------------------

    def rows(self, text: str, parameters: Iterable[Any] = ()) -> list[Row]:
        with self.connection.cursor() as cursor:
            cursor.execute(text, tuple(parameters) or None)
            return list(cursor.fetchall())

    def one(self, text: str, parameters: Iterable[Any] = ()) -> Row:
        return self.rows(text, parameters)[0]

    def run(self, text: str, parameters: Iterable[Any] = ()) -> int:
        """Run a statement and return the number of matched rows."""
        with self.connection.cursor() as cursor:
            return int(cursor.execute(text, tuple(parameters) or None))

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        names = ", ".join(f"`{name}`" for name in row)
        self.run(
            f"INSERT INTO {table} ({names}) VALUES ({', '.join(['%s'] * len(row))})", row.values()
        )

    def columns(self, table: str) -> dict[str, str]:
        """Return the type of each column by name, in order."""
        return {row["Field"]: row["Type"] for row in self.rows(f"SHOW COLUMNS FROM `{table}`")}

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Open one SQL transaction.

        A conflict with another writer is an error of the command, because bd doesn't retry.
        """
        self.connection.begin()
        try:
            yield
            self.connection.commit()
        except pymysql.MySQLError as error:
            self.connection.rollback()
            raise Refused(str(error)) from error
        except BaseException:
            self.connection.rollback()
            raise

    def commit(self, message: str, tables: Iterable[str], author: str = AUTHOR) -> None:
        """Commit the changes in these tables to Dolt. Does nothing without changes.

        bd adds each table separately. The stand-in adds only changed tables, in one call, because
        each call costs as much as a commit.
        """
        status = self.rows("SELECT DISTINCT table_name, staged FROM dolt_status")
        changed = {row["table_name"] for row in status}.intersection(tables)
        if not changed and not any(row["staged"] for row in status):
            return
        if changed:
            with contextlib.suppress(pymysql.MySQLError):
                self.run(f"CALL DOLT_ADD({', '.join(['%s'] * len(changed))})", sorted(changed))
        more = ["--author", author] if author else []
        try:
            self.run(
                f"CALL DOLT_COMMIT('-m', {', '.join(['%s'] * (1 + len(more)))})", [message, *more]
            )
        except pymysql.MySQLError as error:
            if "nothing to commit" not in str(error).lower():
                raise

    def dirty(self) -> list[str]:
        return [
            row["table_name"] for row in self.rows("SELECT DISTINCT table_name FROM dolt_status")
        ]

    def close(self) -> None:
        self.connection.close()


def edge_id(bead: str, target: str) -> str:
    """Return an ID derived from both ends. Two clones that add the same edge add the same row."""
    return str(uuid.uuid5(SPACE, f"{bead}\0{target}"))


def environment() -> dict[str, str]:
    return dict(os.environ)
