"""docs/quickstart.md, command by command, in an empty home folder."""

from __future__ import annotations

import json
import os
import re
import signal
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from dolt_watch.config import load
from dolt_watch.targets.local.settings import LocalSettings
from tests.conftest import Once
from tests.docs.conftest import ROOT
from tests.docs.shell import Shell, check, steps, steps_of
from tests.support.beads import standin
from tests.support.servers import own_dolt, start_dolt
from tests.support.wheel import build

PAGE = ROOT / "docs/quickstart.md"
TABLE = re.findall(r"`(\[\".*?\])` \|", PAGE.read_text("utf-8"))
assert len(TABLE) == 2
BD_STARTS = 0.5
"""Seconds from the start of bd to its first statement on a busy machine."""


@pytest.fixture
def shell(fresh: dict[str, str], tmp_path: Path, once: Once) -> Iterator[Shell]:
    """Yield a shell in an empty home folder.

    The stand-in for bd starts no server, so BEADS_DOLT_SERVER_PORT names one.
    """
    with ExitStack() as servers:
        program = own_dolt()
        if standin():
            (tmp_path / "server").mkdir()
            started = servers.enter_context(start_dolt(program, tmp_path / "server"))
            fresh |= {"BEADS_DOLT_SERVER_PORT": str(started.address.port)}
        yield from opened(fresh, once("wheel", build))


def opened(fresh: dict[str, str], wheel: Path) -> Iterator[Shell]:
    # pip installs this tree's wheel. Its dependencies come from this environment, so that pip asks
    # no package index.
    pip = {
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_FIND_LINKS": str(wheel),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    started = Shell(Path(fresh["HOME"]), fresh | pip)
    yield started
    started.close()
    with suppress(OSError, ValueError):  # End bd's server if the page stopped early.
        os.kill(
            int((Path(fresh["HOME"]) / "project/.beads/dolt-server.pid").read_text()),
            signal.SIGKILL,
        )


@pytest.mark.long
def test_from_nothing_to_an_agent_at_work(shell: Shell, fresh: dict[str, str]) -> None:
    if standin():
        # bd takes longer to start, so an agent's first note comes after the dispatch is recorded.
        shell.swaps['bd note "$BEAD_ID"'] = f'sleep {BD_STARTS}; bd note "$BEAD_ID"'
    for step in steps(PAGE):
        if standin() and step.command.startswith("bd dolt stop"):
            continue  # bd has started no server.
        if step.command.strip() == "dolt_watch run":
            continue  # It doesn't end, and tests/acceptance runs it.
        check(step, *shell.run(step.command), PAGE.name)
    assert not (Path(fresh["HOME"]) / "project").exists()


def test_at_most_ten_commands_lead_to_an_agent() -> None:
    """Commands that only show a result don't count."""
    way = PAGE.read_text("utf-8").partition("## 6.")[0]
    commands = [step.command for step in steps_of(way)]
    assert len([each for each in commands if "--version" not in each]) <= 10


def test_no_command_needs_the_repository() -> None:
    for page in (PAGE, ROOT / "README.md"):
        for step in steps(page):
            assert "tests" not in step.command
            assert not step.command.startswith("make ")


@pytest.mark.parametrize("line", TABLE)
def test_each_agent_is_one_that_the_settings_accept(line: str, tmp_path: Path) -> None:
    (tmp_path / "dolt_watch.toml").write_text(
        f'[rules.agent]\ntarget = "local"\n[targets.local]\nargv = {line}\n', "utf-8"
    )
    settings = load({"database": "dolt://root@localhost/b"}, {"HOME": "/h"}, tmp_path)
    target = settings.targets["local"]
    assert isinstance(target, LocalSettings)
    assert target.argv == tuple(json.loads(line))


def test_the_settings_in_the_readme_are_accepted(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "dolt_watch.toml").write_text(block, "utf-8")
    settings = load({"database": "dolt://root@localhost/b"}, {"HOME": "/h"}, tmp_path)
    assert isinstance(settings.targets["local"], LocalSettings)
    assert settings.rules[0].target == "local"
