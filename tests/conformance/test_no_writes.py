"""A branch or a server without write permission.

``doctor`` finds it, and each error has its fix.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import BranchDenied, ReadOnly
from tests.support import forked
from tests.support.beads import create_beads, create_tracker
from tests.support.servers import Server, own_dolt, start_dolt

pytestmark = pytest.mark.long

AUTHOR = "t <t@example.com>"
ASSIGNED = (
    "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes, assignee) "
    "VALUES ('bd-1', 't', '', '', 'must', '', 'agent')"
)


def tracker(server: Server) -> ServerAddress:
    """Create a tracker with one waiting bead, and return its address."""
    server.sql("CREATE DATABASE b")
    address = ServerAddress(port=server.address.port, database="b")
    engine = open_engine(address)
    create_tracker(engine, AUTHOR)
    with engine.transaction() as tx:
        tx.execute(ASSIGNED)
        tx.dolt_commit(["issues"], "bead", AUTHOR)
    engine.close()
    return address


def run(address: ServerAddress, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "dolt_watch.toml").write_text(
        'settle = "0s"\n[targets.beadboard]\nkind = "command"\nargv = ["sh", "-c", "echo x >>'
        f' {folder}/sent; echo job1"]\n',
        "utf-8",
    )
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DOLT_WATCH_DATABASE": address.url,
        "DOLT_WATCH_PASSWORD": address.password,
    }
    return forked.dolt_watch(words, cwd=folder, env=env)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[tuple[Server, ServerAddress]]:
    """Yield a server, and the address for a user with all grants but no write permission."""
    with start_dolt(own_dolt(), tmp_path) as server:
        address = tracker(server)
        server.sql(
            "CREATE USER 'bob'@'%' IDENTIFIED BY 'pw'",
            "GRANT ALL ON *.* TO 'bob'@'%'",
            "INSERT INTO dolt_branch_control VALUES ('%', '%', 'root', '%', 'admin')",
            "DELETE FROM dolt_branch_control WHERE `user` = '%'",
            "INSERT INTO dolt_branch_control VALUES ('b', '%', 'bob', '%', 'read')",
            database="b",
        )
        yield server, replace(address, user="bob", password="pw")


def fix_in(text: str) -> str:
    line = next(line for line in text.splitlines() if "REPLACE INTO dolt_branch_control" in line)
    return line.partition("As an administrator: ")[2]


def test_a_branch_that_may_only_be_read(
    reader: tuple[Server, ServerAddress], tmp_path: Path
) -> None:
    server, address = reader
    sent = tmp_path / "sent"
    found = run(address, tmp_path, "doctor")
    assert found.returncode != 0
    line = next(line for line in found.stdout.splitlines() if line.split()[1:2] == ["privileges"])
    assert (
        line.startswith("failure")
        and "no permission to write to this branch" in line
        and "`main`" in line
    )
    for words in (["tick"], ["dispatch"], ["pause", "--all", "--reason", "x"]):
        done = run(address, tmp_path, *words)
        assert done.returncode == 3, done.stdout + done.stderr
        assert "no permission to write to this branch" in done.stderr
        assert fix_in(done.stderr) == fix_in(found.stdout)
    assert run(address, tmp_path, "why", "bd-1").returncode == 0, "reading needs nothing more"
    assert not sent.exists(), "nothing is sent that cannot be recorded"
    server.sql(fix_in(found.stdout), database="b")
    assert "failure  privileges" not in run(address, tmp_path, "doctor").stdout
    done = run(address, tmp_path, "tick")
    assert (done.returncode, sent.exists()) == (0, True), done.stdout + done.stderr


def test_init_on_such_a_branch(reader: tuple[Server, ServerAddress], tmp_path: Path) -> None:
    server, address = reader
    server.sql("CREATE DATABASE fresh")
    other = ServerAddress(port=address.port, database="fresh")
    engine = open_engine(other)
    create_beads(engine)
    engine.close()
    server.sql(
        "INSERT INTO dolt_branch_control VALUES ('fresh', '%', 'bob', '%', 'read')",
        database="fresh",
    )
    done = run(replace(address, database="fresh"), tmp_path, "init")
    assert done.returncode == 3, done.stdout + done.stderr
    server.sql(fix_in(done.stderr), database="fresh")
    done = run(replace(address, database="fresh"), tmp_path, "init")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_class(reader: tuple[Server, ServerAddress]) -> None:
    _, address = reader
    engine = open_engine(address)
    with pytest.raises(BranchDenied) as caught, engine.transaction() as tx:
        tx.execute("UPDATE issues SET title = 'x' WHERE id = 'bd-1'")
        tx.dolt_commit(["issues"], "m", AUTHOR)
    assert (
        caught.value.fix
        == "As an administrator: REPLACE INTO dolt_branch_control VALUES ('b', 'main', 'bob', '%',"
        " 'write')"
    )
    assert engine.query("SELECT title FROM issues") == [("t",)]
    engine.close()


def test_a_server_that_is_read_only(tmp_path: Path) -> None:
    with start_dolt(own_dolt(), tmp_path) as server:
        address = tracker(server)
    with start_dolt(own_dolt(), tmp_path, config="behavior:\n  read_only: true\n") as server:
        address = replace(address, port=server.address.port)
        engine = open_engine(address)
        with (
            pytest.raises(ReadOnly, match="accepts no writes") as caught,
            engine.transaction() as tx,
        ):
            tx.execute("UPDATE issues SET title = 'x' WHERE id = 'bd-1'")
        assert "Specify the primary server" in (caught.value.fix or "")
        engine.close()
        found = run(address, tmp_path, "doctor").stdout
        line = next(line for line in found.splitlines() if line.split()[1:2] == ["privileges"])
        assert line.startswith("failure") and "read-only" in line
        done = run(address, tmp_path, "tick")
        assert done.returncode == 3 and "Specify the primary server" in done.stderr, (
            done.stdout + done.stderr
        )
        assert not (tmp_path / "sent").exists()
