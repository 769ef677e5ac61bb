"""Refused entries, and outcome entries that are retried until history contains them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.core.model import EntryKind
from dolt_watch.engines import Param, Row, Transaction
from dolt_watch.errors import (
    Conflict,
    MergeInProgress,
    NoSuchTable,
    OutcomeNotRecorded,
    Unreachable,
)
from tests.unit.ledger.here import CLAIM, FAILED, NOW, PAUSE, REAP, SENT, Here


def test_a_claim_is_refused_where_the_row_says_otherwise(here: Here) -> None:
    here.set("owner = 'nobody'")
    here.refuses(CLAIM, "^bd-1 no longer matches.$")


def test_a_claim_asks_again_whether_the_bead_is_ready_where_its_rule_does(here: Here) -> None:
    here.issue("bd-2", title="first")
    here.sql(
        "INSERT INTO dependencies (issue_id, depends_on_id, type, created_by) VALUES ('bd-1',"
        " 'bd-2', 'blocks', 'a')"
    )
    here.ready = frozenset({"agent"})
    here.refuses(CLAIM, "^bd-1 is not ready: blocked by bd-2 \\(open\\)$")
    here.set("pinned = 1")
    here.refuses(CLAIM, "^bd-1 is not ready: it is pinned$")
    here.ready = frozenset({"another rule"})
    assert here.decide(CLAIM).entry.version == 1


def test_deferred_is_reckoned_by_the_clock_that_is_decided_by(here: Here) -> None:
    here.ready = frozenset({"agent"})
    here.set("defer_until = '2026-04-18 22:35:50'")
    here.refuses(CLAIM, "deferred until 2026-04-18T22:35:50Z")
    here.clock.moment = NOW + timedelta(seconds=5)
    assert here.decide(CLAIM).entry.at == NOW + timedelta(seconds=5)


@pytest.mark.parametrize("kind", [EntryKind.REAP, EntryKind.REQUEUE])
def test_nobody_is_reaped_who_is_not_in_progress(here: Here, kind: EntryKind) -> None:
    here.refuses(REAP._replace(kind=kind), "^bd-1 is no longer in progress.$")


def test_a_decision_rests_on_head_and_the_fence(here: Here) -> None:
    head, fence = here.head(), here.fence()
    here.set("title = 'changed'")
    with pytest.raises(Conflict, match=r"^History changed since this was decided.$"):
        here.ledger.append_decision(here.context(head, fence), CLAIM)
    with pytest.raises(Conflict, match=r"^another worker decided in between$"):
        here.ledger.append_decision(here.context(fence="another"), CLAIM)
    written = here.decide(CLAIM)
    assert here.fence() != fence
    assert written.entry.version == 1
    assert here.report(SENT).entry.version == 2, "a report rests on neither"


def test_a_bead_that_is_gone(here: Here) -> None:
    here.decide(CLAIM)
    here.sql("DELETE FROM issues WHERE id = 'bd-1'")
    with pytest.raises(Conflict, match=r"^The bead was deleted at the same moment.$"):
        here.decide(REAP)
    sent = here.report(SENT._replace(status="open"))
    restored = here.decide(SENT._replace(kind=EntryKind.RESTORE, status="in_progress"))
    assert [(one.entry.version, one.row, one.entry.wrote) for one in (sent, restored)] == [
        (2, None, sent.entry.wrote),
        (3, None, sent.entry.wrote),
    ]
    assert (
        sent.entry.job,
        sent.entry.wrote.note,
        sent.entry.wrote.cells,
        sent.entry.bead_hash,
    ) == ("j7", "", {}, "")
    assert here.message(sent).startswith("dolt-watch: dispatch bd-1 (attempt 1, job j7)\n")


def test_what_is_restored_of_a_bead_that_is_gone_rests_on_head_and_the_fence_too(
    here: Here,
) -> None:
    restore = SENT._replace(kind=EntryKind.RESTORE, status="in_progress")
    head, fence = here.head(), here.fence()
    here.sql("DELETE FROM issues WHERE id = 'bd-1'")
    with pytest.raises(Conflict, match=r"^History changed since this was decided.$"):
        here.ledger.append_decision(here.context(head, fence), restore)
    with pytest.raises(Conflict, match=r"^another worker decided in between$"):
        here.ledger.append_decision(here.context(fence="another"), restore)
    assert here.entries() == []


# -- retries of outcome entries --------------------


class Overtaken:
    """An engine whose next transactions conflict with another writer before their commit."""

    def __init__(self, here: Here, times: int) -> None:
        self.engine, self.times = here.engine, times
        here.ledger.engine = self  # type: ignore[assignment]

    def transaction(self) -> AbstractContextManager[Transaction]:
        if self.times:
            self.times -= 1
            raise Conflict("overtaken")
        return self.engine.transaction()

    def uncommitted_schema(self, *more: Any) -> frozenset[str]:
        return self.engine.uncommitted_schema(*more)


def test_a_report_is_written_again_until_it_stands(here: Here) -> None:
    Overtaken(here, 19)
    assert here.report(SENT).entry.version == 1
    waited = here.clock.moment - NOW
    assert waited == timedelta(seconds=0.005 * sum(range(1, 20)))


def test_a_report_about_a_bead_that_is_gone_too(here: Here) -> None:
    here.sql("DELETE FROM issues WHERE id = 'bd-1'")
    Overtaken(here, 5)
    assert here.report(SENT).row is None


@pytest.mark.parametrize("change", ["ALTER TABLE issues DROP COLUMN owner", "DROP TABLE events"])
def test_a_report_is_written_without_the_row_if_its_tables_changed(here: Here, change: str) -> None:
    here.engine.execute_ddl(change)
    here.set("title = 'migrated'")
    written = here.report(FAILED)
    assert (written.row, written.entry.wrote.cells) == (None, {})
    assert written.entry.detail["withheld"] == {"note": "dispatch failed x", "status": "open"}


def test_a_report_without_a_ledger_names_the_job(here: Here) -> None:
    here.engine.execute_ddl("DROP TABLE watch_decision")
    with pytest.raises(OutcomeNotRecorded, match=r"job j7.*watch_decision"):
        here.report(SENT)
    # A user who pauses needs not wait.
    before = here.clock.moment
    with pytest.raises(NoSuchTable):
        here.ledger.record(PAUSE)
    assert here.clock.moment == before


def test_a_report_that_cannot_be_written_at_all_says_so(here: Here) -> None:
    """The error names the unrecorded job, so that no user reopens the bead during the run."""
    Overtaken(here, 1000)
    with pytest.raises(OutcomeNotRecorded) as caught:
        here.report(SENT)
    assert here.entries() == []
    assert timedelta(seconds=60) <= here.clock.moment - NOW < timedelta(seconds=62)
    error = caught.value
    assert error.message == (
        'Could not record "dispatched (job j7)" for bd-1 within 60 s: overtaken'
    )
    assert error.where == "attempt 1, token t"
    assert (
        error.fix
        == "Fix the database error, then add the note manually: `bd note bd-1 'dispatched (job"
        " j7)'`. Don't reopen the bead while that job is running."
    )


def test_a_report_of_no_job_that_cannot_be_written(here: Here) -> None:
    Overtaken(here, 1000)
    with pytest.raises(
        OutcomeNotRecorded, match=r'^Could not record "failed" for bd-1 within 60 s: overtaken'
    ):
        here.report(FAILED)


def test_a_decision_about_no_bead_that_cannot_be_written(here: Here) -> None:
    Overtaken(here, 1000)
    with pytest.raises(OutcomeNotRecorded) as caught:
        here.ledger.record(PAUSE._replace(kind=EntryKind.RESUME))
    assert caught.value.message == 'Could not record "resume" within 60 s: overtaken'
    assert caught.value.fix == "Fix the database error, then run the command again."


class Unheard(Overtaken):
    """An engine whose next commits succeed, but whose answers are lost."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        return self._unheard() if self.times else self.engine.transaction()

    @contextmanager
    def _unheard(self) -> Iterator[Transaction]:
        with self.engine.transaction() as tx:
            yield tx
        self.times -= 1
        raise Unreachable("no answer to the commit")

    def query(self, sql: str, params: Sequence[Param] = ()) -> list[Row]:
        return self.engine.query(sql, params)


