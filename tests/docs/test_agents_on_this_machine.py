"""The guide to agents on this machine has valid settings, and its lists match the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from dolt_watch.config import load
from dolt_watch.targets.local import environment
from dolt_watch.targets.local.settings import LocalSettings
from dolt_watch.targets.local.usage_limits import PRESETS, UsageLimits
from tests.docs.conftest import ROOT
from tests.docs.test_recipes import blocks, check_command

PAGE = "agents-on-this-machine"
TEXT = (ROOT / f"docs/recipes/{PAGE}.md").read_text("utf-8")


def test_its_settings(tmp_path: Path) -> None:
    (tmp_path / "dolt_watch.toml").write_text(blocks(PAGE, "toml")[0], "utf-8")
    settings = load({"database": "dolt://root@localhost:3306/beads"}, {"HOME": "/h"}, tmp_path)
    target = settings.targets["claude"]
    assert isinstance(target, LocalSettings) and target.repo == tmp_path
    assert target.root is not None and str(target.root).startswith("/h/.local/state/dolt_watch/")


def test_its_usage_limits() -> None:
    for line in blocks(PAGE, "toml")[1].splitlines():
        UsageLimits(tomllib.loads(line)["rest_on"])
    assert LocalSettings("x").rest_on == tuple(PRESETS)


def test_its_argv_lines() -> None:
    lines = [
        tomllib.loads(f"argv = {text}")["argv"] for text in re.findall(r"`(\[\"[^`]*\])` \|", TEXT)
    ]
    assert len(lines) == 5
    for argv in lines:
        assert all(isinstance(each, str) for each in argv)


def test_its_allow_list() -> None:
    listed = TEXT.split("**Its environment is an allow-list**")[1].split(
        "A variable that you need"
    )[0]
    names = {name.partition("=")[0] for name in re.findall(r"`([^`]+)`", listed)}
    assert names == {*environment.ALLOWED, *environment.OWN}


def test_its_commands() -> None:
    for command in re.findall(r"`(dolt_watch [^`]*)`", TEXT):
        words = command.split(" --reason")[0].split()
        if words[1] in ("logs", "stop", "doctor", "run", "tick", "retry"):
            check_command(words[:2])


def test_its_unit_keeps_agents_alive() -> None:
    (unit,) = blocks(PAGE, "ini")
    assert "KillMode=process" in unit
