"""The control plane of this test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kubernetes import ControlPlane, control_plane_of_this_run


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane_of_this_run(tmp_path_factory) as found:
        yield found
