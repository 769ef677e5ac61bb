"""A shallow clone (DOLT_CLONE --depth).

Commands begin at its boundary, report it, and lose no connection.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from dolt_watch.engines import Engine
from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import UnknownCommit
from dolt_watch.history.reader import first_commit, is_cut, whole_line
from tests.support import forked
from tests.support.beads import create_tracker
from tests.support.servers import Server

COMMITS = 70
DEPTH = 60
"""Number of commits in the clone, large enough for both ways of reading edges."""


class Clone:
    """A shallow clone of a tracker on the same server."""

    def __init__(self, engine: Engine, address: ServerAddress, hashes: list[str]) -> None:
        self.engine, self.address, self.hashes = engine, address, hashes
        """``hashes`` has the tracker's whole history, newest first."""

    @property
    def boundary(self) -> str:
        return self.hashes[DEPTH - 1]

    @property
    def ghost(self) -> str:
        """Return the newest commit that the clone lacks."""
        return self.hashes[DEPTH]

    def run(self, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DOLT_WATCH_DATABASE": self.address.url,
        }
        if self.address.password:
            env["DOLT_WATCH_PASSWORD"] = self.address.password
        return forked.dolt_watch(words, cwd=folder, env=env)


@pytest.fixture(scope="module")
def clone(dolt_server: Server) -> Iterator[Clone]:
    if dolt_server.data is None:
        pytest.skip("the server's data folder is not on this machine")
    with ExitStack() as stack:
        source = dolt_server.unused()
        dolt_server.sql(f"CREATE DATABASE `{source.database}`")
        engine = open_engine(source)
        stack.callback(engine.close)
        create_tracker(engine, "t <t@example.com>")
        columns = "id, title, description, design, acceptance_criteria, notes, assignee"
        for number in range(COMMITS):
            with engine.transaction() as tx:
                if number == 0:
                    tx.execute(
                        f"INSERT INTO issues ({columns}) VALUES ('bd-1', 't', '', '', 'must', '',"
                        " 'agent')"
                    )
                elif number == COMMITS - 5:
                    tx.execute(
                        f"INSERT INTO issues ({columns}) VALUES ('bd-2', 't', '', '', 'must', '',"
                        " 'agent')"
                    )
                else:
                    tx.execute(
                        "UPDATE issues SET title = ? WHERE id = 'bd-1'", (f"title {number}",)
                    )
                tx.dolt_commit(["issues"], f"c{number}", "t <t@example.com>")
        head = str(engine.query("SELECT HASHOF('HEAD')")[0][0])
        hashes = [commit.hash for commit in engine.commits(None, head)]
        target = replace(source, database=f"{source.database}_shallow")
        url = f"file://{dolt_server.data / source.database / '.dolt' / 'noms'}"
        dolt_server.sql(f"CALL DOLT_CLONE('--depth', '{DEPTH}', '{url}', '{target.database}')")
        shallow = open_engine(target)
        stack.callback(shallow.close)
        yield Clone(shallow, target, hashes)


def test_history_ends_at_the_boundary(clone: Clone) -> None:
    head = clone.hashes[0]
    commits = list(clone.engine.commits(None, head))
    assert [commit.hash for commit in commits] == clone.hashes[:DEPTH]
    assert commits[-1].parents == ()
    assert all(commit.parents for commit in commits[:-1])


@pytest.mark.parametrize("limit", [1, DEPTH - 1, DEPTH, DEPTH + 1])
def test_a_limit(clone: Clone, limit: int) -> None:
    commits = list(clone.engine.commits(None, clone.hashes[0], limit))
    assert [commit.hash for commit in commits] == clone.hashes[: min(limit, DEPTH)]
    assert bool(commits[-1].parents) == (limit < DEPTH)


