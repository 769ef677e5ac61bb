"""Bad input to the real command: a clear error, a fix, and an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.acceptance.conftest import Ran, Watch
from tests.stubs.server import dead_port
from tests.support import forked
from tests.support.servers import Server


def run(folder: Path, *arguments: str, **env: str) -> Ran:
    """Run the command in a folder, with a minimal environment."""
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = forked.dolt_watch(arguments, cwd=folder, env={**bare, **env})
    return Ran(done.returncode, done.stdout, done.stderr)


def told(ran: Ran, code: int, *words: str) -> None:
    """Assert the exit code, the message and the fix."""
    assert ran.code == code, ran
    assert ran.stderr.startswith("error: "), ran.stderr
    assert "  fix:   " in ran.stderr, ran.stderr
    assert "Traceback" not in ran.stderr + ran.stdout
    for word in words:
        assert word in ran.stderr, ran.stderr


@pytest.fixture(scope="module")
def empty(dolt_server: Server) -> Iterator[str]:
    """Yield the URL of a database without beads' tables."""
    address = dolt_server.fresh()
    yield address.url
    dolt_server.drop(address)


def test_the_wrong_database(dolt_server: Server, empty: str, tmp_path: Path) -> None:
    a = dolt_server.address
    told(run(tmp_path, "dispatch"), 2, "No database is set", "bd init --server")
    told(
        run(tmp_path, "dispatch", "--database", "mysql://root@localhost/beads"),
        2,
        "--database",
        "dolt://",
    )
    told(
        run(tmp_path, "dispatch", "--database", "dolt://root@no-such-host.invalid:3306/beads"),
        3,
        "no-such-host.invalid",
    )
    told(
        run(tmp_path, "dispatch", "--database", f"dolt://root@127.0.0.1:{dead_port()}/beads"),
        3,
        "127.0.0.1",
    )
    told(run(tmp_path, "dispatch", "--database", replace(a, database="nowhere").url), 3, "nowhere")
    wrong = run(tmp_path, "dispatch", "--database", empty, DOLT_WATCH_PASSWORD="hunter2-wrong")
    told(wrong, 3)
    assert "hunter2-wrong" not in wrong.stderr
    told(run(tmp_path, "dispatch", "--database", empty), 3, "not a beads database")
    told(run(tmp_path, "init", "--database", empty), 3, "not a beads database")


def test_debug_shows_the_traceback(empty: str, tmp_path: Path) -> None:
    for ran in (
        run(tmp_path, "--debug", "dispatch", "--database", empty),
        run(tmp_path, "dispatch", "--database", empty, DOLT_WATCH_DEBUG="1"),
    ):
        assert ran.code == 3
        assert "Traceback" in ran.stderr
        assert "not a beads database" in ran.stderr


def test_not_migrated_and_newer(watch: Watch) -> None:
    watch.server.sql(
        "INSERT INTO watch_migration VALUES (99, 'future', '9.9.9', NOW())",
        database=watch.bd.database,
    )
    told(watch.command("dispatch"), 3, "version 99", "Upgrade")
    told(watch.command("init"), 3, "version 99", "Upgrade")
    for table in (
        "watch_cursor",
        "watch_bead",
        "watch_attempt",
        "watch_decision",
        "watch_settings",
        "watch_migration",
    ):
        watch.server.sql(f"DROP TABLE {table}", database=watch.bd.database)
    for command in ("dispatch", "reap", "tick", "log", "status"):
        told(watch.command(command), 3, "`dolt_watch init`")
    assert watch.command("init").code == 0
    assert watch.command("dispatch").code == 0


def test_metadata_of_another_project(watch: Watch) -> None:
    path = watch.bd.path / ".beads" / "metadata.json"
    good = json.loads(path.read_text())
    path.write_text(json.dumps({**good, "project_id": "0000-of-another"}))
    for command in ("dispatch", "init", "status", "run", "log"):
        told(watch.command(command), 2, "0000-of-another", good["project_id"])
    path.write_text("{nonsense")
    told(watch.command("dispatch"), 2, "metadata.json")
    path.write_text(json.dumps({**good, "dolt_mode": "embedded"}))
    told(watch.command("dispatch"), 2, "server", "bd dolt start")


WRONG: Mapping[str, tuple[str, str]] = {
    "no boolean": ('[rules.agent]\nwhen = "priority + 1"', "when"),
    "unknown column": ("[rules.agent]\nwhen = \"assigne = 'agent'\"", "assignee"),
    "two statements": ("[rules.agent]\nwhen = \"assignee = 'agent'; DROP TABLE issues\"", "when"),
    "subquery": ('[rules.agent]\nwhen = "id IN (SELECT id FROM issues)"', "when"),
    "not of the row": ('[rules.agent]\nwhen = "updated_at < NOW()"', "NOW"),
    "no SQL": ('[rules.agent]\nwhen = "assignee = = 3"', "when"),
    "duration": ('[rules.agent]\nstale_after = "30x"', "30x"),
    "unknown key": ("setle = '2s'", "settle"),
    "unknown key of a rule": ("[rules.agent]\nstaleafter = '2m'", "stale_after"),
    "no TOML": ("[rules.agent\n", "dolt_watch.toml"),
}


def test_wrong_settings(watch: Watch) -> None:
    for name, (text, word) in WRONG.items():
        (watch.bd.path / "dolt_watch.toml").write_text(text + "\n")
        ran = watch.command("dispatch")
        told(ran, 2, word)
        assert "dolt_watch.toml" in ran.stderr or "rules.agent" in ran.stderr, (name, ran.stderr)
    (watch.bd.path / "dolt_watch.toml").unlink()
    assert watch.command("dispatch", "--set", "settle=2s").code == 0


def test_no_target(watch: Watch) -> None:
    watch.assigned("waits")
    told(
        watch.command("dispatch", "--set", "settle=0s", env={"BEADBOARD_URL": ""}),
        2,
        "BEADBOARD_URL",
    )
