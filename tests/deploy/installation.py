"""An installation of cronjobs/ on the real control plane, with a tracker on real Dolt."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.ledger.privileges import grant_statements
from tests.deploy.manifests import Manifest, overlay
from tests.stubs.agent_service import AgentServiceStub
from tests.stubs.beadboard import BeadBoardStub
from tests.support import beads
from tests.support.kubernetes import MERGE, ControlPlane, Namespace, checked, wait_for
from tests.support.servers import Server, tool

PROJECT = "5f0c6f0e-6d0f-4c53-9d67-5f6f4f0c0a11"
NEVER = {
    "target": {"kind": "CronJob"},
    "patch": '[{"op": "replace", "path": "/spec/schedule", "value": "0 0 1 1 *"}]',
}
"""A patch of the overlay, so that a Job starts only if the test makes it due."""
PATIENCE = 120.0
"""Maximum number of seconds for a step on a busy machine. An idle one needs one second."""
APIS = {
    "Pod": "/api/v1/namespaces/{}/pods",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "PodMonitor": "/apis/monitoring.coreos.com/v1/namespaces/{}/podmonitors",
    "PrometheusRule": "/apis/monitoring.coreos.com/v1/namespaces/{}/prometheusrules",
}
"""Kind → path of its objects in a namespace."""


SETTINGS = "settle = '0s'\nrules.agent.max_in_flight = 9"


@dataclass
class Installation:
    """A user's overlay, its namespace, its tracker and its BeadBoard."""

    folder: Path
    namespace: Namespace
    server: Server
    address: ServerAddress
    board: BeadBoardStub
    service: AgentServiceStub
    project: str = PROJECT
    settings: str = ""
    written: dict[str, Any] = field(default_factory=dict)

    # -- actions of a user --------------------

    def write(self, **written: Any) -> Path:
        """Write the overlay. Keys that are not given keep their values."""
        self.written |= written
        files = ["metadata.json", "dolt_watch.toml"]
        merged = {"name": "dolt-watch", "behavior": "merge", "files": files}
        mine = overlay(
            self.folder,
            **{"resources": ["../../base"], "configMapGenerator": [merged]} | self.written,
        )
        metadata = {
            "backend": "dolt",
            "dolt_mode": "server",
            "dolt_server_host": self.address.host,
            "dolt_server_port": self.address.port,
            "dolt_server_user": self.user,
            "dolt_server_tls": False,
            "dolt_database": self.address.database,
            "project_id": self.project,
        }
        (mine / "metadata.json").write_text(json.dumps(metadata), "utf-8")
        targets = (
            f"[targets.beadboard]\nurl = '{self.board.url}'\nservice_url = '{self.service.url}'\n"
        )
        (mine / "dolt_watch.toml").write_text(f"{self.settings}\n{targets}", "utf-8")
        return mine

    def kubectl(self, *arguments: str, exit: int = 0, stdin: str | None = None) -> str:
        """Run kubectl in the namespace. Return its output."""
        done = subprocess.run(
            [self.environment["KUBECTL"], "--namespace", self.namespace.name, *arguments],
            env=self.environment,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == exit, f"kubectl {' '.join(arguments)}: {printed}"
        assert "Warning" not in printed, printed
        return printed

    def apply(self, *arguments: str, **written: Any) -> str:
        mine = self.write(namespace=self.namespace.name, **written)
        return self.kubectl("apply", "-k", str(mine), *arguments)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.namespace.plane.folder / "admin.kubeconfig"),
            "KUBECTL": self.namespace.plane.kubectl,
            "KUBECTL_APPLYSET": "true",
        }

    @property
    def user(self) -> str:
        return f"w_{self.address.database[-8:]}"

    def secret(self, name: str, **data: str) -> None:
        """Create or replace the Secret."""
        body = {"metadata": {"name": name}, "stringData": data}
        path = f"{self.namespace.core}/secrets"
        self.namespace.admin.delete(f"{path}/{name}")
        checked(self.namespace.admin.post(path, json=body))

    def secrets(self) -> None:
        self.secret("dolt-watch", BEADS_DOLT_PASSWORD="watch")
        self.secret(
            "dolt-watch-admin",
            BEADS_DOLT_SERVER_USER=self.address.user,
            BEADS_DOLT_PASSWORD=self.address.password,
        )

    # -- objects --------------------

    def get(self, kind: str, name: str) -> Any:
        """Return the object. This is faster than kubectl, which needs a process."""
        path = f"{APIS[kind].format(self.namespace.name)}/{name}"
        return checked(self.namespace.admin.get(path)).json()

    def all(self, kind: str) -> list[Manifest]:
        return list(
            checked(self.namespace.admin.get(APIS[kind].format(self.namespace.name))).json()[
                "items"
            ]
        )

    def objects(self) -> set[tuple[str, str]]:
        """Return kind and name of each object that an installation can leave behind."""
        own = {"kube-root-ca.crt", "default", "dispatcher"}
        return {
            (kind, each["metadata"]["name"])
            for kind in APIS
            if "monitoring" not in APIS[kind]
            for each in self.all(kind)
            if each["metadata"]["name"] not in own
        }

    def pods(self, component: str) -> list[Manifest]:
        params = {"labelSelector": f"app.kubernetes.io/component={component}"}
        answer = self.namespace.admin.get(f"{self.namespace.core}/pods", params=params)
        return list(checked(answer).json()["items"])

    # -- the schedule, without waiting for it --------------------

    def due(self, name: str) -> None:
        """Make a run of the CronJob due: this minute is scheduled, and the last run was before it.

        A Job's name contains its scheduled minute, so Jobs that have ended are deleted first.
        """
        over = {each["metadata"]["name"] for each in self.jobs(name) if ended(each)}
        for each in over:
            body = {"propagationPolicy": "Background"}
            path = f"{self.namespace.jobs}/{each}"
            checked(self.namespace.admin.request("DELETE", path, json=body))
        patiently(lambda: not over & {each["metadata"]["name"] for each in self.jobs(name)})
        path, now = f"{APIS['CronJob'].format(self.namespace.name)}/{name}", datetime.now(UTC)
        status = {"lastScheduleTime": f"{now - timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}"}
        # A minute that has passed when the controller checks is still in time.
        spec = {"schedule": f"{now.minute} * * * *", "startingDeadlineSeconds": 600}
        # The status is last, because the controller checks a changed schedule only when it is due.
        for part, body in (("", {"spec": spec}), ("/status", {"status": status})):
            checked(self.namespace.admin.patch(f"{path}{part}", json=body, headers=MERGE))

    def wait_for_the_schedule(self) -> None:
        """Wait until the controller has checked CronJobs that were due before this call.

        Another CronJob, due after them, proves that by its Job.
        """
        container = {"name": "c", "image": "stand-in", "command": ["true"]}
        pod = {"restartPolicy": "Never", "containers": [container]}
        job = {"spec": {"template": {"spec": pod}}}
        body = {"metadata": {"name": "last"}, "spec": {"schedule": "* * * * *", "jobTemplate": job}}
        path = f"/apis/batch/v1/namespaces/{self.namespace.name}/cronjobs"
        checked(self.namespace.admin.post(path, json=body))
        self.due("last")
        patiently(lambda: self.jobs("last"))

    def jobs(self, name: str = "beads-dispatcher") -> list[Manifest]:
        """Return the Jobs of the CronJob, oldest first."""
        found = [
            each
            for each in self.namespace.list_jobs()
            if each["metadata"].get("ownerReferences", [{}])[0].get("name") == name
        ]
        return sorted(found, key=lambda each: str(each["metadata"]["creationTimestamp"]))

    def tick(self, name: str = "beads-dispatcher") -> Manifest:
        """Let the schedule start a Job. Return the Job when it has ended."""
        patiently(lambda: all(map(ended, self.jobs(name))))
        before = {each["metadata"]["uid"] for each in self.jobs(name)}
        self.due(name)

        def new() -> Manifest | None:
            found = [each for each in self.jobs(name) if each["metadata"]["uid"] not in before]
            return found[0] if found and ended(found[0]) else None

        found: Manifest = patiently(new)
        return found

    def log(self, pod: Manifest) -> str:
        file = f"{self.namespace.name}_{pod['metadata']['name']}.log"
        return (self.namespace.plane.folder / "pods" / file).read_text("utf-8")

    # -- the tracker --------------------

    def bead(self, bead: str) -> None:
        """Create a bead that is settled and assigned to the agent."""
        self.server.sql(
            "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes,"
            f" status, assignee, priority, created_at, updated_at) VALUES ('{bead}', 'smoke', '',"
            " '', 'it works', '', 'open', 'agent', 1, '2026-01-01', '2026-01-01')",
            f"CALL DOLT_COMMIT('-Am', 'bd: create {bead}', '--date', '2026-01-01T00:00:00Z')",
            database=self.address.database,
        )

    def grant(self) -> None:
        self.server.sql(
            f"CREATE USER '{self.user}'@'%' IDENTIFIED BY 'watch'",
            *grant_statements(self.address.database, self.user),
        )

    @property
    def dispatched(self) -> list[str]:
        return [request.json["taskId"] for request in self.board.dispatches]


