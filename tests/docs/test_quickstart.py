"""docs/quickstart.md, command by command, in a home folder where there is nothing."""

from __future__ import annotations

import os
import signal
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.docs.conftest import ROOT
from tests.docs.shell import Shell, check, steps
from tests.support.beads import standin
from tests.support.servers import free_port, own_dolt, start_dolt

PAGE = ROOT / "docs/quickstart.md"


@pytest.fixture
def shell(fresh: dict[str, str], tmp_path: Path) -> Iterator[Shell]:
    """A shell in the folder of the project.

    The stand-in for bd starts no server: there is one for it, by BEADS_DOLT_SERVER_PORT.
    """
    with ExitStack() as servers:
        if standin():
            (tmp_path / "server").mkdir()
            started = servers.enter_context(start_dolt(own_dolt(), tmp_path / "server"))
            fresh |= {"BEADS_DOLT_SERVER_PORT": str(started.address.port)}
        yield from opened(fresh)


def opened(fresh: dict[str, str]) -> Iterator[Shell]:
    own_dolt()
    # Installed for real, by pip, from the tree; what it depends on is taken from here, so that
    # no package index is asked.
    pip = {
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
    }
    started = Shell(ROOT, fresh | pip, {"3000": str(free_port())})
    yield started
    started.close()
    with suppress(OSError, ValueError):  # bd's server, where the page did not come to its end
        os.kill(
            int((Path(fresh["HOME"]) / "tracker/.beads/dolt-server.pid").read_text()),
            signal.SIGKILL,
        )


@pytest.mark.long
def test_from_nothing_to_a_dispatched_bead(shell: Shell, fresh: dict[str, str]) -> None:
    for step in steps(PAGE):
        if standin() and step.command.startswith("bd dolt stop"):
            continue  # its server is the test's: bd started none
        check(step, *shell.run(step.command), PAGE.name)
    assert not (Path(fresh["HOME"]) / "tracker").exists()
