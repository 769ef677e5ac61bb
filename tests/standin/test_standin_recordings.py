"""Replay of each recording on the stand-in, with a comparison of each row and commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from tests.standin import launcher, recorded, replay
from tests.standin.dialect import DEFAULT, DIALECTS, of_schema
from tests.support.beads import initialized
from tests.support.matrix import chosen
from tests.support.servers import Server

TRACKERS = recorded.trackers()


def dialect_of(folder: Path) -> str:
    return of_schema(recorded.value(folder, "schema.json")["schema_version"]).name


def before_upgrade(folder: Path) -> str:
    """Return the dialect of the recorded tracker before its upgrade."""
    for name in ("schema-before.json", "schema.json"):
        try:
            return of_schema(recorded.value(folder, name)["schema_version"]).name
        except FileNotFoundError:
            continue
    raise AssertionError(f"{folder} holds no schema")


def upgraded_at(steps: list[dict[str, Any]]) -> int:
    """Return the number of the first command of the newer bd.

    This command is the first whose commits write ``schema_migrations``.
    """
    for number, step in enumerate(steps):
        if any("schema_migrations" in commit.get("tables", {}) for commit in step["commits"]):
            return number
    return len(steps)


def init_differs(folder: Path, reader: replay.Reader) -> Iterator[str]:
    """Yield the differences between the commits of ``bd init`` and the recording.

    The server makes the first commit under its configured name, so the comparison omits this
    commit.
    """
    ours = [
        {name: each[name] for name in ("message", "committer", "email")}
        for each in reader.commits()[::-1]
    ]
    theirs = recorded.value(folder, "init-commits.json")
    for mine, recorded_one in zip_longest(ours[1:], theirs[1:]):
        if mine != recorded_one:
            yield f"{folder.name}: bd init: {mine}, recorded {recorded_one}"


def schema_differs(folder: Path, name: str, reader: replay.Reader) -> Iterator[str]:
    theirs, ours = recorded.value(folder, name), reader.schema()
    for part in ("schema_version", "views", "config", "ignored"):
        if ours[part] != theirs[part]:
            yield f"{folder.name}/{name}: {part}: {ours[part]}, recorded {theirs[part]}"
    for table in sorted({*ours["tables"], *theirs["tables"]}):
        mine, recorded_one = (each["tables"].get(table) for each in (ours, theirs))
        if mine != recorded_one:
            yield f"{folder.name}/{name}: {table}:\n{mine}\nrecorded:\n{recorded_one}"


def differences(folder: Path, server: Server, place: Path) -> Iterator[str]:
    """Run the recorded commands in a new tracker, and yield a text for each difference."""
    steps = recorded.steps(folder)
    old, new, upgrade = before_upgrade(folder), dialect_of(folder), upgraded_at(steps)
    bd = initialized(server, place, str(launcher.write(place / "bin", old)))
    (Path(bd.env["HOME"]) / ".gitconfig").write_text(
        "[user]\n\tname = ada\n\temail = ada@example.com\n", "utf-8"
    )
    reader = replay.Reader(server, bd.database)
    player = replay.Player(reader, replay.runner(bd))
    try:
        yield from init_differs(folder, reader)
        yield from schema_differs(
            folder, "schema.json" if upgrade == len(steps) else "schema-before.json", reader
        )
        for number, step in enumerate(steps):
            if number == upgrade:
                launcher.write(place / "bin", new)
            if number == upgrade + 1:
                yield from schema_differs(folder, "schema.json", reader)
            for what, ours, theirs in player.play(step):
                yield (
                    f"{folder.name}, step {number}: bd {' '.join(step['args'])}: {what}\nstand-in:"
                    f" {json.dumps(ours, ensure_ascii=False)}\nrecorded:"
                    f" {json.dumps(theirs, ensure_ascii=False)}"
                )
        yield from schema_differs(folder, "schema-after.json", reader)
    finally:
        reader.close()
        server.drop(bd.address)


@pytest.mark.long
@pytest.mark.parametrize(
    "folder",
    chosen(TRACKERS, lambda folder: folder.name == f"bd-{DEFAULT}"),
    ids=[folder.name for folder in TRACKERS],
)
def test_each_command_writes_what_is_recorded(
    folder: Path, dolt_server: Server, tmp_path: Path
) -> None:
    first = next(differences(folder, dolt_server, tmp_path), "")
    assert not first, first


def test_every_recorded_tracker_is_tried() -> None:
    assert {dialect_of(folder) for folder in TRACKERS} == set(DIALECTS)
