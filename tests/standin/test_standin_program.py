"""Behavior of the stand-in without a recording: refusals, extended leases and copied databases."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.standin import launcher, recorded, replay
from tests.standin.commands import COMMANDS
from tests.standin.dialect import DIALECTS
from tests.standin.upgrade import upgrade_to
from tests.support.beads import Workspace, copied, initialized, saved
from tests.support.servers import Server


def made(server: Server, folder: Path, dialect: str) -> Workspace:
    folder.mkdir(exist_ok=True)
    return initialized(server, folder, str(launcher.write(folder / "bin", dialect)))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_copy_is_what_init_leaves(dialect: str, dolt_server: Server, tmp_path: Path) -> None:
    first = made(dolt_server, tmp_path / "first", dialect)
    (tmp_path / "second").mkdir()
    second = copied(dolt_server, saved(dolt_server, first, tmp_path), tmp_path / "second")
    readers = [replay.Reader(dolt_server, bd.database) for bd in (first, second)]
    try:
        one, two = (
            (each.schema(), each.commits(), each.uncommitted(), each.ignored()) for each in readers
        )
        assert one == two
        assert second.create("works") and first.path != second.path
    finally:
        for reader, bd in zip(readers, (first, second), strict=True):
            reader.close()
            dolt_server.drop(bd.address)


def test_it_offers_only_what_is_recorded() -> None:
    """Each command has a recording. Recordings of readiness contain ``blocked``."""
    words = {step["args"][0] for folder in recorded.trackers() for step in recorded.steps(folder)}
    for path in recorded.graphs():
        words |= {
            command["args"][0] for command in recorded.value(path.parent, path.name)["commands"]
        }
    assert set(COMMANDS) <= words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["backup", "sync"], 'unknown command "backup"'),
        (["create", "x", "--design", "y"], "unknown flag: --design"),
        (["dolt", "stop"], "bd dolt stop is not recorded"),
        (["show", "bd-none"], "no issue found"),
        (["close", "bd-1", "bd-2"], "takes 1 arguments, not 2"),
    ],
)
def test_it_refuses_the_rest(
    words: list[str], said: str, dolt_server: Server, tmp_path: Path
) -> None:
    bd = made(dolt_server, tmp_path, "1.2.2")
    done = bd.attempt(*words)
    dolt_server.drop(bd.address)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_heartbeat_prolongs_the_lease_of_its_holder_alone(
    dolt_server: Server, tmp_path: Path
) -> None:
    bd = made(dolt_server, tmp_path, "1.3")
    bead = bd.create("work", "-a", "agent")
    run = replay.runner(bd)
    assert run("agent", ["update", bead, "--claim"]).returncode == 0
    text = "SELECT heartbeat_at, lease_expires_at FROM leases"
    before = dolt_server.sql(text, database=bd.database)[0]
    while dolt_server.sql("SELECT UTC_TIMESTAMP()")[0][0].replace(microsecond=0) <= before[0]:
        time.sleep(0.05)  # the columns contain whole seconds
    assert run("somebody", ["heartbeat", bead]).returncode == 1
    assert dolt_server.sql(text, database=bd.database)[0] == before
    assert run("agent", ["heartbeat", bead]).returncode == 0
    after = dolt_server.sql(text, database=bd.database)[0]
    dolt_server.drop(bd.address)
    assert after[0] > before[0]
    assert after[1] - after[0] == before[1] - before[0]


def test_an_older_bd_refuses_a_newer_tracker(dolt_server: Server, tmp_path: Path) -> None:
    bd = made(dolt_server, tmp_path, "1.0.2")
    upgrade_to(bd.address, "1.2.2")
    done = bd.attempt("list")
    dolt_server.drop(bd.address)
    assert done.returncode == 1
    assert "newer than this bd" in done.stderr
