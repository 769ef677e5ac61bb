"""The kill switch: ``pause`` and ``resume``, with author, end and messages."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator

import pytest

from dolt_watch.cli.composition import ledger
from dolt_watch.cli.options import current_user
from dolt_watch.core.model import GLOBAL, Decision, EntryKind
from dolt_watch.engines.address import FileAddress
from tests.support.commands import Commands, commands


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        yield made


@pytest.mark.parametrize(
    "error", [KeyError("getpwuid(): uid not found: 10001"), OSError("No username set")]
)
def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def nobody() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert current_user() == f"uid {os.getuid()}"


def ago(cli: Commands, span: str) -> str:
    """Return a timestamp relative to the current time."""
    return (
        str(cli.here.engine.query(f"SELECT datetime('now', '{span}')")[0][0]).replace(" ", "T")
        + "Z"
    )


def test_an_end_that_is_over_is_refused(cli: Commands) -> None:
    assert cli.run("pause", "--reason", "for ever").returncode == 0
    done = cli.run("pause", "--reason", "lunch", "--until", ago(cli, "-1 minute"))
    assert (done.returncode, cli.decisions()) == (2, 1)
    assert "--until must be in the future" in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("pause", "--reason", "x", "--until", ""),
        ("pause", "--reason", "x", "--until", "0s"),
        ("pause", "--reason", "x", "--until", "-2h"),
        ("pause", "--reason", "x", "--until", "9999-12-31T23:59:59-12:00"),
        ("pause", "--reason", ""),
        ("pause", "--reason", "x" * 501),
        ("pause", "--reason", "x", "--rule", ""),
        ("resume", "--reason", " "),
        ("dispatch", "--dry-run", "--now", ""),
        ("dispatch", "--dry-run", "--now", "9999-12-31T23:59:59-12:00"),
        ("dispatch", "--dry-run", "--now", "9999-12-31T23:59:59Z"),
        ("dispatch", "--dry-run", "--now", "0001-01-01T00:00:00Z"),
        ("log", "--since", ""),
        ("why", "bd-a", "--as-of", "9999-12-31T23:59:59Z"),
    ],
)
def test_what_is_no_time_and_no_reason_is_refused(cli: Commands, args: tuple[str, ...]) -> None:
    cli.here.assign("bd-a")
    done = cli.run(*args)
    assert (done.returncode, cli.decisions()) == (2, 0), done
    assert "Traceback" not in done.stderr and "OverflowError" not in done.stderr


def test_it_says_until_when_and_what_it_replaces(cli: Commands) -> None:
    first = cli.run("pause", "--reason", "lunch")
    assert first.stdout == "paused all rules, until resumed, reaping continues: lunch\n"
    second = cli.run(
        "pause", "--reason", "\x1b[31mdinner", "--until", "2h", "--all"
    ).stdout.splitlines()
    assert second[0].startswith("paused all rules, until 2") and second[0].endswith(
        "Z, reaping too: \\x1b[31mdinner"
    )
    assert second[1] == "replaced: all rules, until resumed, reaping continues: lunch"
    assert cli.run("pause", "--reason", "agents", "--rule", "agent").stdout.count("\n") == 1


def test_status_shows_what_stands(cli: Commands) -> None:
    over = {"until": ago(cli, "-1 day"), "reaping": False, "by": "ann"}
    ledger(cli.here.engine, cli.here.settings).record(
        Decision(EntryKind.PAUSE, GLOBAL, "agent", 0, "", reason="yesterday", detail=over)
    )
    assert "paused" not in cli.run("status").stdout
    cli.run("pause", "--reason", "lunch", "--all", "--until", "2999-01-01T00:00:00Z")
    line = (
        f"paused:   all rules, until 2999-01-01T00:00:00Z, reaping too: lunch (by {current_user()})"
    )
    assert line in cli.run("status").stdout.splitlines()
    told = json.loads(cli.run("status", "--format", "json").stdout)
    assert told["pauses"] == ["lunch"]
    assert [(one["rule"], one["until"], one["reaping"]) for one in told["paused"]] == [
        ("", "2999-01-01T00:00:00+00:00", True)
    ]


def test_resume_says_what_still_stands(cli: Commands) -> None:
    assert (
        "nothing to resume: no rule is paused or halted, and no bead is held"
        in cli.run("resume").stdout
    )
    assert cli.decisions() == 0
    cli.run("pause", "--reason", "lunch")
    still = "still paused: all rules, until resumed, reaping continues: lunch"
    told = cli.run("resume", "--rule", "agent").stdout.splitlines()
    assert told == [
        "nothing to resume: rule agent is not paused or halted, and no bead is held",
        still,
    ]
    cli.run("pause", "--reason", "agents", "--rule", "agent")
    assert cli.run("resume", "--rule", "agent").stdout.splitlines() == [
        "resumed rule agent, but all rules are paused",
        still,
    ]
    assert (cli.run("resume").stdout, cli.decisions()) == ("resumed all rules\n", 4)


@pytest.mark.parametrize(
    "damage",
    [
        "rules = '{'",
        "compiled = '[]'",
        "hashes = '{\"issues\":1}'",
        "reap_due = 'x'",
    ],
)
def test_it_does_not_depend_on_the_saved_state(cli: Commands, damage: str) -> None:
    cli.run("tick")
    with cli.here.engine.transaction() as tx:
        tx.execute(f"UPDATE watch_cursor SET {damage}")
        tx.commit()
    done = cli.run("tick")
    assert done.returncode == 3 and "error: The row of watch_cursor is damaged" in done.stderr
    assert cli.run("doctor").returncode == 3
    done = cli.run("pause", "--reason", "lunch")
    assert (done.returncode, done.stderr, cli.decisions()) == (0, "", 1)
    with cli.here.engine.transaction() as tx:
        tx.execute("DELETE FROM watch_cursor")
        tx.commit()
    assert cli.run("init").returncode == 0
    assert "paused:   all rules" in cli.run("status").stdout
