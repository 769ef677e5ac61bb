"""Real Dolt servers for tests: their choice, start and stop.

``choose`` has the order. First comes the server that DOLT_WATCH_TEST_DATABASE names (a ``dolt://``
URL, with the password in DOLT_WATCH_TEST_PASSWORD). Then come ``dolt`` on PATH, and a container if
Docker answers. Otherwise, the tests that need a server are skipped with the reason. With CI=true
they fail.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

import pymysql
import pytest

from dolt_watch.engines import Engine
from dolt_watch.engines.address import ServerAddress, parse_url
from tests.standin.dialect import DEFAULT, DIALECTS

IMAGE = "dolthub/dolt-sql-server:1.86.4"


class Source(StrEnum):
    GIVEN = "given"
    BINARY = "binary"
    CONTAINER = "container"
    STANDIN = "stand-in"
    SKIP = "skip"
    FAIL = "fail"


@dataclass(frozen=True)
class Choice:
    source: Source
    why: str
    """The URL, the program's path, the image, or the reason for the lack of a server."""


def choose(
    env: Mapping[str, str], which: Callable[[str], str | None], docker_answers: Callable[[], bool]
) -> Choice:
    """Return the source of this run's Dolt server.

    Docker is checked last, because the check takes seconds if Docker is missing.
    """
    if url := env.get("DOLT_WATCH_TEST_DATABASE"):
        return Choice(Source.GIVEN, url)
    if program := which("dolt"):
        return Choice(Source.BINARY, program)
    if docker_answers():
        return Choice(Source.CONTAINER, IMAGE)
    return missing(
        env,
        "no Dolt server: DOLT_WATCH_TEST_DATABASE is not set, no dolt on PATH, Docker does not"
        " answer",
    )


def choose_bd(env: Mapping[str, str], which: Callable[[str], str | None]) -> Choice:
    """Return the bd of this run.

    DOLT_WATCH_TEST_BD selects the stand-in with its dialect. Otherwise it is a real bd from BD or
    PATH, or else the stand-in with its default dialect. ``why`` is the program's path or the
    dialect.
    """
    if dialect := env.get("DOLT_WATCH_TEST_BD"):
        if dialect not in DIALECTS:
            return Choice(
                Source.FAIL, f"DOLT_WATCH_TEST_BD={dialect}: not one of {', '.join(DIALECTS)}"
            )
        return Choice(Source.STANDIN, dialect)
    if named := env.get("BD"):
        program = which(named)
        return (
            Choice(Source.BINARY, program)
            if program
            else Choice(Source.FAIL, f"BD={named}: no such program")
        )
    if program := which("bd"):
        return Choice(Source.BINARY, program)
    return Choice(Source.STANDIN, DEFAULT)


def missing(env: Mapping[str, str], why: str) -> Choice:
    in_ci = env.get("CI", "").lower() in {"true", "1"}
    return Choice(Source.FAIL if in_ci else Source.SKIP, why)


def docker_answers() -> bool:
    try:
        import docker  # type: ignore[import-not-found, unused-ignore]
        import testcontainers  # type: ignore[import-not-found, unused-ignore]  # noqa: F401

        client = docker.from_env()
        try:
            return bool(client.ping())
        finally:
            client.close()
    except Exception:
        return False


def give_up(choice: Choice) -> NoReturn:
    """Skip the test, or fail if a skip would hide that nothing was tested."""
    if choice.source is Source.FAIL:
        pytest.fail(f"{choice.why} (CI=true: this is not skipped)", pytrace=False)
    pytest.skip(choice.why)


def unprivileged(why: str) -> NoReturn:
    """Skip a test that needs root, also in CI, which may run without root."""
    pytest.skip(why)


def without(why: str) -> NoReturn:
    """Skip a test whose requirement is missing, or fail with CI=true."""
    give_up(missing(os.environ, why))


def tool(name: str, why: str = "") -> str:
    """Return the program's path.

    If the program is missing, the test is skipped with the reason. With CI=true it fails.
    """
    found = shutil.which(name)
    if not found:
        without(f"no {name} on PATH{why and ': '}{why}")
    return found


