"""A real Kubernetes control plane for tests: etcd, API server, controllers, scheduler, one node.

The programs are found on PATH. ``kube-apiserver`` and its siblings may be links to one binary. If
they are missing, the tests that need them are skipped with the reason. With
DOLT_WATCH_TEST_KUBERNETES=required they fail.

All workers of a test run share one control plane. A supervisor process starts it, and stops it when
no worker holds the shared lock. A killed test run therefore leaves nothing running.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
import yaml

from tests.support.kubelet import StandInNode
from tests.support.servers import die_with_parent, free_port, stop

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "openssl")
CONTROLLERS = (
    "job-controller",
    "ttl-after-finished-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "cronjob-controller",
    "deployment-controller",
    "replicaset-controller",
    "disruption-controller",
)
MERGE = {"content-type": "application/merge-patch+json"}
START_TIMEOUT = 90.0
"""Maximum number of seconds for a start on a busy machine. An idle one needs about 8."""


@dataclass(frozen=True)
class ControlPlane:
    """A running control plane. ``admin`` has all permissions."""

    folder: Path
    server: str
    api_pid: int

    @property
    def ca_file(self) -> Path:
        return self.folder / "pki" / "ca.crt"

    def admin(self) -> httpx.Client:
        return admin_client(self.folder, self.server)

    @property
    def kubectl(self) -> str:
        """Return the control plane's own kubectl if it has one, or the one on PATH."""
        own = self.folder / "kubectl"
        return str(own) if own.exists() else str(shutil.which("kubectl"))

    def anonymous(self) -> httpx.Client:
        """Return a client without credentials, for callers that have their own."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        return httpx.Client(base_url=self.server, verify=context, timeout=30, trust_env=False)

    @contextlib.contextmanager
    def namespace(self, labels: Mapping[str, str] | None = None) -> Iterator[Namespace]:
        """Yield a new namespace whose ServiceAccount ``dispatcher`` may manage agents' Jobs."""
        with self.admin() as admin:
            name = f"t{os.urandom(5).hex()}"
            body = {"metadata": {"name": name, "labels": dict(labels or {})}}
            checked(admin.post("/api/v1/namespaces", json=body))
            try:
                made = Namespace(self, name, admin)
                made.grant()
                wait_for(lambda: admin.get(f"{made.core}/serviceaccounts/default").is_success)
                yield made
            finally:
                with contextlib.suppress(httpx.HTTPError):
                    admin.delete(f"/api/v1/namespaces/{name}")


@dataclass
class Namespace:
    """One namespace of a control plane, for a test that acts as administrator."""

    plane: ControlPlane
    name: str
    admin: httpx.Client

    @property
    def core(self) -> str:
        return f"/api/v1/namespaces/{self.name}"

    @property
    def jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self.name}/jobs"

    def grant(self, rules: list[dict[str, Any]] | None = None) -> None:
        """Create the ServiceAccount ``dispatcher`` with rules, by default ``agent_rules()``."""
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.name}"
        account = {"metadata": {"name": "dispatcher"}}
        checked(self.admin.post(f"{self.core}/serviceaccounts", json=account))
        role = {
            "metadata": {"name": "dispatcher"},
            "rules": agent_rules() if rules is None else rules,
        }
        checked(self.admin.post(f"{rbac}/roles", json=role))
        binding = {
            "metadata": {"name": "dispatcher"},
            "roleRef": {
                "kind": "Role",
                "name": "dispatcher",
                "apiGroup": "rbac.authorization.k8s.io",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "dispatcher", "namespace": self.name}],
        }
        checked(self.admin.post(f"{rbac}/rolebindings", json=binding))

    def revoke(self) -> None:
        """Remove the ServiceAccount's permissions, and wait until the API server applies it."""
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.name}"
        checked(self.admin.delete(f"{rbac}/rolebindings/dispatcher"))
        headers = {"impersonate-user": f"system:serviceaccount:{self.name}:dispatcher"}
        wait_for(lambda: self.admin.get(self.jobs, headers=headers).status_code == 403)

    def token(self) -> str:
        """Return a new token of the ServiceAccount ``dispatcher``."""
        answer = checked(
            self.admin.post(f"{self.core}/serviceaccounts/dispatcher/token", json={"spec": {}})
        )
        return str(answer.json()["status"]["token"])

    def get_job(self, name: str) -> dict[str, Any] | None:
        answer = self.admin.get(f"{self.jobs}/{name}")
        return None if answer.status_code == 404 else dict(checked(answer).json())

    def list_jobs(self) -> list[dict[str, Any]]:
        return list(checked(self.admin.get(self.jobs)).json()["items"])

    def pods(self, job: str = "") -> list[dict[str, Any]]:
        selector = {"labelSelector": f"batch.kubernetes.io/job-name={job}"} if job else {}
        return list(checked(self.admin.get(f"{self.core}/pods", params=selector)).json()["items"])

    def quota(self, **hard: str) -> None:
        """Set a ResourceQuota, and wait until it is enforced."""
        limits = {name.replace("_", "."): value for name, value in hard.items()}
        if "jobs" in limits:
            limits["count/jobs.batch"] = limits.pop("jobs")
        path = f"{self.core}/resourcequotas"
        body = {"metadata": {"name": "limit"}, "spec": {"hard": limits}}
        checked(self.admin.post(path, json=body))
        wait_for(lambda: self.admin.get(f"{path}/limit").json().get("status", {}).get("hard"))


