"""Each command of cronjobs/README.md on a real control plane, in a realistic order."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.deploy.installation import SETTINGS, Installation, patiently
from tests.deploy.manifests import CRONJOBS
from tests.docs.shell import Shell
from tests.standin.dialect import VARIABLE
from tests.standin.launcher import dialect_of
from tests.stubs.agent_service import AgentServiceStub
from tests.stubs.beadboard import BeadBoardStub
from tests.support import forked
from tests.support.beads import Workspace
from tests.support.kubernetes import ControlPlane
from tests.support.servers import Server

TEXT = (CRONJOBS / "README.md").read_text(encoding="utf-8")
BLOCKS = [dedent(each) for each in re.findall(r"(?ms)^ *```sh\n(.*?)^ *```", TEXT)]
INLINE = [each for each in re.findall(r"`(kubectl [^`]*)`", TEXT) if "port-forward" not in each]
"""Commands in tables and sentences. The stand-in node forwards no ports."""


@pytest.fixture
def page(
    plane: ControlPlane, dolt_server: Server, beads_workspace: Workspace, tmp_path: Path
) -> Iterator[Page]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = json.loads((beads_workspace.path / ".beads/metadata.json").read_text("utf-8"))
    with (
        plane.namespace(labels) as namespace,
        BeadBoardStub() as board,
        AgentServiceStub() as service,
    ):
        made = Installation(
            tmp_path / "clone",
            namespace,
            dolt_server,
            beads_workspace.address,
            board,
            service,
            project=metadata.get("project_id", ""),
            settings=SETTINGS,
        )
        made.folder.mkdir()
        made.grant()
        (made.folder / "password.txt").write_text("watch", "utf-8")
        (made.folder / "admin.txt").write_text(made.address.password, "utf-8")
        programs = forked.program(tmp_path / "programs", "dolt_watch").parent
        if dialect := dialect_of(beads_workspace.program):
            forked.program(programs, "bd", {VARIABLE: dialect})
        (programs / "kubectl").symlink_to(plane.kubectl)
        environment = {
            **beads_workspace.env,
            "KUBECONFIG": str(plane.folder / "admin.kubeconfig"),
            "BEADS_DIR": str(beads_workspace.path / ".beads"),
            "BEADBOARD_URL": board.url,
            "CLAUDE_AGENT_SERVICE_URL": service.url,
            "PATH": f"{programs}:{Path(sys.executable).parent}:{beads_workspace.env['PATH']}",
        }
        swaps = {"beads-server": namespace.name, "overlays/yours": "overlays/mine"}
        shell = Shell(made.folder, environment, swaps)
        yield Page(made, shell)
        shell.close()
    dolt_server.sql(f"DROP USER IF EXISTS '{made.user}'@'%'")


class Page:
    """A runner of the page's commands, which records them."""

    def __init__(self, installed: Installation, shell: Shell) -> None:
        self.installed, self.shell = installed, shell
        self.tried: set[str] = set()

    def write(self, form: str, tag: str = "0.1.0") -> None:
        images = [{"name": "dolt_watch", "newName": "your-registry/dolt_watch", "newTag": tag}]
        namespace = self.installed.namespace.name
        self.installed.write(resources=[form], namespace=namespace, images=images)

    def run(self, start: str, instead: tuple[str, str] = ("", "")) -> str:
        """Run the only command that starts with ``start``. It must succeed."""
        (found,) = [each for each in (*BLOCKS, *INLINE) if each.startswith(start)]
        self.tried.add(found)
        command = found.replace(*instead) if instead[0] else found
        code, printed = self.shell.run(command)
        assert code == 0, f"{command}\n{printed}"
        return printed

    def kinds(self) -> set[str]:
        return {kind for kind, _ in self.installed.objects()}


@pytest.mark.long
def test_each_command_of_the_readme(page: Page) -> None:
    installed = page.installed

    # Install, with the CronJobs.
    page.write("../../base")
    page.run("kubectl -n beads-server create secret")
    page.run("export KUBECTL_APPLYSET")
    page.run("kubectl -n beads-server create job first-tick")
    assert "migrated: ledger" in page.run("kubectl -n beads-server logs -l app.kubernetes.io/name")
    page.run("kubectl -n beads-server get deployment,cronjob")

    # The kill switch.
    patch = "kubectl -n beads-server patch cronjob"
    for value in ("true", "false"):
        page.run(patch, ('{"suspend":true}', f'{{"suspend":{value}}}'))
        assert [each["spec"]["suspend"] for each in installed.all("CronJob")] == [
            value == "true"
        ] * 2
    assert "SUSPEND" in page.run("kubectl -n beads-server get cronjob")
    page.run("kubectl -n beads-server delete job -l")
    assert installed.all("Job") == []

    # From one form to the other.
    page.run("kubectl -n beads-server delete cronjob -l")
    assert "CronJob" not in page.kinds()
    page.write("../../base")
    page.run("export KUBECTL_APPLYSET")
    page.write("../service")
    page.run("export KUBECTL_APPLYSET")
    assert "CronJob" not in page.kinds()
    page.run("kubectl -n beads-server rollout status")

    # The smoke test.
    page.run("bead=$(bd create")
    patiently(lambda: installed.dispatched)

    # Upgrade, and back.
    page.write("../service", "0.2.0")
    page.run("export KUBECTL_APPLYSET")
    page.run("kubectl -n beads-server rollout status")
    page.run("kubectl -n beads-server rollout undo")
    template = installed.get("Deployment", "dolt-watch")["spec"]["template"]["spec"]
    assert template["containers"][0]["image"] == "your-registry/dolt_watch:0.1.0"

    # The kill switch of the service, and the other direction.
    scale = "kubectl -n beads-server scale deployment"
    page.run(scale)
    patiently(lambda: installed.pods("run") == [])
    page.run("kubectl -n beads-server delete deployment,pdb")
    assert not page.kinds() & {"Deployment", "PodDisruptionBudget"}

    # Uninstall.
    page.run("kubectl delete -k")
    patiently(lambda: page.kinds() <= {"ReplicaSet", "Pod", "Job"})
    patiently(lambda: installed.objects() == set())
    assert {*BLOCKS, *INLINE} - page.tried == set()