def own_dolt() -> str:
    """Return the path of dolt on PATH, for a test that starts its own servers.

    If this run's server is a named one or a container, the test is skipped, also in CI. Another CI
    run has dolt.
    """
    if program := shutil.which("dolt"):
        return program
    choice = choose(os.environ, shutil.which, docker_answers)
    if choice.source in (Source.GIVEN, Source.CONTAINER):
        pytest.skip("no dolt on PATH: needs a server that the tests start")
    give_up(choice)


DOLT_SETTINGS = {
    "user.name": "Tess Ter",
    "user.email": "tess@example.com",
    "metrics.disabled": "true",
}
"""Dolt's global settings for a server of the tests."""

DROPPED = ".dolt_dropped_databases"
"""Name of the folder in which Dolt keeps dropped databases, next to the databases."""


@dataclass(frozen=True)
class Server:
    """A running Dolt server. ``address`` names no database."""

    address: ServerAddress
    data: Path | None = None
    """Its data folder, if the tests started it."""
    pid: int = 0
    """ID of its process, if the tests started it. Some tests kill it."""
    program: str = ""
    """Path of dolt, if the tests started it."""

    def connect(self, database: str = "", **more: Any) -> pymysql.connections.Connection[Any]:
        a = self.address
        return pymysql.connect(
            host=a.host,
            port=a.port,
            user=a.user,
            password=a.password,
            database=database or None,
            autocommit=True,
            # Otherwise pymysql reads all of the system's certificates, which takes 25 ms.
            ssl_disabled=not a.uses_tls,
            **more,
        )

    def sql(self, *texts: str, database: str = "") -> list[tuple[Any, ...]]:
        """Run statements as administrator on a separate connection. Return the last one's rows."""
        with (
            contextlib.closing(self.connect(database)) as connection,
            connection.cursor() as cursor,
        ):
            for text in texts:
                cursor.execute(text)
            return list(cursor.fetchall())

    def fresh(self) -> ServerAddress:
        """Create an empty database. Return its address."""
        address = self.unused()
        self.sql(f"CREATE DATABASE `{address.database}`")
        return address

    def unused(self) -> ServerAddress:
        """Return the address of a database that doesn't exist yet."""
        return replace(self.address, database=f"dwt_{secrets.token_hex(6)}")

    def drop(self, address: ServerAddress) -> None:
        self.sql(f"DROP DATABASE IF EXISTS `{address.database}`")
        # Dolt keeps a dropped database, so that the drop can be undone.
        if self.data is not None:
            shutil.rmtree(self.data / DROPPED / address.database, ignore_errors=True)

    def save(self, database: str, template: Path) -> None:
        """Copy a database without writers into the new folder ``template``."""
        assert self.data is not None, "only of a server that the tests start"
        shutil.copytree(self.data / database, template, ignore=shutil.ignore_patterns("stats"))

    def restore(self, database: str, template: Path) -> None:
        """Create a database from a folder of ``save``.

        The server adopts the folder when it undoes a drop.
        """
        assert self.data is not None, "only of a server that the tests start"
        shutil.copytree(template, self.data / DROPPED / database)
        self.sql(f"CALL DOLT_UNDROP('{database}')")


_OWN: dict[tuple[str, int], Server] = {}


def own(address: ServerAddress) -> Server | None:
    """Return the server at an address if this process started it, else None.

    The result is None too if the address names a branch of a database.
    """
    return None if "/" in address.database else _OWN.get((address.host, address.port))


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Server]:
    """Yield the session's server. It is stopped afterwards if the tests started it."""
    choice = choose(os.environ, shutil.which, docker_answers)
    if choice.source is Source.GIVEN:
        address = parse_url(choice.why)
        assert isinstance(address, ServerAddress), "DOLT_WATCH_TEST_DATABASE must be a dolt:// URL"
        yield Server(replace(address, password=os.environ.get("DOLT_WATCH_TEST_PASSWORD", "")))
    elif choice.source is Source.BINARY:
        with start_dolt(choice.why, folder) as started:
            yield started
    elif choice.source is Source.CONTAINER:
        with _container() as started:
            yield started
    else:
        give_up(choice)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def home(folder: Path) -> dict[str, str]:
    """Return an environment for dolt and bd without access to files of the user."""
    place = folder / "home"
    place.mkdir(parents=True, exist_ok=True)
    (place / ".gitconfig").write_text(
        "[user]\n\tname = Tess Ter\n\temail = tess@example.com\n", encoding="utf-8"
    )
    kept = {
        key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL", "TMPDIR") if key in os.environ
    }
    return kept | {
        "HOME": str(place),
        "DOLT_ROOT_PATH": str(place),
        "TZ": "UTC",
        "GIT_CONFIG_NOSYSTEM": "1",
    }


