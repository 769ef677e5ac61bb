"""The command line itself, as a process: config, exit codes, and what is not imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from dolt_watch.cli import COMMANDS
from tests.support import forked


def run(cwd: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DOLT_WATCH_", "BEAD"))
    }
    return forked.dolt_watch(args, cwd=cwd, env={**clean, **env})


def test_config_in_eighty_columns(tmp_path: Path) -> None:
    url = "dolt://somebody@" + "a-very-long-host-name." * 5 + "example/beads"
    done = run(
        tmp_path,
        "config",
        "--set",
        "rules.agent.max_attempts=3",
        DOLT_WATCH_DATABASE=url,
        BEADS_DOLT_PASSWORD="pa55",
    )
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "********" in done.stdout and "pa55" not in done.stdout


def test_config_as_json(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "config",
        "--format",
        "json",
        "--database",
        "doltlite:///x.db",
        "--set",
        "settle=9s",
    )
    tree = json.loads(done.stdout)
    assert tree["database"] == {
        "value": "doltlite:///x.db",
        "origin": "--database",
        "secret": False,
    }
    assert tree["settle"] == {"value": "9s", "origin": "--set settle", "secret": False}


@pytest.mark.parametrize("place", ["before", "after"])
def test_an_error_has_a_traceback_with_debug_only(tmp_path: Path, place: str) -> None:
    done = run(tmp_path, "config", "--set", "settle=30x", "--database", "dolt://h/d")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("error: settle is a duration")
    assert "  where: --set settle" in done.stderr and "  fix:   " in done.stderr
    assert "Traceback" not in done.stderr
    args = ["config", "--set", "settle=30x", "--database", "dolt://h/d"]
    debug = run(tmp_path, *(["--debug", *args] if place == "before" else [*args, "--debug"]))
    assert (debug.returncode, "Traceback" in debug.stderr) == (2, True)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_listed_command_is_there(name: str) -> None:
    assert isinstance(import_module(f"dolt_watch.cli.{name}").command, click.Command)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [(["confg"], 2, "did you mean config?"), (["config", "--x"], 2, "--x")],
)
def test_usage(tmp_path: Path, args: list[str], code: int, said: str) -> None:
    done = run(tmp_path, *args)
    assert done.returncode == code
    assert said in done.stderr


def test_help_and_version_import_no_command(tmp_path: Path) -> None:
    code = (
        "import sys; from dolt_watch.cli import group\nfor args in (['--help'], ['--version']):"
        " group.main(args, standalone_mode=False)\nprint([m for m in sys.modules if"
        " m.startswith(('dolt_watch.cli.', 'dolt_watch.config', 'sqlglot', 'pymysql'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        ("KeyboardInterrupt()", 130, ""),
        ("ValueError('odd\\x1b')", 1, "error: ValueError: odd\\x1b (run with --debug"),
    ],
)
def test_what_nobody_foresaw(tmp_path: Path, error: str, code: int, said: str) -> None:
    program = (
        "import sys, dolt_watch.cli as cli, click\n"
        f"def broken(): raise {error}\n"
        "cli.group.add_command(click.Command('config', callback=broken))\n"
        "cli.LazyGroup.get_command = click.Group.get_command\n"
        "sys.argv = ['dolt_watch', 'config']; cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stderr.startswith(said) and "Traceback" not in done.stderr
