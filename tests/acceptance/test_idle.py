"""An idle tick costs one query: no write, no commit, and no byte on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Watch


def files(watch: Watch) -> dict[str, tuple[int, int]]:
    """Return size and time of each file that the server keeps for this database.

    Statistics are left out, because the server writes them in the background.
    """
    if watch.server.data is None:
        pytest.skip("the folder of an external server can't be seen")
    folder = Path(watch.server.data) / watch.bd.database
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "stats" not in path.parts:
            stat = path.stat()
            found[str(path.relative_to(folder))] = (stat.st_size, stat.st_mtime_ns)
    assert found
    return found


@pytest.mark.parametrize("kind", ["dispatch", "reap", "tick"])
def test_an_idle_tick_is_one_query(
    watch: Watch, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.assigned("runs")
    watch.tick()
    getattr(watch, kind)()
    link = watch.engine._link  # type: ignore[attr-defined]
    send, statements = link.send, list[str]()

    def counting(sql: str, params: Sequence[Any] = (), **more: Any) -> Any:
        statements.append(sql)
        return send(sql, params, **more)

    monkeypatch.setattr(link, "send", counting)
    head, disk = watch.head(), files(watch)
    requests = len(watch.board.requests)
    outcome, lines = getattr(watch, kind)()
    assert (outcome.exit_code, outcome.rounds, len(lines)) == (0, 0, 1)
    assert len(statements) == 1
    assert statements[0].startswith("SELECT ")
    assert (watch.head(), files(watch), len(watch.board.requests)) == (head, disk, requests)


def test_an_idle_command_writes_nothing(watch: Watch) -> None:
    """The whole process writes nothing, including its connection."""
    watch.assigned("runs")
    assert watch.command("tick", "--set", "settle=0s").code == 0
    assert watch.command("tick", "--set", "settle=0s").code == 0
    head, disk, asked = watch.head(), files(watch), len(watch.board.requests)
    for kind in ("dispatch", "reap", "tick"):
        ran = watch.command(kind, "--set", "settle=0s")  # With other settings, the tick isn't idle.
        assert (ran.code, ran.stderr) == (0, "")
    assert (watch.head(), files(watch), len(watch.board.requests)) == (head, disk, asked)


def test_changes_without_a_decision_make_no_commit(watch: Watch) -> None:
    watch.tick()
    bead = watch.bd.create("nobody's")
    head = watch.head()
    watch.tick()
    assert watch.head() == head
    watch.bd.run("note", bead, "still nobody's")
    head = watch.head()
    assert watch.tick()[1] == [
        "no eligible beads (assignee=agent, status=open, has acceptance_criteria)"
    ]
    assert watch.head() == head


def test_a_dry_run_writes_nothing(watch: Watch) -> None:
    watch.assigned("would go")
    watch.left_comment(watch.bd.create("left dirty"), "uncommitted")
    head, disk = watch.head(), files(watch)
    ran = watch.command("tick", "--dry-run", "--now", "2099-01-01T00:00:00Z")
    assert ran.code == 0
    assert (watch.head(), files(watch), watch.sent()) == (head, disk, [])
