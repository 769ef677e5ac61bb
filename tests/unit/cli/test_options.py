"""The command line as a process: config, options, exit codes and imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from dolt_watch import cli
from dolt_watch.cli import COMMANDS, GROUPS, group
from dolt_watch.cli.config import table
from dolt_watch.config import SettingLine
from tests.support import forked


def run(cwd: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DOLT_WATCH_", "BEAD"))
    }
    return forked.dolt_watch(args, cwd=cwd, env={**clean, **env})


def test_config_in_a_pipe_is_one_line_a_setting(tmp_path: Path) -> None:
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
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert lines["database.host"] == [
        "database.host",
        "a-very-long-host-name." * 5 + "example",
        "DOLT_WATCH_DATABASE",
    ]
    assert lines["rules.agent.max_attempts"][1:] == ["3", "--set", "rules.agent.max_attempts"]
    assert "********" in done.stdout and "pa55" not in done.stdout


def test_config_on_a_terminal_wraps_values_only() -> None:
    value = "failed, give-up, " * 20
    lines = [SettingLine("notify.on", value, ".beads/dolt-server.port"), SettingLine("a", "b", "c")]
    shown = table(lines, 80)
    assert max(map(len, shown)) <= 80 and len(shown) > 5
    assert shown[0].endswith(".beads/dolt-server.port")
    assert not [line for line in shown if line.endswith("give-")]
    assert [len(table(lines, width)) for width in (0, 40, 2000)] == [2, 2, 2]


def test_config_as_toml_is_a_settings_file(tmp_path: Path) -> None:
    done = run(tmp_path, "config", "--format", "toml", "--database", "dolt://h/d")
    (tmp_path / "dolt_watch.toml").write_text(done.stdout, "utf-8")
    again = run(tmp_path, "config", "--format", "toml")
    assert (again.returncode, again.stdout) == (0, done.stdout)


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
    assert done.stderr.splitlines()[0].startswith("error: settle must be a duration")
    assert "  where: --set settle" in done.stderr and "  fix:   " in done.stderr
    assert "Traceback" not in done.stderr
    args = ["config", "--set", "settle=30x", "--database", "dolt://h/d"]
    debug = run(tmp_path, *(["--debug", *args] if place == "before" else [*args, "--debug"]))
    assert (debug.returncode, "Traceback" in debug.stderr) == (2, True)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_listed_command_is_there(name: str) -> None:
    assert isinstance(import_module(f"dolt_watch.cli.{name}").command, click.Command)


@pytest.mark.parametrize(
    ("args", "message", "fix"),
    [
        (["confg"], "There is no command 'confg'.", "Did you mean config?"),
        (["config", "--formt"], "There is no option --formt.", "Did you mean --format?"),
        (["config", "--x"], "There is no option --x.", "Run `dolt_watch config --help`."),
        (["config", "x"], "Got unexpected extra argument (x).", "`dolt_watch config --help`."),
        (["why"], "The argument BEAD_ID is missing.", "Run `dolt_watch why --help`."),
        (["report"], "Missing option '-o' / '--output'.", "Run `dolt_watch report --help`."),
        (["log", "--limit", "0"], "0 is not in the range x>=1.", "Run `dolt_watch log --help`."),
        (["log", "--limit"], "Option '--limit' requires an argument.", "Run `dolt_watch log"),
        (["run", "--port", "x"], "'x' is not a valid integer range.", "`dolt_watch run --help`."),
        (["config", "--format", "x"], "'x' is not one of 'text', 'json', 'toml'.", "Run `dolt_w"),
        (["report", "-o", "no/x"], "Can't write no/x: No such file or directory.", "Specify a fi"),
        (["demo", "--report", "no/x"], "Can't write no/x: No such file or directory.", "Specify a"),
        (["demo", "--report", ""], "The file name is empty.", "Specify a file name"),
        (["pause", "a", "--reason", "b"], "The reason is specified twice, as an argument", "Omit"),
        (["dispatch", "--now", "2026-04-18"], "--now requires --dry-run: a live tick", "Add --dry"),
        (["run", "--host", "::1"], "--host requires an address and --port.", "Use for example"),
        (["retry"], "No bead is specified.", "Specify bead IDs, or --all."),
    ],
)
def test_a_usage_error_is_an_error_like_all_others(
    tmp_path: Path, args: list[str], message: str, fix: str
) -> None:
    done = run(tmp_path, *args)
    assert (done.returncode, done.stdout) == (2, "")
    first, *rest = done.stderr.splitlines()
    assert first.startswith(f"error: {message}")
    assert rest[-1].startswith("  fix:   ") and fix in rest[-1]
    assert all(line.startswith(("  where: ", "  fix:   ")) for line in rest)


def test_help_lists_every_command_in_a_group(tmp_path: Path) -> None:
    shown = run(tmp_path, "--help").stdout
    places = [shown.index(f"\n{heading}:") for heading in GROUPS]
    assert places == sorted(places) and list(GROUPS) == ["Run", "Inspect", "Control", "Set up"]
    listed = {path.stem for path in Path(cli.__file__).parent.glob("*.py")}
    for name, line in COMMANDS.items():
        assert name in listed and line.endswith(".")
        assert f"  {name} " in shown


METAVARS = {
    *("FILE", "URL", "KEY=VALUE", "TIME", "TIMESTAMP", "DURATION", "RULE", "BEAD_ID", "TEXT"),
    *("N", "KIND", "PORT", "ADDRESS", "USER", "EXPRESSION"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_options_look_the_same_everywhere(name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    shown = command.get_help(click.Context(command, show_default=True, info_name=name))
    assert f"Example:\n    dolt_watch {name}" in shown
    shown = " ".join(shown.split())
    for each in command.params:
        if isinstance(each, click.Option):
            assert each.help, each.name
            if not each.is_flag and not isinstance(each.type, click.Choice):
                assert each.metavar in METAVARS, each.name
            if isinstance(each.default, str | float) and not each.is_flag:
                assert f"[default: {each.default}" in shown, each.name
        elif each.name in ("bead", "beads"):
            assert (each.metavar or "").strip("[").startswith("BEAD_ID")


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


@pytest.mark.parametrize(
    "args",
    [
        *[(name,) for name in ("status", "why", "logs", "retry", "release", "stop")],
        *[(name, "--bead") for name in ("log", "events", "report")],
        *[(name, "--rule") for name in ("log", "status", "pause", "resume", "retry", "replay")],
    ],
)
def test_an_argument_that_is_not_utf_8(tmp_path: Path, args: tuple[str, ...]) -> None:
    done = run(tmp_path, *args, "bd-\udcff")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: 'bd-\\\\udcff' is not UTF-8.\n  where: ")
