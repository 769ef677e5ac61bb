"""The saved state, except its beads (`tests/conformance/test_saved_beads.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from dolt_watch.checkpoint.poll import Poller
from dolt_watch.checkpoint.state_store import StateStore, decode_bead, encode_bead
from dolt_watch.cli.composition import ledger
from dolt_watch.core.model import GLOBAL, Bead, Decision, EntryKind, Phase, State
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.projection.projection import DELETED
from dolt_watch.engines import Engine
from dolt_watch.timestamps import parse_foreign
from tests.support.embedded_tracker import Light


def test_a_table_that_dolt_ignore_names_is_not_watched_and_not_adopted(doltlite: Engine) -> None:
    """No commit contains rows of a table in `dolt_ignore`.

    DOLT_ADD skips the table without an error. bd 1.3 ignores `events` in this way.
    """
    here = Light(doltlite)
    doltlite.execute_ddl("DROP TABLE labels")
    doltlite.execute_ddl("INSERT INTO dolt_ignore VALUES ('labels', 1)")
    with doltlite.transaction() as tx:
        tx.dolt_commit(["labels", "dolt_ignore"], "labels are local", "ann <ann@test>")
    doltlite.execute_ddl(
        "CREATE TABLE labels (issue_id varchar(255), label varchar(255), PRIMARY KEY (issue_id,"
        " label))"
    )
    with doltlite.transaction() as tx:
        tx.execute("INSERT INTO labels VALUES ('bd-a', 'urgent')")
        tx.commit()
    here.assign("bd-a")
    assert here.tick().rounds < 10
    assert here.target.sent == ["bd-a"]
    assert not any("adopt" in line or "warning" in line for line in here.lines)
    look = Poller(doltlite).poll()
    assert "labels" not in look.seen and "labels" not in look.hashes
    with doltlite.transaction() as tx:
        tx.execute("INSERT INTO labels VALUES ('bd-a', 'later')")
        tx.commit()
    assert here.tick(timedelta(minutes=1, seconds=10)).rounds == 0


def test_a_lost_claim_is_found_by_few_queries(
    doltlite: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One long tick can leave hundreds of unsaved claims whose beads are closed."""
    here = Light(doltlite, max_in_flight=500)
    count = 450
    here.assign(*(f"bd-{n}" for n in range(count)))
    with doltlite.transaction() as tx:
        tx.execute(
            "INSERT INTO watch_attempt (bead_id, attempt, rule, token, claimed_at, deadline,"
            " worker) SELECT id, 1, 'agent', CONCAT('t-', id), CURRENT_TIMESTAMP,"
            " CURRENT_TIMESTAMP, 'w' FROM issues"
        )
        for version, kind in enumerate(("claim", "dispatched"), 1):
            tx.execute(
                f"INSERT INTO watch_decision SELECT id, {version}, '{kind}', 1, 'agent',"
                " CONCAT('t-', id), '', '', CURRENT_TIMESTAMP, '', '', '', '', '', '{}' FROM issues"
            )
        tx.commit()
    store, asked = StateStore(doltlite), 0
    look = Poller(doltlite).poll()._replace(unsaved_claim=None)
    query = doltlite.query

    def counted(sql: str, params: Sequence[Any] = ()) -> Any:
        nonlocal asked
        asked += 1
        return query(sql, params)

    monkeypatch.setattr(doltlite, "query", counted)
    assert not store.has_lost_claim(look, State())
    assert asked <= 4
    for lost in ("bd-0", f"bd-{count - 1}"):
        with doltlite.transaction() as tx:
            tx.execute(f"DELETE FROM watch_decision WHERE bead_id = '{lost}' AND kind = 'claim'")
            tx.commit()
        assert store.has_lost_claim(look, State()), "a report that a job runs proves no claim"
        known = Bead(
            lost, Phase.RUNNING, "agent", datetime(2026, 4, 18, tzinfo=UTC), "c", token=f"t-{lost}"
        )
        assert not store.has_lost_claim(look, State(beads={lost: known}))
        with doltlite.transaction() as tx:
            tx.execute(f"DELETE FROM watch_attempt WHERE bead_id = '{lost}'")
            tx.commit()


