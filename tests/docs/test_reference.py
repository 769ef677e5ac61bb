"""The reference pages match the code, and the example of each command runs."""

from __future__ import annotations

import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path

import click
import orjson
import pytest

from dolt_watch.cli import COMMANDS, group
from tests.docs.conftest import ROOT
from tests.stubs.beadboard import BeadBoardStub
from tests.support import forked
from tests.support.beads import workspace
from tests.support.servers import Server, free_port
from tools.docs.__main__ import main, stale
from tools.docs.commands import described


def command_of(name: str) -> click.Command:
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


EXAMPLES = {name: described(command_of(name))[1] for name in COMMANDS}


def test_up_to_date() -> None:
    assert not [path.name for path in stale()], "make docs"


def test_a_stale_page_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.docs.__main__.FOLDER", tmp_path)
    assert main(check=True) == 1
    assert "settings.md is out of date. Run `make docs`." in capsys.readouterr().err
    assert main(check=False) == 0
    assert main(check=True) == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_told(name: str) -> None:
    page = (ROOT / "docs/reference/commands.md").read_text("utf-8")
    chapter = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    options = [
        word for param in command_of(name).params for word in param.opts if word.startswith("--")
    ]
    shared = page.partition("\n## Options of all commands")[2].partition("\n## ")[0]
    assert chapter
    assert not [word for word in options if not re.search(rf"`(-\w, )?{word}\b", chapter + shared)]


@pytest.fixture(scope="module")
def tracker(
    dolt_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the folder and the environment of an initialized tracker, where bead bd-12 runs."""
    folder = tmp_path_factory.mktemp("tracker")
    bd = workspace(dolt_server, folder)
    with BeadBoardStub() as board:
        env = dict(bd.env) | {"BEADBOARD_URL": board.url, "TMPDIR": str(folder)}
        bd.run("create", "an example", "--id", "bd-12", "--acceptance", "it runs", "--silent")
        bd.run("update", "bd-12", "--status", "in_progress", "--assignee", "agent")
        for words in (["init"], ["reap"]):
            done = forked.dolt_watch(words, cwd=bd.path, env=env)
            assert done.returncode == 0, done.stderr
        yield bd.path, env
    dolt_server.drop(bd.address)


@pytest.mark.parametrize(
    "name",
    [
        # tests/acceptance/test_demo.py runs the demo too, which takes ten seconds.
        pytest.param(name, marks=[pytest.mark.matrix] if name == "demo" else [])
        for name in COMMANDS
    ],
)
def test_the_example_runs(name: str, tracker: tuple[Path, dict[str, str]]) -> None:
    folder, env = tracker
    # The times in the examples are older than this history.
    now = f"{datetime.now(UTC) + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"
    text = re.sub(
        r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?", now, EXAMPLES[name].replace("9464", str(free_port()))
    )
    program, *words = shlex.split(text.partition(" | ")[0])
    assert (program, words[0]) == ("dolt_watch", name)
    if name != "run" and "--follow" not in words:
        done = forked.dolt_watch(words, cwd=folder, env=env)
        assert done.returncode == 0 and done.stdout, done
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "dolt_watch", *words],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    # These changes give a process that keeps running an event to print.
    assignees = cycle(["agent", "ann"])
    while not select.select([process.stdout], [], [], 1)[0] and process.poll() is None:
        subprocess.run(
            ["bd", "assign", "bd-12", next(assignees)],
            cwd=folder,
            env=env,
            check=True,
            capture_output=True,
        )
    said = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, f"{said}{out}{err}"
    assert said


@pytest.mark.parametrize("words", [["status"], ["log"], ["why", "bd-12"], ["doctor"]])
def test_the_json_page_names_every_key(
    words: list[str], tracker: tuple[Path, dict[str, str]]
) -> None:
    folder, env = tracker
    done = forked.dolt_watch([*words, "--format", "json"], cwd=folder, env=env)
    page = (ROOT / "docs/reference/json.md").read_text("utf-8")
    chapter = page.partition(f"\n## {words[0]}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", chapter, re.MULTILINE)
    listed = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert listed == {*orjson.loads(done.stdout)} - {"schema"}
