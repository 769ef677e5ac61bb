"""``init``: the settings file and the next steps."""

from __future__ import annotations

import resource
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolt_watch.cli.init import _write
from dolt_watch.config import load
from dolt_watch.engines.address import FileAddress
from dolt_watch.errors import SettingsError
from tests.support.commands import Commands, commands


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        yield made


def test_it_ends_with_the_next_steps(cli: Commands) -> None:
    done = cli.run("init")
    assert (done.returncode, done.stderr) == (0, "")
    _, steps = done.stdout.split("\nNext:\n")
    for command in (
        "dolt_watch doctor",
        "bd create",
        "dolt_watch tick --dry-run",
        "dolt_watch run",
    ):
        assert command in steps
    assert not (cli.folder / "dolt_watch.toml").exists()


def test_it_writes_a_settings_file_once(cli: Commands) -> None:
    file = cli.folder / "dolt_watch.toml"
    done = cli.run("init", "--write-config", "--set", "rules.agent.stale_after=15m")
    assert done.returncode == 0, done.stderr
    assert f"wrote {file}" in done.stdout.splitlines()
    before = file.read_text("utf-8")
    assert tomllib.loads(before)["rules"]["agent"] == {"stale_after": "15m"}
    assert cli.run("config").returncode == 0
    again = cli.run("init", "--write-config")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith(f"error: {file} exists, and is never overwritten.\n")
    assert file.read_text("utf-8") == before


def test_it_does_not_write_through_a_link(cli: Commands, tmp_path: Path) -> None:
    elsewhere = cli.folder / "elsewhere.toml"
    (cli.folder / "dolt_watch.toml").symlink_to(elsewhere)
    assert cli.run("init", "--write-config").returncode == 2
    assert not elsewhere.exists()


def test_the_file_is_next_to_the_tracker(cli: Commands) -> None:
    below = cli.folder / "src" / "deep"
    below.mkdir(parents=True)
    (cli.folder / ".beads").mkdir()
    done = cli.run("init", "--write-config", cwd=below)
    assert done.returncode == 0, done.stderr
    assert (cli.folder / "dolt_watch.toml").exists() and not list(below.iterdir())


def test_if_needed_migrates_only_if_a_table_is_missing(cli: Commands) -> None:
    """A clone has the committed tables, but not the tables that never enter history."""
    assert cli.run("init").returncode == 0
    assert cli.run("init", "--if-needed").stdout == "migrated: already up to date\n"
    cli.here.engine.execute_ddl("DROP TABLE watch_attempt")
    done = cli.run("init", "--if-needed")
    assert (done.returncode, done.stderr) == (0, "")
    assert "waiting to be dispatched: 0" in done.stdout
    assert "Next:" not in done.stdout
    assert cli.run("init", "--if-needed").stdout == "migrated: already up to date\n"


def test_a_full_disk_leaves_no_part_of_the_settings(tmp_path: Path) -> None:
    """A part of the settings would count as all of them."""
    settings = load({"database": "dolt://h/d"}, {}, tmp_path)
    file, before = tmp_path / "dolt_watch.toml", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(SettingsError, match="Can't write"):
            _write(file, settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not file.exists()


@pytest.mark.parametrize(
    "other", [("--print-grants", "ann"), ("--write-config",), ("--if-needed",)]
)
def test_no_option_is_ignored(cli: Commands, other: tuple[str, ...]) -> None:
    done = cli.run("init", "--print-sql", *other)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: --print-sql only prints. Omit {other[0]}." in done.stderr
