"""A tracker in embedded mode, bd's default.

The commands of the error move the tracker with its history to a server.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dolt_watch.config import load
from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import SettingsError
from tests.support.servers import home, own_dolt, start_dolt

pytestmark = pytest.mark.long


def _fix(folder: Path) -> str:
    """Return the commands of the error, as a user would paste them."""
    with pytest.raises(SettingsError, match="dolt_watch requires the mode 'server'") as caught:
        load({}, {}, folder)
    assert caught.value.fix
    assert "--force" not in caught.value.fix
    return caught.value.fix


@pytest.mark.parametrize("mode", ['"dolt_mode": "embedded", ', '"dolt_mode":"EMBEDDED",', ""])
def test_history_is_kept(mode: str, tmp_path: Path) -> None:
    program = own_dolt()
    folder = tmp_path / "a tracker's" / ".beads"
    data = folder / "embeddeddolt" / "emb"
    data.mkdir(parents=True)
    env = home(tmp_path)
    for key, value in (
        ("user.name", "T"),
        ("user.email", "t@example.com"),
        ("metrics.disabled", "true"),
    ):
        subprocess.run(
            [program, "config", "--global", "--add", key, value],
            env=env,
            check=True,
            capture_output=True,
        )
    subprocess.run([program, "init"], cwd=data, env=env, check=True, capture_output=True)
    for query in (
        "CREATE TABLE issues (id VARCHAR(255) PRIMARY KEY); CALL DOLT_COMMIT('-Am', 'one')",
        "INSERT INTO issues VALUES ('emb-1'); CALL DOLT_COMMIT('-Am', 'two')",
        "INSERT INTO issues VALUES ('emb-2')",  # An uncommitted row.
    ):
        subprocess.run(
            [program, "sql", "-q", query], cwd=data, env=env, check=True, capture_output=True
        )
    log = "SELECT commit_hash FROM dolt_log ORDER BY commit_order"
    done = subprocess.run(
        [program, "sql", "-r", "csv", "-q", log],
        cwd=data,
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    before = done.stdout.split()[1:]
    assert len(before) == 3
    metadata = f'{{\n  "database": "dolt", {mode}\n  "dolt_database": "emb", "project_id": "p"\n}}'
    (folder / "metadata.json").write_text(metadata, "utf-8")
    commands = _fix(folder.parent)
    steps, last = commands.split("  #")[0].rsplit(" && ", 1)
    assert last == "bd dolt start", "bd starts the server in .beads/dolt; here it is started below"
    subprocess.run(["sh", "-ec", steps], env=env, check=True)
    moved = json.loads((folder / "metadata.json").read_text("utf-8"))
    assert moved == {
        "database": "dolt",
        "dolt_mode": "server",
        "dolt_database": "emb",
        "project_id": "p",
    }
    (folder / "dolt").rename(tmp_path / "data")
    with start_dolt(program, tmp_path) as server:
        (folder / "dolt-server.port").write_text(str(server.address.port), "utf-8")
        settings = load({}, {}, folder.parent)
        assert isinstance(settings.address, ServerAddress)
        engine = open_engine(settings.address)
        try:
            assert [str(row[0]) for row in engine.query(log)] == before
            assert engine.query("SELECT id FROM issues ORDER BY id") == [("emb-1",), ("emb-2",)]
        finally:
            engine.close()
    again = subprocess.run(
        ["sh", "-ec", steps.replace("dolt_mode", "x")], env=env, check=False, capture_output=True
    )
    assert again.returncode == 0, "the folder was moved away by this test"
    again = subprocess.run(["sh", "-ec", steps], env=env, check=False, capture_output=True)
    assert again.returncode != 0, "a database that is there already is never written over"


def test_with_a_real_bd(tmp_path: Path) -> None:
    bd = os.environ.get("BD") or shutil.which("bd")
    if not bd:
        pytest.skip("no real bd on PATH")
    dolt = own_dolt()
    project = tmp_path / "project"
    project.mkdir()
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "bd").symlink_to(Path(bd).resolve())
    paths = f"{bin_}:{Path(dolt).parent}:{os.environ['PATH']}"
    env = home(tmp_path) | {"PATH": paths, "BD_DISABLE_METRICS": "1"}

    def run(*words: str) -> str:
        done = subprocess.run(
            words, cwd=project, env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    run("git", "init", "-q")
    run("bd", "init", "--prefix", "emb", "--skip-hooks", "--skip-agents", "-q")
    bead = run("bd", "create", "one", "--silent").strip()
    data = project / ".beads/embeddeddolt/emb"
    log = "SELECT commit_hash FROM dolt_log ORDER BY commit_order"
    before = run("sh", "-c", f"cd {data} && dolt sql -r csv -q '{log}'").split()[1:]
    assert len(before) > 2
    try:
        run("sh", "-ec", _fix(project))
        assert bead in run("bd", "list")
        settings = load({}, {"HOME": env["HOME"]}, project)
        assert isinstance(settings.address, ServerAddress)
        engine = open_engine(settings.address)
        try:
            after = [str(row[0]) for row in engine.query(log)]
        finally:
            engine.close()
        assert after[: len(before)] == before
    finally:
        subprocess.run(
            ["bd", "dolt", "stop"], cwd=project, env=env, check=False, capture_output=True
        )
