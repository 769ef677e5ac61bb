"""The pods of the manifests as processes, with their files, environment and arguments.

They use a real Dolt and a stub of BeadBoard.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.connect import open_engine
from tests.deploy.manifests import (
    Manifest,
    container,
    init_container,
    named,
    render,
    with_pods,
    workspace,
)
from tests.stubs.agent_service import AgentServiceStub
from tests.stubs.beadboard import BeadBoardStub
from tests.support import beads, forked
from tests.support.servers import Server

PROJECT = "5f0c6f0e-6d0f-4c53-9d67-5f6f4f0c0a11"


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs a pod by its object's name, with only PATH of this environment."""

    pods: dict[str, Manifest]
    folder: Path
    address: ServerAddress
    board: BeadBoardStub
    service: AgentServiceStub
    secrets: dict[str, dict[str, str]]
    """Name → key → value. Other Secrets are absent."""

    def run(self, name: str, *, init: bool = False) -> tuple[int, str]:
        one = (init_container if init else container)(self.pods[name])
        env = {"PATH": "/usr/bin:/bin"}
        for source in one.get("envFrom", ()):
            env |= self.secrets.get(source["secretRef"]["name"], {})
        for each in one["env"]:
            if "value" in each:
                env[each["name"]] = each["value"]
            else:
                ref = each["valueFrom"]["secretKeyRef"]
                found = self.secrets.get(ref["name"], {})
                env |= {each["name"]: found[ref["key"]]} if ref["key"] in found else {}
        # Only a cluster resolves these names. A pod without a service's address sends it no
        # requests.
        served = {"BEADBOARD_URL": self.board.url, "CLAUDE_AGENT_SERVICE_URL": self.service.url}
        env |= {name: url for name, url in served.items() if name in env} | {
            "HOME": str(self.folder)
        }
        done = forked.dolt_watch(one["args"], cwd=self.folder, env=env)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def cluster(dolt_server: Server, dolt_address: ServerAddress, tmp_path: Path) -> Iterator[Cluster]:
    """Yield a beads database that the watcher's user may only read."""
    objects = render("base")
    pods = {each["metadata"]["name"]: each for each in with_pods(objects)}
    (config,) = named(objects, "ConfigMap").values()
    user = f"w_{dolt_address.database[-8:]}"
    metadata = json.loads(config["data"]["metadata.json"]) | {
        "dolt_server_host": dolt_address.host,
        "dolt_server_port": dolt_address.port,
        "dolt_server_user": user,
        "dolt_database": dolt_address.database,
        "project_id": PROJECT,
    }
    config["data"]["metadata.json"] = json.dumps(metadata)
    folder = workspace(pods["beads-dispatcher"], config, tmp_path / "workspace")
    engine = open_engine(dolt_address)
    beads.create_beads(engine)
    with engine.transaction() as tx:
        tx.execute("REPLACE INTO metadata (`key`, value) VALUES ('_project_id', ?)", (PROJECT,))
        tx.dolt_commit(["metadata"], "project", "beads <beads@local>")
    engine.close()
    dolt_server.sql(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY 'watch'",
        f"GRANT SELECT ON `{dolt_address.database}`.* TO '{user}'@'%'",
    )
    secrets = {
        "dolt-watch": {"BEADS_DOLT_PASSWORD": "watch"},
        "dolt-watch-admin": {
            "BEADS_DOLT_SERVER_USER": dolt_address.user,
            "BEADS_DOLT_PASSWORD": dolt_address.password,
        },
    }
    with BeadBoardStub() as board, AgentServiceStub() as service:
        yield Cluster(pods, folder, dolt_address, board, service, secrets)
    dolt_server.sql(f"DROP USER '{user}'@'%'")


def test_from_install_to_a_bead_that_is_handed_out(cluster: Cluster, dolt_server: Server) -> None:
    for name in ("beads-dispatcher", "beads-reaper"):
        code, said = cluster.run(name)
        assert (code, "the Secret dolt-watch-admin names" in said) == (3, True), said

    code, said = cluster.run("beads-dispatcher", init=True)
    assert (code, "migrated: " in said) == (0, True), said
    assert cluster.run("beads-reaper", init=True) == (0, "migrated: already up to date\n")

    user = f"w_{cluster.address.database[-8:]}"
    command = [sys.executable, "-m", "dolt_watch", "init", "--print-grants", user]
    printed = subprocess.run(
        command, cwd=cluster.folder, capture_output=True, text=True, check=True
    )
    dolt_server.sql(*printed.stdout.strip().splitlines())
    for name in ("beads-dispatcher", "beads-reaper"):
        assert cluster.run(name)[0] == 0
    assert cluster.board.dispatches == []

    dolt_server.sql(
        "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes, status,"
        " assignee, priority, created_at, updated_at) VALUES ('bd-1', 'smoke', '', '', 'it works',"
        " '', 'open', 'agent', 1, '2026-01-01', '2026-01-01')",
        "CALL DOLT_COMMIT('-Am', 'bd: create bd-1', '--date', '2026-01-01T00:00:00Z')",
        database=cluster.address.database,
    )
    code, said = cluster.run("beads-dispatcher")
    assert (code, "dispatched bd-1 as job" in said) == (0, True), said
    assert cluster.run("beads-reaper")[0] == 0
    assert [request.json for request in cluster.board.dispatches] == [{"taskId": "bd-1"}]


def test_without_the_admins_secret_init_only_finds_that_all_is_up_to_date(
    cluster: Cluster,
) -> None:
    admin = cluster.secrets.pop("dolt-watch-admin")
    # The pods' own user may not create tables.
    assert cluster.run("beads-dispatcher", init=True)[0] == 3
    cluster.secrets["dolt-watch-admin"] = admin
    assert cluster.run("beads-dispatcher", init=True)[0] == 0
    del cluster.secrets["dolt-watch-admin"]
    assert cluster.run("beads-dispatcher", init=True) == (0, "migrated: already up to date\n")
    cluster.secrets.clear()
    # There is no password.
    assert cluster.run("beads-dispatcher", init=True)[0] == 3


def test_after_an_upgrade_init_migrates(cluster: Cluster, dolt_server: Server) -> None:
    assert cluster.run("beads-dispatcher", init=True)[0] == 0
    # This is the state before the migration of a new version.
    dolt_server.sql(
        "DELETE FROM watch_migration",
        "CALL DOLT_COMMIT('-Am', 'an older program')",
        database=cluster.address.database,
    )
    code, said = cluster.run("beads-dispatcher")
    assert (code, "Run `dolt_watch init`" in said) == (3, True), said
    assert "migrated: ledger" in cluster.run("beads-dispatcher", init=True)[1]