def agent_rules() -> list[dict[str, Any]]:
    """Return the rules of the component cronjobs/components/agents. The tests use only these."""
    text = (Path(__file__).parents[2] / "cronjobs/components/agents/role.yaml").read_text("utf-8")
    [role] = [each for each in yaml.safe_load_all(text) if each["kind"] == "Role"]
    return list(role["rules"])


def checked(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.text[:500]}"
    return answer


def wait_for(condition: Callable[[], Any], seconds: float = 30.0, pause: float = 0.02) -> Any:
    """Poll until the condition is true. Return its value."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"not true within {seconds:g} s"
        time.sleep(pause)


def admin_client(folder: Path, server: str) -> httpx.Client:
    pki = folder / "pki"
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    limits = httpx.Limits(max_connections=500, max_keepalive_connections=50)
    return httpx.Client(base_url=server, verify=context, timeout=30, trust_env=False, limits=limits)


def control_plane_of_this_run(
    factory: pytest.TempPathFactory,
) -> contextlib.AbstractContextManager[ControlPlane]:
    """Return the control plane that all workers of this test run share."""
    base = factory.getbasetemp()
    # Each worker of xdist has its own folder in the folder of the run.
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return control_plane(folder / "kubernetes")


@contextlib.contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Yield the control plane of this test run. The first worker starts it."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            reason = f"no {program} on PATH: these tests need a Kubernetes control plane"
            if os.environ.get("DOLT_WATCH_TEST_KUBERNETES") == "required":
                pytest.fail(f"{reason} (DOLT_WATCH_TEST_KUBERNETES=required)", pytrace=False)
            pytest.skip(reason)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users.lock").open("w") as users, (folder / "start.lock").open("w") as starting:
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(starting, fcntl.LOCK_EX)
        if not (folder / "ready.json").exists():
            _launch(folder)
        fcntl.flock(starting, fcntl.LOCK_UN)
        found = json.loads((folder / "ready.json").read_text("utf-8"))
        yield ControlPlane(folder, found["server"], found["api_pid"])
    # It ends now, unless other workers use it.
    for process in _launched:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)


_launched: list[subprocess.Popen[bytes]] = []
"""The supervisor, if this process started it."""


def _launch(folder: Path) -> None:
    log = (folder / "supervisor.log").open("ab")
    command = [sys.executable, "-m", "tests.support.kubernetes", str(folder)]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        command, cwd=root, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    log.close()
    _launched.append(process)
    deadline = time.monotonic() + START_TIMEOUT
    while not (folder / "ready.json").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            stop(process)
            logs = "\n".join(
                f"{file.name}: {file.read_text('utf-8', 'replace')[-1500:]}"
                for file in sorted(folder.glob("*.log"))
            )
            raise RuntimeError(f"the control plane did not start:\n{logs}")
        time.sleep(0.05)


# -- the supervisor process --------------------


def make_certificates(pki: Path) -> None:
    """Create a CA, and certificates for the API server, the node and the three clients."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=pki, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        "req",
        "-x509",
        *key,
        "-days",
        "30",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
        "-subj",
        "/CN=test-ca",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    )
    server = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth"
    client = "extendedKeyUsage=clientAuth"
    for name, subject, extension in (
        ("api", "/CN=kube-apiserver", server),
        ("admin", "/O=system:masters/CN=admin", client),
        ("controllers", "/CN=system:kube-controller-manager", client),
        ("scheduler", "/CN=system:kube-scheduler", client),
    ):
        extensions = f"{extension}\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
        (pki / f"{name}.ext").write_text(
            extensions + "keyUsage=critical,digitalSignature\n", "utf-8"
        )
        request = ("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        openssl("req", *key, *request)
        openssl(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "30",
            "-out",
            f"{name}.crt",
            "-extfile",
            f"{name}.ext",
        )
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key")
    openssl("ec", "-in", "sa.key", "-pubout", "-out", "sa.pub")


class Supervisor:
    """A process that starts the programs, restarts a killed API server, and stops all programs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pki = folder, folder / "pki"
        self.etcd_port, self.api_port = free_port(), free_port()
        self.server = f"https://127.0.0.1:{self.api_port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self.pki.mkdir(exist_ok=True)
        make_certificates(self.pki)
        peer = f"http://127.0.0.1:{free_port()}"
        url = f"http://127.0.0.1:{self.etcd_port}"
        self._spawn(
            "etcd",
            f"--data-dir={self.folder}/etcd",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        )
        self.start_api_server()
        with admin_client(self.folder, self.server) as admin:
            self._wait_until_ready(admin)
            arguments = ("--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=0")
            self._spawn(
                "kube-controller-manager",
                f"--kubeconfig={self._kubeconfig('controllers')}",
                f"--service-account-private-key-file={self.pki}/sa.key",
                f"--root-ca-file={self.pki}/ca.crt",
                "--use-service-account-credentials=true",
                f"--controllers={','.join(CONTROLLERS)}",
                "--concurrent-job-syncs=20",
                "--kube-api-qps=500",
                "--kube-api-burst=500",
                *arguments,
            )
            self._spawn(
                "kube-scheduler",
                f"--kubeconfig={self._kubeconfig('scheduler')}",
                "--kube-api-qps=500",
                "--kube-api-burst=500",
                *arguments,
            )
            self._kubeconfig("admin")
            self._link_kubectl()
            node = StandInNode(admin, self.pki, self.folder / "pods")
            node.start()
            path = "/api/v1/namespaces/default/serviceaccounts/default"
            wait_for(lambda: admin.get(path).is_success, START_TIMEOUT)
            self._run(admin, node)

    def start_api_server(self) -> None:
        self._spawn(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.api_port}",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--client-ca-file={self.pki}/ca.crt",
            f"--tls-cert-file={self.pki}/api.crt",
            f"--tls-private-key-file={self.pki}/api.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.pki}/sa.pub",
            f"--service-account-signing-key-file={self.pki}/sa.key",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
        )

    def stop(self) -> None:
        for process in reversed(list(self.processes.values())):
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()

    def _run(self, admin: httpx.Client, node: StandInNode) -> None:
        """Serve until no worker holds the shared lock."""
        try:
            self._publish()
            with (self.folder / "users.lock").open("w") as users:
                while not _try_lock(users):
                    time.sleep(0.2)
                    if self.processes["kube-apiserver"].poll() is not None:
                        self.start_api_server()
                        self._wait_until_ready(admin)
                        self._publish()
                (self.folder / "ready.json").unlink()
        finally:
            node.stop()

    def _publish(self) -> None:
        found = {"server": self.server, "api_pid": self.processes["kube-apiserver"].pid}
        temporary = self.folder / "ready.tmp"
        temporary.write_text(json.dumps(found), "utf-8")
        temporary.rename(self.folder / "ready.json")

    def _wait_until_ready(self, admin: httpx.Client) -> None:
        def is_ready() -> bool:
            assert self.processes["kube-apiserver"].poll() is None, "the API server ended"
            with contextlib.suppress(httpx.HTTPError):
                return admin.get("/readyz").text == "ok"
            return False

        wait_for(is_ready, START_TIMEOUT)

    def _spawn(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.log").open("ab") as log:
            self.processes[program] = subprocess.Popen(
                [program, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )

    def _link_kubectl(self) -> None:
        """Link kubectl to the common binary, which acts as the program that its name says."""
        program = shutil.which("kube-apiserver")
        assert program is not None
        binary = Path(program).resolve()
        if binary.name != "kube-apiserver":
            (self.folder / "kubectl").symlink_to(binary)

    def _kubeconfig(self, user: str) -> Path:
        credentials = {
            "client-certificate": f"{self.pki}/{user}.crt",
            "client-key": f"{self.pki}/{user}.key",
        }
        cluster = {"server": self.server, "certificate-authority": f"{self.pki}/ca.crt"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": credentials}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }
        path = self.folder / f"{user}.kubeconfig"
        path.write_text(json.dumps(config), "utf-8")
        return path


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main() -> None:
    supervisor = Supervisor(Path(sys.argv[1]))
    try:
        supervisor.start()
    finally:
        supervisor.stop()


if __name__ == "__main__":
    main()