def test_a_report_that_stands_unheard_is_not_written_twice(here: Here) -> None:
    Unheard(here, 1)
    written = here.report(SENT)
    assert (written.entry.kind, written.entry.job, written.entry.version) == (
        EntryKind.DISPATCHED,
        "j7",
        1,
    )
    assert (written.commit, written.row) == ("", None)
    assert len(here.entries()) == 1


def test_what_has_no_token_is_written_again(here: Here) -> None:
    """An entry without a token can't be recognized, but a second pause has no further effect."""
    Unheard(here, 1)
    here.ledger.record(PAUSE)
    assert [entry[1] for entry in here.entries()] == [1, 2]


@pytest.mark.parametrize("kind", [EntryKind.RESTORE, EntryKind.OVERDUE])
def test_the_stream_of_an_attempt_outlives_its_bead(here: Here, kind: EntryKind) -> None:
    here.sql("DELETE FROM issues WHERE id = 'bd-1'")
    assert here.decide(SENT._replace(kind=kind)).row is None
    with pytest.raises(Conflict):
        here.decide(REAP)


def test_nothing_is_written_into_somebodys_merge(here: Here) -> None:
    for step in ("dolt_branch('other')", "dolt_checkout('other')"):
        here.engine.query(f"SELECT {step}")
    here.issue("bd-9", title="theirs")
    here.engine.query("SELECT dolt_checkout('main')")
    here.set("title = 'other'")
    here.engine.query("SELECT dolt_merge('--no-commit', 'other')")
    assert here.engine.has_unfinished_merge()
    with pytest.raises(MergeInProgress):
        here.decide(CLAIM)
    assert here.entries() == []
