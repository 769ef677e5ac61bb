"""The target ``kubernetes`` passes the conformance suite on a real control plane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from dolt_watch.targets.kubernetes.settings import KubernetesSettings
from dolt_watch.targets.kubernetes.target import KubernetesTarget
from dolt_watch.testing import ServiceHarness, TargetConformance
from tests.support.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.support.kubernetes import ControlPlane, Namespace, control_plane_of_this_run


class KubernetesRig:
    """A namespace of the control plane, behind a proxy that can fail."""

    kind = "kubernetes"
    secrets: Sequence[str] = ()

    def __init__(self, namespace: Namespace, proxy: FaultProxy, folder: Path) -> None:
        self.namespace, self.proxy = namespace, proxy
        self.token_file = folder / "token"
        token = namespace.token()
        self.token_file.write_text(token, "utf-8")
        self.secrets = (token,)
        self.targets: list[KubernetesTarget] = []

    def target(self) -> KubernetesTarget:
        settings = KubernetesSettings(
            "cluster",
            timeout=timedelta(seconds=2),
            server=self.proxy.url,
            namespace=self.namespace.name,
            token_file=self.token_file,
            ca_file=self.namespace.plane.ca_file,
            image="stand-in",
            command=("sleep", "60"),
        )
        self.targets.append(KubernetesTarget(settings, {}))
        return self.targets[-1]

    def runs(self) -> list[str]:
        """Return the beads of the Jobs that aren't tombstones."""
        return [
            job["metadata"]["annotations"]["dolt-watch.dev/bead"]
            for job in self.namespace.list_jobs()
            if not job["spec"].get("suspend")
        ]

    def stop_responding(self) -> None:
        for target in self.targets:
            target.timeout = 0.5  # Tests wait for the whole timeout.
        self.proxy.always = Fault.HANG

    def respond_with_garbage(self) -> None:
        self.proxy.always = Fault.GARBAGE

    def shut_down(self) -> None:
        self.proxy.stop()


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane_of_this_run(tmp_path_factory) as found:
        yield found


class TestKubernetes(TargetConformance):
    @pytest.fixture
    def rig(self, plane: ControlPlane, tmp_path: Path) -> Iterator[ServiceHarness]:
        with plane.namespace() as namespace, fault_proxy(plane) as proxy:
            yield KubernetesRig(namespace, proxy, tmp_path)
