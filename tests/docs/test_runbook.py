"""docs/runbook.md, command by command, with a separate tracker for each chapter."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.conftest import ROOT
from tests.docs.shell import Shell, check, steps_of
from tests.standin.dialect import VARIABLE
from tests.standin.launcher import dialect_of
from tests.stubs.beadboard import BeadBoardStub
from tests.support import forked
from tests.support.beads import Workspace, standin
from tests.support.servers import Choice, Server, Source, give_up

PAGE = ROOT / "docs/runbook.md"
TEXT = PAGE.read_text("utf-8")
CHAPTERS = {
    found[1]: (found.start(), found[0])
    for found in re.finditer(r"^## (.*?)\n.*?(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
}
WITH_COMMANDS = [title for title, (_, text) in CHAPTERS.items() if "```console" in text]
NOT_MADE_YET = {"Install", "Moving from the original's CronJobs"}
"""Chapters that begin before `dolt_watch init`."""


@pytest.fixture
def shell(beads_workspace: Workspace, dolt_server: Server) -> Iterator[tuple[Shell, BeadBoardStub]]:
    with BeadBoardStub() as board:
        env = dict(beads_workspace.env) | {"BEADBOARD_URL": board.url}
        ours = forked.program(beads_workspace.path.parent / "ours", "dolt_watch").parent
        if dialect := dialect_of(beads_workspace.program):
            forked.program(ours, "bd", {VARIABLE: dialect})
        env["PATH"] = f"{ours}:{Path(sys.executable).parent}:{env['PATH']}"
        user = f"w_{beads_workspace.database[-8:]}"  # Users belong to the whole server.
        started = Shell(
            beads_workspace.path, env, {"/path/to/dolt_watch": str(ROOT), "watcher": user}
        )
        yield started, board
        started.close()
    dolt_server.sql(f"DROP USER IF EXISTS '{user}'@'%'")


def left_by_the_original(bd: Workspace, server: Server) -> None:
    """Create one bead of each kind that the original's two CronJobs leave behind.

    The page uses the same IDs.
    """
    notes = {
        "wai": ("open", ""),
        "fai": (
            "open",
            "dispatch failed HTTP 502: fetch failed\ndispatch failed HTTP 502: fetch failed",
        ),
        "run": (
            "in_progress",
            "auto-dispatcher claimed at 2026-04-18T22:35:46Z\ndispatched: job=0123456789ab",
        ),
        "sil": ("in_progress", "auto-dispatcher claimed at 2026-04-18T22:35:46Z"),
        "blo": ("blocked", "reaper: no progress for 45m (threshold 30m) — blocking"),
    }
    with (
        contextlib.closing(server.connect(bd.database)) as connection,
        connection.cursor() as cursor,
    ):
        for number, (name, (status, text)) in enumerate(notes.items()):
            minutes = 45 if name == "sil" else 10
            cursor.execute(
                "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes,"
                " status, priority, assignee, updated_at) VALUES (%s, 't', '', '', 'must', %s, %s,"
                " %s, 'agent', UTC_TIMESTAMP() - INTERVAL %s MINUTE)",
                (f"bd-{name}", text, status, number, minutes),
            )
        cursor.execute(
            "SELECT DATE_FORMAT(UTC_TIMESTAMP() - INTERVAL 10 MINUTE, '%Y-%m-%dT%H:%i:%sZ')"
        )
        cursor.execute(
            "CALL DOLT_COMMIT('-Am', 'what the original left', '--date', %s)", cursor.fetchone()
        )


@pytest.mark.long
@pytest.mark.parametrize("title", WITH_COMMANDS)
def test_chapter(
    title: str, shell: tuple[Shell, BeadBoardStub], beads_workspace: Workspace, dolt_server: Server
) -> None:
    if "bd backup" in CHAPTERS[title][1]:
        if standin():
            give_up(
                Choice(
                    Source.SKIP,
                    "needs a real bd: no recording holds bd backup, so the stand-in does not"
                    " offer it",
                )
            )
        if dolt_server.data is None:
            give_up(
                Choice(
                    Source.SKIP,
                    "the server must see the backup's folder: needs a server that the tests start",
                )
            )
    run, board = shell
    if title in NOT_MADE_YET:
        if title != "Install":
            left_by_the_original(beads_workspace, dolt_server)
    else:
        assert run.run("dolt_watch init")[0] == 0
    begin, text = CHAPTERS[title]
    for step in steps_of(text, TEXT.count("\n", 0, begin)):
        if step.board:
            status, _, error = step.board.partition(" ")
            (
                board.answer_next(int(status), {"error": error})
                if status.isdigit()
                else board.answer_next(status)
            )
        check(step, *run.run(step.command), PAGE.name)
    if title in AFTER:
        AFTER[title](board, dolt_server, beads_workspace)


def only_the_open_ones(board: BeadBoardStub, server: Server, bd: Workspace) -> None:
    """Check the beads after the move.

    No running bead was sent again, and both waiting beads still exist.
    """
    assert [bead for bead, _ in board.accepted] == ["bd-wai"]
    rows = dict(server.sql("SELECT id, status FROM issues", database=bd.database))
    assert rows == {
        "bd-wai": "in_progress",
        "bd-fai": "open",
        "bd-run": "in_progress",
        "bd-sil": "blocked",
        "bd-blo": "blocked",
    }


def one_job(board: BeadBoardStub, server: Server, bd: Workspace) -> None:
    """Check that the bead that was dispatched after the backup has one job, not two."""
    assert len(board.accepted) == 2  # One before the backup, and one after it.


def nothing_left(board: BeadBoardStub, server: Server, bd: Workspace) -> None:
    ignored = server.sql("SELECT pattern FROM dolt_ignore", database=bd.database)
    assert not [pattern for (pattern,) in ignored if pattern.startswith("watch")]
    dirty = server.sql("SELECT table_name FROM dolt_status", database=bd.database)
    assert not [name for (name,) in dirty if name.startswith("watch") or name == "dolt_ignore"]


AFTER = {
    "Moving from the original's CronJobs": only_the_open_ones,
    "Restore from a backup": one_job,
    "Uninstall": nothing_left,
}


def test_every_chapter_that_the_test_knows_is_there() -> None:
    assert {*NOT_MADE_YET, *AFTER} <= set(WITH_COMMANDS)
    assert len(WITH_COMMANDS) > 8
