"""Read-only commands: their errors for missing objects."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from dolt_watch.engines.address import FileAddress
from tests.stubs.server import dead_url
from tests.support.commands import Commands, commands


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        yield made


def test_a_bead_that_nobody_knows(cli: Commands) -> None:
    cli.here.assign("bd-a")
    for words in (
        ("report", "-o", "x.html", "--bead", "bd-a", "--bead", "bd-O"),
        ("events", "--bead", "bd-O"),
        ("log", "--bead", "bd-O"),
        ("logs", "bd-O"),
    ):
        done = cli.run(*words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert "There is no bead 'bd-O'." in done.stderr
        assert "fix:   Did you mean bd-a?" in done.stderr
    assert not (cli.folder / "x.html").exists()
    assert "warning" not in cli.run("events", "--bead", "bd-a").stderr
    done = cli.run("events", "--bead", "bd-a", "--from", "HEAD")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "warning: bead bd-a has no events in this range\n"
    done = cli.run("why", "")
    assert done.returncode == 2 and "BEAD_ID" in done.stderr


def test_head_is_a_commit(cli: Commands) -> None:
    cli.here.assign("bd-a")
    assert cli.run("events", "--from", "HEAD").stdout == ""
    assert cli.run("events", "--to", "HEAD").stdout == cli.run("events").stdout != ""
    assert cli.here.head()[:8] in cli.run("why", "bd-a", "--as-of", "HEAD").stdout


def test_from_after_to(cli: Commands) -> None:
    first = cli.here.assign("bd-a")
    later = cli.here.assign("bd-b")
    for begin, end in (
        (later, first),
        (later[:9], first),
        ("2026-02-02T00:00:00Z", "2026-02-01T00:00:00Z"),
    ):
        done = cli.run("events", "--from", begin, "--to", end)
        assert (done.returncode, done.stdout) == (2, ""), done
    assert "--from is later than --to." in cli.run("events", "--from", later, "--to", first).stderr


def test_who_waits_for_a_target_that_is_down(cli: Commands) -> None:
    cli.here.assign("bd-a")
    status = json.loads(
        cli.run("status", "--format", "json", env={"BEADBOARD_URL": dead_url()}).stdout
    )
    assert status["targets"]["beadboard"]["down"] is True
    # A hold of the whole rule appears once. The bead shows its place in the queue.
    assert status["rules"]["agent"]["why"] == status["targets"]["beadboard"]["why"] != ""
    assert [bead["why"] for bead in status["beads"]] == ["place 1 of 1 in the queue"]
    status = json.loads(cli.run("status", "--format", "json").stdout)
    assert status["rules"] == {}


def test_only_the_beads_that_are_asked_for(cli: Commands) -> None:
    cli.here.assign("bd-a", "bd-b")

    def beads(*args: str) -> list[str]:
        done = cli.run("status", "--format", "json", *args)
        assert done.returncode == 0, done.stderr
        return [bead["bead"] for bead in json.loads(done.stdout)["beads"]]

    assert beads() == ["bd-a", "bd-b"]
    assert beads("bd-b") == ["bd-b"]
    assert beads("--rule", "agent", "--state", "waiting") == ["bd-a", "bd-b"]
    assert beads("--state", "running", "--state", "held") == []
    text = cli.run("status", "bd-b").stdout
    assert ("bd-b" in text, "bd-a" in text) == (True, False)
    done = cli.run("status", "bd-bb")
    assert done.returncode == 2 and "Did you mean bd-b" in done.stderr
    done = cli.run("status", "--rule", "agnt")
    assert done.returncode == 2 and "Did you mean agent?" in done.stderr


def test_a_limit_is_for_text(cli: Commands) -> None:
    cli.here.assign("bd-a", "bd-b", "bd-c")
    shown = cli.run("status", "--limit", "1").stdout
    assert "bd-a" in shown and "next: bd-b t, bd-c t (dolt_watch status --all)" in shown
    assert "next:" not in cli.run("status").stdout, "a pipe gets all beads"
    for args in (("--all",), ("--limit", "1")):
        done = cli.run("status", "--format", "json", *args)
        assert (done.returncode, done.stdout) == (2, "")
    assert cli.run("status", "--all", "--limit", "2").returncode == 2
