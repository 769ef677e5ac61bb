"""The compose file: its parts fit together, and its script creates the tracker.

No container runs here. The script and the service run as processes, with real Dolt.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.conftest import ROOT
from tests.standin.dialect import VARIABLE
from tests.standin.launcher import dialect_of
from tests.support import forked
from tests.support.beads import Workspace
from tests.support.kubernetes import wait_for
from tests.support.servers import Server

HERE = ROOT / "examples/compose"
COMPOSE: dict[str, Any] = yaml.safe_load((HERE / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_the_parts_fit_together() -> None:
    volumes = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service["volumes"]
        if not volume.startswith("./")
    }
    assert volumes == set(COMPOSE["volumes"])
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
    assert "healthcheck" in SERVICES["dolt"]
    build = SERVICES["dolt_watch"]["build"]
    assert (HERE / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    assert (HERE / "tracker.sh").is_file()


def test_only_the_report_page_is_published_and_only_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"dolt_watch": ["127.0.0.1:9464:9464"]}


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, HERE / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_what_the_script_runs() -> None:
    text = (HERE / "Dockerfile").read_text("utf-8")
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert {"!dolt_watch", "!migrations", "!pyproject.toml"} <= set(ignored)
    assert not re.search(r"examples", text.split("FROM")[1]), "the build context lacks examples/"


@pytest.fixture
def environment(
    beads_workspace: Workspace, dolt_server: Server, tmp_path: Path
) -> Iterator[dict[str, str]]:
    programs = forked.program(tmp_path / "programs", "dolt_watch").parent
    if dialect := dialect_of(beads_workspace.program):
        forked.program(programs, "bd", {VARIABLE: dialect})
    address = beads_workspace.address
    yield {
        **{key: value for key, value in beads_workspace.env.items() if key != "BEADS_DIR"},
        "PATH": f"{programs}:{beads_workspace.env['PATH']}",
        "DOLT_HOST": address.host,
        "DOLT_PORT": str(address.port),
        "BEADS_DOLT_SERVER_TLS": "false",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    dolt_server.sql("DROP DATABASE IF EXISTS quickstart")


@pytest.mark.long
def test_the_script_and_the_service_finish_the_first_bead(
    environment: dict[str, str], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for _ in range(2):  # A restart of the containers changes nothing.
        done = subprocess.run(
            ["sh", HERE / "tracker.sh"],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    program, *arguments = SERVICES["dolt_watch"]["command"]
    assert program == "dolt_watch"
    arguments[arguments.index("--host") + 1] = "127.0.0.1"
    arguments[arguments.index("--port") + 1] = "0"
    command = [sys.executable, "-m", "dolt_watch", *arguments]
    with (tmp_path / "log").open("wb") as log:
        service = subprocess.Popen(command, cwd=project, env=environment, stderr=log)
        try:
            wait_for(lambda: (project / "hello.txt").exists(), 90)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(60)
    assert (project / "hello.txt").read_text("utf-8") == "Hello!\n"
    assert os.access(project / "agent.sh", os.R_OK)
