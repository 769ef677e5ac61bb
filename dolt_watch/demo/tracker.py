"""The demo's tracker: beads' real tables in a temporary folder, in a DoltLite file or, where
that cannot load, on a Dolt server of its own.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress, ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.engines.doltlite.loader import MARKER
from dolt_watch.engines.sql_text import split_statements
from dolt_watch.errors import DatabaseError

HOST, DATABASE = "127.0.0.1", "demo"
PATIENCE = 20.0
"""Seconds until a Dolt server that we start must answer."""


@dataclass(frozen=True, slots=True)
class DemoDatabase:
    """Where the demo's database is."""

    address: ServerAddress | FileAddress
    engine: str
    """In words."""
    restart_command: str = ""
    """The command that makes it answer again after the demo; '': a file needs none."""


@contextmanager
def open_demo_database(folder: Path) -> Iterator[DemoDatabase]:
    """An empty database in ``folder``, there as long as the context is.

    Raises DatabaseError: no engine here, with what mends it.
    """
    file = FileAddress(str(folder / "demo.db"))
    try:
        open_engine(file, create=True).close()
    except DatabaseError as error:
        program = shutil.which("dolt")
        if program is None:
            fix = f"{error.fix or 'take a Debian, Homebrew or pyenv Python'}; or put dolt on PATH"
            raise DatabaseError(
                f"the demo needs DoltLite or dolt: {error.message}, and there is no dolt on PATH",
                fix=fix,
            ) from error
        (folder / "demo.db").unlink(missing_ok=True)
        with _server(program, folder) as port:
            again = f"(cd {folder / 'data'} && dolt sql-server --host {HOST} --port {port})"
            yield DemoDatabase(ServerAddress(HOST, port, database=DATABASE), "a Dolt server", again)
    else:
        yield DemoDatabase(file, "DoltLite, one file")


def make_tracker(engine: Engine, author: str) -> None:
    """beads' own tables, in one commit: what `bd init` makes."""
    for statement in split_statements(
        (resources.files(__package__) / "beads.sql").read_text(encoding="utf-8")
    ):
        engine.execute_ddl(statement)
    with engine.transaction() as tx:
        tx.dolt_commit(sorted(engine.dirty()), "bd init: beads' tables", author)


@contextmanager
def _server(program: str, folder: Path) -> Iterator[int]:
    """Reads and writes no file of the person outside ``folder``."""
    home, data = folder / "home", folder / "data"
    home.mkdir()
    data.mkdir()
    env = {
        key: value
        for key, value in os.environ.items()
        if key != MARKER and not key.startswith("DOLT")
    }
    env |= {"HOME": str(home), "DOLT_ROOT_PATH": str(home)}
    for key, value in (
        ("user.name", "demo"),
        ("user.email", "demo@localhost"),
        ("metrics.disabled", "true"),
    ):
        subprocess.run(
            [program, "config", "--global", "--add", key, value],
            cwd=data,
            env=env,
            check=True,
            capture_output=True,
        )
    port = _free_port()
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "sql-server", "--host", HOST, "--port", str(port)],
            cwd=data,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _create_database(port, process, folder / "server.log")
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _create_database(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    import pymysql

    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        with suppress(pymysql.MySQLError):
            connection = pymysql.connect(
                host=HOST, port=port, user="root", autocommit=True, ssl_disabled=True
            )
            with closing(connection), connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
                return
        time.sleep(0.05)
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    raise DatabaseError(
        f"dolt sql-server did not start: {''.join(said) or 'it said nothing'}",
        where=f"{HOST}:{port}",
        fix="run `dolt sql-server` by hand to see why",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
