"""Bad input: what was wrong, where, what mends it, and the right exit code; never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dolt_watch.engines.address import open_engine
from tests.beads import Workspace
from tests.servers import Server, free_port

pytestmark = pytest.mark.timeout(60)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def command(beads_workspace: Workspace) -> Command:
    """The real command line, in the workspace's folder."""

    def run(*arguments: str, **env: str) -> Ran:
        keep = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
        home = {"HOME": str(beads_workspace.path), "BEADS_DOLT_PASSWORD": ""}
        done = subprocess.run(
            [sys.executable, "-m", "dolt_watch", *arguments], cwd=beads_workspace.path, env={**keep, **home, **env},
            capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


def refused(ran: Ran, code: int, *words: str) -> None:
    assert ran.code == code, ran
    assert "Traceback" not in ran.err
    assert "fix:" in ran.err
    for word in words:
        assert word in ran.err


def test_not_migrated_names_the_command(command: Command) -> None:
    refused(command("dispatch"), 3, "dolt_watch init")
    assert "Traceback" in command("dispatch", "--debug").err


def test_an_unreachable_server(command: Command) -> None:
    refused(command("dispatch", "--database", f"dolt://root@127.0.0.1:{free_port()}/x"), 3, "127.0.0.1")


def test_a_missing_database(command: Command, beads_workspace: Workspace) -> None:
    refused(command("dispatch", "--database", beads_workspace.url.rsplit("/", 1)[0] + "/nowhere"), 3, "nowhere")


def test_a_wrong_password(command: Command) -> None:
    ran = command("dispatch", DOLT_WATCH_PASSWORD="not-the-password")
    refused(ran, 3)
    assert "not-the-password" not in ran.err + ran.out


def test_not_a_beads_database(command: Command, dolt_server: Server) -> None:
    address = dolt_server.fresh()
    for name in ("init", "dispatch"):
        refused(command(name, "--database", address.url), 3, "not a beads database")
    dolt_server.drop(address)


def test_a_newer_schema(command: Command, beads_workspace: Workspace) -> None:
    assert command("init").code == 0
    engine = open_engine(beads_workspace.address)
    engine.query("INSERT INTO watch_migration VALUES (99, 'later', '9.0.0', UTC_TIMESTAMP(6))")
    engine.close()
    refused(command("dispatch"), 3, "version 99", "upgrade")


def test_another_projects_id(command: Command, beads_workspace: Workspace) -> None:
    assert command("init").code == 0
    metadata = Path(beads_workspace.path) / ".beads" / "metadata.json"
    text = metadata.read_text()
    project = text.split('"project_id": "')[1].split('"')[0]
    metadata.write_text(text.replace(project, "00000000-0000-0000-0000-000000000000"))
    refused(command("dispatch"), 2, "project")


def test_metadata_that_cannot_be_read(command: Command, beads_workspace: Workspace) -> None:
    (Path(beads_workspace.path) / ".beads" / "metadata.json").write_text("{")
    refused(command("dispatch"), 2, "metadata.json")


@pytest.mark.parametrize(
    "when",
    ["title", "status = 'open' AND nobody = 1", "status = 'open'; DROP TABLE issues", "id IN (SELECT id FROM issues)", "created_at < NOW()"],
)  # fmt: skip
def test_a_when_that_is_no_boolean_expression_of_the_row(command: Command, when: str) -> None:
    assert command("init").code == 0
    refused(command("dispatch", "--set", f"rules.agent.when={when}"), 2, "rules.agent.when", "^")


@pytest.mark.parametrize(
    ("line", "words"),
    [("settle = '30x'", ("dolt_watch.toml:1", "settle")), ("setle = '2s'", ("dolt_watch.toml:1", "settle"))],
)
def test_a_settings_file_that_is_wrong(
    command: Command, beads_workspace: Workspace, line: str, words: tuple[str, ...]
) -> None:
    (Path(beads_workspace.path) / "dolt_watch.toml").write_text(line + "\n")
    refused(command("dispatch"), 2, *words)


def test_now_goes_with_a_dry_run_only(command: Command) -> None:
    ran = command("reap", "--now", "2026-04-18T22:35:46Z")
    assert (ran.code, "Traceback" in ran.err) == (2, False)
    assert "--dry-run" in ran.err


def test_a_target_without_url_is_named_when_it_is_needed(command: Command, beads_workspace: Workspace) -> None:
    assert command("init").code == 0
    assert command("dispatch", "--set", "settle=0s").code == 0
    beads_workspace.create("do it", "--acceptance", "x", "-a", "agent")
    refused(command("dispatch", "--set", "settle=0s"), 2, "BEADBOARD_URL")


def test_init_says_what_the_first_tick_would_do_and_is_idempotent(command: Command, beads_workspace: Workspace) -> None:
    beads_workspace.create("do it", "--acceptance", "x", "-a", "agent")
    first = command("init")
    assert first.code == 0
    assert "waiting to be dispatched: 1" in first.out
    assert "--dry-run" in first.out
    assert "adopted" in first.out
    engine = open_engine(beads_workspace.address)
    before = engine.query("SELECT HASHOF('HEAD')")
    assert "already up to date" in command("init").out
    assert engine.query("SELECT HASHOF('HEAD')") == before
    engine.close()
    assert "CREATE TABLE" in command("init", "--print-sql").out


def test_the_least_privileges_are_enough_and_no_more(
    command: Command, beads_workspace: Workspace, dolt_server: Server
) -> None:
    assert command("init").code == 0
    root = open_engine(beads_workspace.address)
    root.query("CREATE USER 'watcher'@'%' IDENTIFIED BY 'pw'")
    for grant in command("init", "--print-grants", "watcher").out.splitlines():
        root.query(grant)
    bead = beads_workspace.create("do it", "--acceptance", "x", "-a", "agent")
    from tests.stubs.agent_service import AgentServiceStub
    from tests.stubs.beadboard import BeadBoardStub

    url = beads_workspace.url.replace("root@", "watcher@")
    with AgentServiceStub() as service, BeadBoardStub(service) as board:
        as_watcher = {"DOLT_WATCH_PASSWORD": "pw", "BEADBOARD_URL": board.url}
        ran = command("dispatch", "--database", url, "--set", "settle=0s", **as_watcher)
        assert (ran.code, len(board.dispatches)) == (0, 1), ran
        assert command("reap", "--database", url, "--set", "rules.agent.stale_after=1ms", **as_watcher).code == 0
    kinds = [
        row[0] for row in root.query("SELECT kind FROM watch_decision WHERE bead_id = ? ORDER BY version", (bead,))
    ]
    assert kinds == ["claim", "dispatched", "reap"]
    for statement in ("DELETE FROM issues", "UPDATE watch_decision SET reason = 'x'", "DROP TABLE watch_decision"):
        engine = open_engine(
            type(beads_workspace.address)(**{**_parts(beads_workspace), "user": "watcher", "password": "pw"})
        )
        with pytest.raises(Exception, match="denied"):
            engine.query(statement)
        engine.close()
    root.query("DROP USER 'watcher'@'%'")
    root.close()


def _parts(workspace: Workspace) -> dict[str, object]:
    address = workspace.address
    return {name: getattr(address, name) for name in address.__slots__}
