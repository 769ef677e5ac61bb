"""The stand-in writes what real bd wrote: each recording's commands are run, and each row and commit is compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.beads import initialized
from tests.servers import Server
from tests.standin import launcher, recorded, replay
from tests.standin.dialect import of_schema

TRACKERS = [each for each in recorded.trackers() if each.name == "bd-1.0.2"]


def dialect_of(folder: Path) -> str:
    return of_schema(recorded.value(folder, "schema.json")["schema_version"]).name


def before_upgrade(folder: Path) -> str:
    """The dialect in which the recorded tracker was made."""
    for name in ("schema-before.json", "schema.json"):
        try:
            return of_schema(recorded.value(folder, name)["schema_version"]).name
        except FileNotFoundError:
            continue
    raise AssertionError(f"{folder} holds no schema")


def upgraded_at(steps: list[dict[str, Any]]) -> int:
    """The number of the first command of the newer bd: the first whose commits write ``schema_migrations``."""
    for number, step in enumerate(steps):
        if any("schema_migrations" in commit.get("tables", {}) for commit in step["commits"]):
            return number
    return len(steps)


@pytest.mark.parametrize("folder", TRACKERS, ids=lambda folder: folder.name)
def test_each_command_writes_what_is_recorded(folder: Path, dolt_server: Server, tmp_path: Path) -> None:
    steps = recorded.steps(folder)
    old, new, upgrade = before_upgrade(folder), dialect_of(folder), upgraded_at(steps)
    bd = initialized(dolt_server, tmp_path, str(launcher.write(tmp_path / "bin", old)))
    reader = replay.Reader(dolt_server, bd.database)
    (Path(bd.env["HOME"]) / ".gitconfig").write_text("[user]\n\tname = ada\n\temail = ada@example.com\n", "utf-8")
    theirs, ours = replay.Names(), replay.Names()
    ids: dict[str, str] = {}
    run = replay.runner(bd)
    try:
        for number, step in enumerate(steps):
            if number == upgrade:
                launcher.write(tmp_path / "bin", new)
            words = [ids.get(word, word) for word in step["args"]]
            head, before = reader.head(), reader.ignored()
            done = run(replay.actor_of(step), words)
            said = step["stdout"].strip()
            if step["args"][0] == "create":
                ids[said] = done.stdout.strip()
                theirs.add(said)
                ours.add(ids[said])
            if step["args"][0] == "rename":
                theirs.add(words[2])
                ours.add(words[2])
            where = f"{folder.name}, step {number}: bd {' '.join(step['args'])}"
            assert (done.returncode, replay.plain(done.stderr, ours)) == (
                step["exit"],
                replay.plain(step["stderr"], theirs),
            ), where
            commits = reader.since(head)
            assert replay.commits_of(commits, ours) == replay.commits_of(step["commits"], theirs), where
            assert replay.comparable(reader.uncommitted(), ours) == replay.comparable(step["uncommitted"], theirs), (
                where
            )
            ignored = replay.between(before, reader.ignored())
            assert replay.rows_gone_and_come(ignored, ours) == replay.rows_gone_and_come(
                step.get("ignored", {}), theirs
            ), where
            if said and step["args"][0] != "create":
                said_objects = replay.objects(step["stdout"])
                assert said_objects, where
                shown = replay.plain(replay.objects(done.stdout), ours)
                for each in replay.plain(said_objects, theirs):
                    assert each in shown, where
    finally:
        dolt_server.drop(bd.address)
