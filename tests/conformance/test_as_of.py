"""Names of a commit by hash and by time, on both engines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dolt_watch.engines import Commit, Engine
from dolt_watch.errors import SettingsError
from dolt_watch.history.revisions import resolve_revision
from tests.support.servers import message

NOON = datetime(2026, 4, 18, 12, tzinfo=UTC)
ME = "me <me@x>"


@pytest.fixture
def dated(engine: Engine) -> list[Commit]:
    """Return three commits at noon, one at 12:05 and one at 12:10, oldest first."""
    engine.execute_ddl("CREATE TABLE t (a INT PRIMARY KEY)")
    for number, minutes in enumerate((0, 0, 0, 5, 10)):
        with engine.transaction() as tx:
            tx.execute("INSERT INTO t VALUES (?)", (number,))
            tx.query("SELECT DOLT_ADD('t')") if engine.name == "doltlite" else tx.execute(
                "CALL DOLT_ADD('t')"
            )
            call = "SELECT dolt_commit(" if engine.name == "doltlite" else "CALL DOLT_COMMIT("
            at = (NOON + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
            text = f"{call}'-m', 'n{number}', '--author', '{ME}', '--date', '{at}')"
            tx.query(text) if engine.name == "doltlite" else tx.execute(text)
            tx.rollback() if engine.name == "dolt" else tx.commit()
    head = engine.query("SELECT HASHOF('HEAD')")[0][0]
    commits = list(engine.commits(None, head))[::-1]
    return [commit for commit in commits if message(engine, commit.hash).startswith("n")]


def test_by_hash_by_its_beginning_and_by_time(engine: Engine, dated: list[Commit]) -> None:
    head = dated[-1].hash
    assert message(engine, resolve_revision(engine, dated[1].hash, head).hash) == "n1"
    assert message(engine, resolve_revision(engine, dated[1].hash[:12].upper(), head).hash) == "n1"
    for text, expected in {
        "2026-04-18T12:00:00Z": "n2",  # The last of three in one second.
        "2026-04-18T12:04:59Z": "n2",
        "2026-04-18T14:05:00+02:00": "n3",
        "2026-04-18 12:09": "n3",
        "2199-01-01": "n4",
    }.items():
        assert message(engine, resolve_revision(engine, text, head).hash) == expected, text


def test_only_what_the_head_reaches(engine: Engine, dated: list[Commit]) -> None:
    early = dated[2].hash
    assert message(engine, resolve_revision(engine, "2199-01-01", early).hash) == "n2"
    for text in (dated[4].hash, dated[4].hash[:14]):
        with pytest.raises(SettingsError, match="contains no commit"):
            resolve_revision(engine, text, early)


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("yesterday!", "is neither a commit nor a time", "2026-04-18T22:35:46Z"),
        ("2026-13-99", "is neither a commit nor a time", "2026-04-18T22:35:46Z"),
        ("", "is neither a commit nor a time", "hash"),
        ("ab", "too short", "at least 4"),
        ("0123456789abcdef", "contains no commit", "hash"),
        ("0" * 40, "contains no commit", "hash"),
        ("0" * 32, "contains no commit", "hash"),
        ("x'; DROP TABLE t; --", "is neither a commit nor a time", "hash"),
        ("1999-12-31", "no commit before 1999-12-31T00:00:00Z. It begins at ", "or later"),
    ],
)
def test_what_it_cannot_be(
    engine: Engine, dated: list[Commit], text: str, message: str, fix: str
) -> None:
    with pytest.raises(SettingsError, match=message) as told:
        resolve_revision(engine, text, dated[-1].hash, "--from")
    assert told.value.where == "--from" and fix in str(told.value.fix)
    # The commit with the earliest date is not the root of this history.
    assert "shallow" not in told.value.message


def test_a_beginning_that_several_have(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dolt_watch.history.revisions.SHORTEST", 1)
    engine.execute_ddl("CREATE TABLE t (a INT PRIMARY KEY)")
    firsts: list[str] = []
    while len(set(firsts)) == len(firsts):  # Ends when two hashes begin with the same letter.
        with engine.transaction() as tx:
            tx.execute("INSERT INTO t VALUES (?)", (len(firsts),))
            head = tx.dolt_commit(["t"], "m", ME)
        firsts.append(head[0])
    with pytest.raises(SettingsError, match=f"commits begin with {firsts[-1]}") as told:
        resolve_revision(engine, firsts[-1], head)
    assert f"Specify more of its hash: {head[:7]}" in str(told.value.fix)
