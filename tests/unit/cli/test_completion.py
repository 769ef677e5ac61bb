"""Shell completion of commands, bead IDs, rules and settings, for both spellings of the program."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from dolt_watch.cli.completion import SECONDS
from dolt_watch.engines.address import FileAddress
from tests.support.commands import Commands, commands


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        made.here.assign("bd-a3f")
        made.here.assign("bd-b_7")
        (made.folder / "dolt_watch.toml").write_text("[rules.agent]\n[rules.review]\n", "utf-8")
        yield made


def complete(cli: Commands, line: str, **env: str) -> list[str]:
    """Return bash's completions for a line with an incomplete last word."""
    words = line.split(" ")
    asked = {
        "_DOLT_WATCH_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = cli.run(env={**asked, **env})
    assert (done.returncode, done.stderr) == (0, "")
    return [each.partition(",")[2] for each in done.stdout.splitlines() if each]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("dolt_watch re", ["reap", "report", "replay", "resume", "retry", "release"]),
        ("dolt_watch statsu --fo", []),
        ("dolt_watch why bd-a", ["bd-a3f"]),
        ("dolt_watch why bd-b_", ["bd-b_7"]),
        ("dolt_watch why bd-_", []),
        ("dolt_watch retry bd-a3f bd-b", ["bd-b_7"]),
        ("dolt_watch log --bead ", ["bd-a3f", "bd-b_7"]),
        ("dolt_watch pause --rule re", ["review"]),
        ("dolt_watch replay --rule ", ["agent", "review"]),
        ("dolt_watch config --set se", ["settle="]),
        ("dolt_watch config --set rules.review.stale", ["rules.review.stale_after="]),
        ("dolt_watch config --set notify.", ["notify.on=", "notify.target="]),
        ("dolt_watch config --set targets.beadboard.u", ["targets.beadboard.url="]),
    ],
)
def test_what_is_offered(cli: Commands, line: str, offered: list[str]) -> None:
    assert complete(cli, line) == offered


def test_without_a_database_nothing_is_offered(cli: Commands) -> None:
    env = {"DOLT_WATCH_DATABASE": "dolt://u@127.0.0.1:1/beads"}
    assert complete(cli, "dolt_watch why ", **env) == []
    assert complete(cli, "dolt_watch pause --rule ", **env) == ["agent", "review"]
    assert complete(cli, "dolt_watch why ", DOLT_WATCH_DATABASE="nonsense") == []


def test_a_silent_server_does_not_hold_up_the_shell(cli: Commands) -> None:
    """The server accepts the connection, but never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        begun = time.monotonic()
        env = {"DOLT_WATCH_DATABASE": f"dolt://u@127.0.0.1:{port}/beads"}
        assert complete(cli, "dolt_watch why ", **env) == []
        assert SECONDS <= time.monotonic() - begun < 10, "the limit of a connection"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_both_spellings_are_registered(cli: Commands, shell: str) -> None:
    done = cli.run(env={"_DOLT_WATCH_COMPLETE": f"{shell}_source"})
    assert done.returncode == 0
    for name in ("dolt_watch", "dolt-watch"):
        word = {
            "bash": f"completion {name}",
            "zsh": f"completion {name}",
            "fish": f"--command {name}",
        }
        assert word[shell] in done.stdout