def patiently(condition: Callable[[], Any]) -> Any:
    """Wait for controllers and pods, which need seconds. Each poll is a request."""
    return wait_for(condition, PATIENCE, pause=0.25)


def ended(job: Manifest) -> str:
    """Return 'Complete' or 'Failed', or '' while the Job runs."""
    for each in job.get("status", {}).get("conditions", []):
        if each["type"] in ("Complete", "Failed") and each["status"] == "True":
            return str(each["type"])
    return ""


@contextlib.contextmanager
def installing(plane: ControlPlane, server: Server, folder: Path) -> Iterator[Installation]:
    """Yield an empty namespace that enforces PodSecurity, and a beads database with its user."""
    tool("kubectl")
    address = server.fresh()
    engine = open_engine(address)
    beads.create_beads(engine)
    with engine.transaction() as tx:
        tx.execute("REPLACE INTO metadata (`key`, value) VALUES ('_project_id', ?)", (PROJECT,))
        tx.dolt_commit(["metadata"], "project", "beads <beads@local>")
    engine.close()
    modes = ("enforce", "warn")
    labels = {f"pod-security.kubernetes.io/{each}": "restricted" for each in modes}
    with (
        plane.namespace(labels) as namespace,
        BeadBoardStub() as board,
        AgentServiceStub() as service,
    ):
        made = Installation(folder, namespace, server, address, board, service)
        made.settings = SETTINGS
        yield made
    server.drop(address)
    server.sql(f"DROP USER IF EXISTS '{made.user}'@'%'")