@pytest.mark.parametrize("page", [1, 7, DEPTH - 1, DEPTH, DEPTH + 1])
def test_where_it_begins(clone: Clone, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dolt_watch.history.reader.LINE_PAGE", page)
    first = first_commit(clone.engine, clone.hashes[0])
    assert (first.hash, is_cut(clone.engine, first)) == (clone.boundary, True)


def test_a_whole_history_is_not_cut(dolt: Engine) -> None:
    head = str(dolt.query("SELECT HASHOF('HEAD')")[0][0])
    assert not is_cut(dolt, first_commit(dolt, head))


def test_a_commit_that_it_does_not_have(clone: Clone) -> None:
    engine, head = clone.engine, clone.hashes[0]
    assert engine.commit_of(clone.ghost) is None
    assert not engine.is_ancestor(clone.ghost, head)
    assert engine.is_ancestor(clone.boundary, head)
    assert engine.commit_of(clone.boundary) is not None
    with pytest.raises(UnknownCommit):
        list(engine.commits(clone.ghost, head))
    with pytest.raises(UnknownCommit):
        engine.query(
            f"SELECT COUNT(*) FROM DOLT_DIFF('{clone.ghost}', '{clone.boundary}', 'issues')"
        )
    assert whole_line(engine, head).first.hash == clone.boundary


def test_why(clone: Clone, tmp_path: Path) -> None:
    done = clone.run("why", "bd-1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "history begins with a shallow clone; the bead existed already" in done.stdout
    done = clone.run("why", "bd-2", "--format", "json", folder=tmp_path)
    begins = json.loads(done.stdout)["history_begins"]
    assert (begins["commit"], begins["shallow"], begins["with_it"]) == (clone.boundary, True, False)
    done = clone.run("why", "bd-1", "--as-of", clone.hashes[10], folder=tmp_path)
    assert done.returncode == 0 and "shallow clone" in done.stdout, done.stderr
    done = clone.run("why", "bd-1", "--as-of", "1999-12-31", folder=tmp_path)
    assert (done.returncode, "with a shallow clone" in done.stderr) == (2, True), done.stderr


def test_events(clone: Clone, tmp_path: Path) -> None:
    done = clone.run("events", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"history begins at {clone.boundary} (the boundary of a shallow clone)" in done.stderr
    assert {json.loads(line)["bead"] for line in done.stdout.splitlines()} >= {"bd-2"}
    done = clone.run("events", "--from", clone.ghost, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "it begins at" in done.stderr and "shallow clone" in done.stderr


def _named(clone: Clone) -> str:
    return clone.ghost


@pytest.mark.parametrize(
    "name", [_named, lambda clone: clone.ghost[:12], lambda clone: "2020-01-01T00:00:00Z"]
)
def test_a_moment_before_it(name: Callable[[Clone], str], clone: Clone, tmp_path: Path) -> None:
    done = clone.run("why", "bd-1", "--as-of", name(clone), folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "shallow clone" in done.stderr


@pytest.mark.parametrize(
    "words", [["log"], ["replay"], ["replay", "--verify"]], ids=["log", "replay", "verify"]
)
def test_the_others(words: list[str], clone: Clone, tmp_path: Path) -> None:
    done = clone.run(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_doctor_and_a_tick(clone: Clone, tmp_path: Path) -> None:
    assert clone.run("init", folder=tmp_path).returncode == 0
    done = clone.run("doctor", folder=tmp_path)
    line = next(line for line in done.stdout.splitlines() if line.split()[1:2] == ["history"])
    assert line.startswith("warning") and clone.boundary[:8] in line
    (tmp_path / "dolt_watch.toml").write_text(
        '[targets.beadboard]\nkind = "command"\nargv = ["sh", "-c", "echo job1"]\n', "utf-8"
    )
    done = clone.run("tick", "--set", "settle=0s", folder=tmp_path)
    assert done.returncode == 0 and "dispatched bd-" in done.stdout, done.stdout + done.stderr
    assert clone.run("status", folder=tmp_path).returncode == 0
