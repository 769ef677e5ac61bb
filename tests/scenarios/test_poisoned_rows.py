"""Invalid imported rows stop neither the ticks nor the other beads."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dolt_watch.engines import Engine
from tests.support.embedded_tracker import Light

ENTRY = """INSERT INTO watch_decision (bead_id, version, kind, attempt, rule, token, cause_commit,
observed_commit, decided_at, job_id, reason, bead_hash, settings_hash, actor, detail)
VALUES ('{}', 9, '{}', 1, 'agent', 't', 'c', 'o', UTC_TIMESTAMP(6), '', '', '', '', 'me', '{}')"""


@pytest.fixture
def here(doltlite: Engine) -> Light:
    made = Light(doltlite, max_in_flight=9)
    made.target.free = made.target.free._replace(slots=9)
    return made


@pytest.mark.parametrize("anew", [False, True], ids=["folded", "anew"])
@pytest.mark.parametrize(
    "entry",
    [("bd-a", "restore", '{"phase": "dancing"}'), ("", "resync", '{"held": [["bd-a"], {}, 7]}')],
)
def test_an_entry(here: Light, entry: tuple[str, str, str], anew: bool) -> None:
    here.assign("bd-a")
    here.tick()
    here.sql(ENTRY.format(*entry))
    if anew:
        here.change(when="assignee = 'agent' AND status = 'open'")
    here.assign("bd-b")
    here.tick(timedelta(minutes=2))
    assert here.target.sent == ["bd-a", "bd-b"]


def test_a_commit_dated_at_the_end_of_time(here: Light) -> None:
    here.assign("bd-a")
    here.tick()
    with here.engine.transaction() as tx:
        tx.execute("UPDATE issues SET title = 'u' WHERE id = 'bd-a'")
        tx._send("SELECT dolt_add('issues')")  # type: ignore[attr-defined]
        here.engine.execute_sqlite(
            "SELECT dolt_commit('-m', 'x', '--date', '9999-12-31T23:59:59Z')"
        )  # type: ignore[attr-defined]
        tx.commit()
    here.assign("bd-b")
    here.tick(timedelta(minutes=2))
    assert here.target.sent == ["bd-a", "bd-b"]


def test_a_bead_without_an_id(here: Light) -> None:
    here.assign("", "bd-b")
    here.tick()
    here.sql("UPDATE issues SET title = 'u' WHERE id = ''")
    here.tick(timedelta(minutes=2))
    assert here.target.sent == ["bd-b"]
    assert here.row("", "status") == ("open",)
