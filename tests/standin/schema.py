"""``bd init``: creates the database of a recorded release."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pymysql

from tests.standin import recorded
from tests.standin.dialect import DIALECTS, NEWEST, VARIABLE, Dialect
from tests.standin.tracker import AUTHOR, Refused, Tracker, connect

VIEWS = ("ready_issues", "blocked_issues")
UPGRADE = "bd-upgrade-1.0.2-to-1.2.2"
"""Recording of an upgrade. It contains the SQL of the views before and after."""

JOURNAL = "bd_events_journal"
"""Pattern that bd 1.3 adds to ``dolt_ignore`` at its first command after ``init``."""


def complete(tracker: Tracker) -> None:
    """Perform the additional changes of bd 1.3's first command after ``init``."""
    tracker.run("INSERT INTO dolt_ignore (pattern, ignored) VALUES (%s, 1)", [JOURNAL])
    tracker.commit("schema: seed dolt_ignore patterns", ["dolt_ignore"], author="")
    tracker.run("INSERT IGNORE INTO bd_events_seq (id, next_seq) VALUES (0, 0)")


def views(typed_targets: bool) -> list[str]:
    """Return the SQL of bd's two views, for one of the two forms of dependencies."""
    for step in recorded.steps(recorded.HERE / UPGRADE):
        for row in step["uncommitted"].get("dolt_schemas", []):
            if "fragment" in row.get("changed", {}):
                rows = step["uncommitted"]["dolt_schemas"]
                return [each["changed"]["fragment"][int(typed_targets)] for each in rows]
    raise LookupError("no recording of the views")


def make(connection: Any, dialect: Dialect) -> str:
    """Create the recorded schema with bd's commits in an empty database. Return the project ID."""
    folder = recorded.HERE / dialect.recording
    schema = recorded.value(folder, "schema.json")
    messages = [each["message"] for each in recorded.value(folder, "init-commits.json")][1:]
    project = str(uuid.uuid4())
    with connection.cursor() as cursor:

        def commit(message: str, *more: str) -> None:
            cursor.execute(
                f"CALL DOLT_COMMIT('--allow-empty', '-m', {', '.join(['%s'] * (1 + len(more)))})",
                (message, *more),
            )

        rows = [(each["pattern"], each["ignored"]) for each in schema["ignored"]]
        cursor.executemany("INSERT INTO dolt_ignore (pattern, ignored) VALUES (%s, %s)", rows)
        cursor.execute("CALL DOLT_ADD('dolt_ignore')")
        first, *between, last = messages
        commit(first)
        *before, final = between  # the last commit before 'bd init' contains the tables
        for message in before:
            commit(message)
        cursor.execute("SET foreign_key_checks = 0")
        for text in schema["tables"].values():
            cursor.execute(text)
        cursor.execute("SET foreign_key_checks = 1")
        for text in views(dialect.typed_targets):
            cursor.execute(text)
        versions = [(number,) for number in range(1, schema["schema_version"] + 1)]
        cursor.executemany("INSERT INTO schema_migrations (version) VALUES (%s)", versions)
        settings = [(each["key"], each["value"]) for each in schema["config"]]
        late = [each for each in settings if each[0] == "issue_prefix"]
        cursor.executemany(
            "INSERT INTO config (`key`, value) VALUES (%s, %s)",
            [each for each in settings if each not in late],
        )
        cursor.execute("CALL DOLT_ADD('-A')")
        commit(final)
        cursor.executemany("INSERT INTO config (`key`, value) VALUES (%s, %s)", late)
        cursor.execute("INSERT INTO metadata (`key`, value) VALUES ('_project_id', %s)", (project,))
        cursor.execute("CALL DOLT_ADD('metadata')")
        if dialect.leases:
            cursor.execute("CALL DOLT_ADD('config')")  # older releases leave it uncommitted
        commit(last, "--author", AUTHOR)
    return project


def init(arguments: list[str], env: Mapping[str, str], where: Path) -> None:
    """Run ``bd init --server``. Raises Refused."""
    text = {
        "--server-host": "host",
        "--server-port": "port",
        "--server-user": "user",
        "--database": "database",
        "-p": "prefix",
        "--prefix": "prefix",
        "--role": "role",
    }
    flags = {
        "--server",
        "--external",
        "--non-interactive",
        "--skip-hooks",
        "--skip-agents",
        "-q",
        "--quiet",
    }
    given: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word in text and rest:
            given[text[word]] = rest.pop(0)
        elif word not in flags:
            raise Refused(
                f"unknown flag: {word} (bd init {word} is not recorded: this stand-in does not"
                " offer it)"
            )
    if "--server" not in arguments:
        raise Refused("this stand-in has the server mode only: bd init --server")
    folder = where / ".beads"
    if (folder / "metadata.json").exists():
        raise Refused(f"{folder} is initialized already")
    prefix = given.get("prefix") or where.name
    metadata: dict[str, Any] = {
        "database": "dolt",
        "backend": "dolt",
        "dolt_mode": "server",
        "dolt_server_host": given.get("host") or env.get("BEADS_DOLT_SERVER_HOST") or "127.0.0.1",
        "dolt_server_port": int(given.get("port") or env.get("BEADS_DOLT_SERVER_PORT") or 3307),
        "dolt_server_user": given.get("user") or env.get("BEADS_DOLT_SERVER_USER") or "root",
        "dolt_database": (
            given.get("database")
            or env.get("BEADS_DOLT_SERVER_DATABASE")
            or prefix.replace("-", "_")
        ),
    }
    dialect = DIALECTS[env.get(VARIABLE) or NEWEST]
    database = metadata["dolt_database"]
    try:
        connection = (
            connect({}, metadata | {}, None)
            if not env.get("BEADS_DOLT_PASSWORD")
            else connect({"BEADS_DOLT_PASSWORD": env["BEADS_DOLT_PASSWORD"]}, metadata, None)
        )
        with contextlib.closing(connection):
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{database}`")
                cursor.execute(f"USE `{database}`")
            metadata["project_id"] = make(connection, dialect)
            with connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE config SET value = %s WHERE `key` = 'issue_prefix'", (prefix,)
                )
    except pymysql.MySQLError as error:
        raise Refused(str(error)) from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.json").write_text(json.dumps(metadata, indent=2), "utf-8")
    (folder / "config.yaml").write_text("# bd's settings\n", "utf-8")
    (folder / ".gitignore").write_text("*\n", "utf-8")
    if not dialect.leases:
        (folder / "dolt-server.port").write_text(str(metadata["dolt_server_port"]), "utf-8")