@contextlib.contextmanager
def start_dolt(
    program: str, folder: Path, *, port: int | None = None, config: str = ""
) -> Iterator[Server]:
    """Yield a Dolt server on a loopback port, with its data in ``folder``.

    Args:
        config: YAML to add to listener and port.
    """
    env = home(folder)
    data = folder / "data"
    data.mkdir(exist_ok=True)
    # As `dolt config --global --add` writes it, which would start dolt for each value.
    settings = Path(env["DOLT_ROOT_PATH"]) / ".dolt" / "config_global.json"
    settings.parent.mkdir(exist_ok=True)
    if not settings.exists():  # A server that starts again keeps its own settings.
        settings.write_text(json.dumps(DOLT_SETTINGS), encoding="utf-8")
    for attempt in range(3):  # Another process may take the port in between.
        number = port or free_port()
        arguments = ["--host", "127.0.0.1", "--port", str(number)]
        if config:
            file = folder / "config.yaml"
            file.write_text(
                f"listener:\n  host: 127.0.0.1\n  port: {number}\n{config}", encoding="utf-8"
            )
            arguments = ["--config", str(file)]
        log = (folder / "server.log").open("ab")
        # With this GOGC, Dolt uses twice the memory and a tenth less of processor time.
        process = subprocess.Popen(
            [program, "sql-server", *arguments],
            cwd=data,
            env=env | {"GOGC": "400"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,
        )
        log.close()
        try:
            address = ServerAddress(host="127.0.0.1", port=number)
            started = Server(address, data, process.pid, program)
            if not _answers(started, process):
                if attempt < 2 and port is None:
                    continue
                raise RuntimeError(
                    "dolt did not"
                    f" start:\n{(folder / 'server.log').read_text(encoding='utf-8')[-2000:]}"
                )
            _OWN[address.host, address.port] = started
            yield started
            return
        finally:
            _OWN.pop(("127.0.0.1", number), None)
            stop(process)


def die_with_parent() -> None:
    """Let Linux kill this process when its parent is killed."""
    with contextlib.suppress(Exception):
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def as_in_a_terminal() -> None:
    """Prepare a child before exec: it ends with the test run, and ignores no signal.

    Under nohup, or in the background of a shell, it would inherit ignored signals.
    """
    die_with_parent()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _answers(
    started: Server, process: subprocess.Popen[bytes] | None, seconds: float = 120
) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and (process is None or process.poll() is None):
        with contextlib.suppress(pymysql.MySQLError):
            started.sql("SELECT 1")
            return True
        time.sleep(0.05)
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


@contextlib.contextmanager
def _container() -> Iterator[Server]:
    from testcontainers.core.container import DockerContainer  # type: ignore[import-not-found, unused-ignore]

    container = DockerContainer(IMAGE).with_exposed_ports(3306).with_env("DOLT_ROOT_HOST", "%")
    with container:
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(3306))
        # Docker may run on another machine.
        started = Server(ServerAddress(host=host, port=port, tls=False))
        if not _answers(started, None, 60):
            pytest.fail("the container's Dolt server does not answer")
        yield started


def message(engine: Engine, commit: str) -> str:
    return str(engine.query("SELECT message FROM dolt_log WHERE commit_hash = ?", (commit,))[0][0])


def call(engine: Engine, procedure: str, *arguments: str) -> Any:
    """Call a Dolt procedure (``dolt_checkout``, ``dolt_merge`` …) on either engine.

    Return the first value of its answer.
    """
    marks = ", ".join("?" * len(arguments))
    if engine.name == "dolt":
        rows = engine.query(f"CALL {procedure.upper()}({marks})", arguments)
    else:
        rows = engine.execute_sqlite(f"SELECT {procedure.lower()}({marks})", arguments)[0]  # type: ignore[attr-defined]
    return rows[0][0] if rows else None
