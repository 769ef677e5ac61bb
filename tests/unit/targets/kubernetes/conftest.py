"""Fixtures for a namespace on the real control plane and for targets in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.targets.kubernetes.settings import KubernetesSettings
from dolt_watch.targets.kubernetes.target import KubernetesTarget
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.kubernetes import ControlPlane, Namespace, control_plane_of_this_run

MakeTarget = Callable[..., KubernetesTarget]


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane_of_this_run(tmp_path_factory) as found:
        yield found


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[Namespace]:
    with plane.namespace() as made:
        yield made


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[FaultProxy]:
    with fault_proxy(plane) as made:
        yield made


@pytest.fixture
def settings(namespace: Namespace, tmp_path: Path) -> KubernetesSettings:
    """Return the settings of an agent that ends at once, with the ServiceAccount's own rights."""
    token = tmp_path / "token"
    token.write_text(namespace.token(), "utf-8")
    return KubernetesSettings(
        "cluster",
        timeout=timedelta(seconds=10),
        server=namespace.plane.server,
        namespace=namespace.name,
        token_file=token,
        ca_file=namespace.plane.ca_file,
        image="stand-in",
        command=("true",),
    )


@pytest.fixture
def make_target(settings: KubernetesSettings) -> Iterator[MakeTarget]:
    """Yield a factory of targets with changed settings."""
    made: list[KubernetesTarget] = []

    def make(**changes: Any) -> KubernetesTarget:
        made.append(KubernetesTarget(replace(settings, **changes), {}))
        return made[-1]

    yield make
    for target in made:
        target.close()