def test_a_changed_rule_is_recorded_once_where_nothing_else_happens(doltlite: Engine) -> None:
    here = Light(doltlite)
    here.assign("bd-a")
    here.tick()
    here.tick(timedelta(minutes=2))
    here.change(when="assignee = 'agent' AND status = 'open' AND priority < 9")
    here.tick(timedelta(minutes=3))
    here.tick(timedelta(minutes=4))
    assert here.kinds("") == ["resync"]
    here.change(when="assignee = 'agent' AND status = 'open' AND priority < 8")
    here.tick(timedelta(minutes=5))
    assert here.kinds("") == ["resync", "resync"]


def test_the_last_word_about_no_bead_is_saved_and_what_was_saved_before_it_was_has_none(
    doltlite: Engine,
) -> None:
    here = Light(doltlite)
    here.tick()
    for kind in (EntryKind.PAUSE, EntryKind.RESUME):
        ledger(doltlite, here.settings).record(Decision(kind, GLOBAL, "", 0, ""))
    here.tick(timedelta(minutes=2))
    look = Poller(doltlite).poll()
    assert StateStore(doltlite).load(look).version == 2
    before = {name: value for name, value in look.shared.items() if name != "version"}
    assert StateStore(doltlite).load(look._replace(shared=before)).version == 0


def _saved(bead: Bead) -> Bead:
    return decode_bead(orjson.loads(orjson.dumps(encode_bead(bead))))


def test_the_code_of_a_reason_is_saved() -> None:
    at = parse_foreign("2026-04-18T22:35:46Z")
    assert at is not None
    bead = Bead(
        "bd-a",
        Phase.BACKOFF,
        "agent",
        at,
        "c",
        reason="any words",
        reason_code=ReasonCode.BEAD_NOT_FOUND,
    )
    assert _saved(bead) == bead
    other = bead._replace(
        reason="Bead bd-a not found.", reason_code=ReasonCode.REFUSED, unclear=ReasonCode.ROW_FREED
    )
    assert _saved(other) == other, "no text is read where there is a code"


def test_a_state_saved_before_the_codes() -> None:
    at = parse_foreign("2026-04-18T22:35:46Z")
    assert at is not None
    bead = Bead(
        "bd-a", Phase.BACKOFF, "agent", at, "c", reason="Bead bd-a not found.", unclear=DELETED
    )
    assert _saved(bead) == bead._replace(
        reason_code=ReasonCode.BEAD_NOT_FOUND, unclear=ReasonCode.BEAD_DELETED
    )
    assert _saved(bead._replace(reason="HTTP 500: boom", unclear="")).reason_code is None


def test_the_poll_knows_the_only_claim(doltlite: Engine) -> None:
    """The poll makes further queries unnecessary after each dispatch."""
    here = Light(doltlite)
    here.tick()

    def claim(bead: str) -> None:
        with doltlite.transaction() as tx:
            tx.execute(
                "INSERT INTO watch_attempt (bead_id, attempt, rule, token, claimed_at, deadline,"
                " worker) VALUES (?, 1, 'agent', ?, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, 'h')",
                (bead, f"t-{bead}"),
            )
            tx.commit()

    look = Poller(doltlite).poll()
    assert (look.has_unsaved_claims, look.unsaved_claim) == (False, None)
    claim("bd-0")
    look = Poller(doltlite).poll()
    assert (look.has_unsaved_claims, look.unsaved_claim) == (True, ("bd-0", "t-bd-0"))
    claim("bd-1")
    look = Poller(doltlite).poll()
    assert (look.has_unsaved_claims, look.unsaved_claim) == (True, None)
    assert StateStore(doltlite).has_lost_claim(look, State())
