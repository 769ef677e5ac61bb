"""When an entry is not written, and a report that is written until it stands."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta

import pytest

from dolt_watch.engines import Transaction
from dolt_watch.errors import Conflict, MergeInProgress
from dolt_watch.model import Kind
from tests.unit.ledger.here import CLAIM, NOW, REAP, SENT, Here


def test_a_claim_is_refused_where_the_row_says_otherwise(here: Here) -> None:
    here.set("owner = 'nobody'")
    here.refuses(CLAIM, "^bd-1 no longer matches$")


def test_a_claim_asks_again_whether_the_bead_is_ready_where_its_rule_does(here: Here) -> None:
    here.issue("bd-2", title="first")
    here.sql(
        "INSERT INTO dependencies (issue_id, depends_on_id, type, created_by) VALUES ('bd-1', 'bd-2', 'blocks', 'a')"
    )
    here.ledger.ready = frozenset({"agent"})
    here.refuses(CLAIM, "^bd-1 is not ready: blocked by bd-2, which is not closed$")
    here.set("pinned = 1")
    here.refuses(CLAIM, "^bd-1 is not ready: it is pinned$")
    here.ledger.ready = frozenset({"another rule"})
    assert here.decide(CLAIM).entry.version == 1


def test_deferred_is_reckoned_by_the_clock_that_is_decided_by(here: Here) -> None:
    here.ledger.ready = frozenset({"agent"})
    here.set("defer_until = '2026-04-18 22:35:50'")
    here.refuses(CLAIM, "deferred until 2026-04-18T22:35:50Z")
    here.clock.moment = NOW + timedelta(seconds=5)
    assert here.decide(CLAIM).entry.at == NOW + timedelta(seconds=5)


@pytest.mark.parametrize("kind", [Kind.REAP, Kind.REQUEUE])
def test_nobody_is_reaped_who_is_not_in_progress(here: Here, kind: Kind) -> None:
    here.refuses(REAP._replace(kind=kind), "^bd-1 is no longer in progress$")


def test_a_decision_rests_on_head_and_the_fence(here: Here) -> None:
    head, fence = here.head(), here.fence()
    here.set("title = 'changed'")
    with pytest.raises(Conflict, match=r"^history moved on since this was decided$"):
        here.ledger.decide(CLAIM, observed=head, fence=fence)
    with pytest.raises(Conflict, match=r"^another worker decided in between$"):
        here.ledger.decide(CLAIM, observed=here.head(), fence="another")
    written = here.decide(CLAIM)
    assert here.fence() != fence
    assert written.entry.version == 1
    assert here.ledger.report(SENT).entry.version == 2, "a report rests on neither"


def test_a_bead_that_is_gone(here: Here) -> None:
    here.decide(CLAIM)
    here.sql("DELETE FROM issues WHERE id = 'bd-1'")
    with pytest.raises(Conflict, match=r"^the bead was deleted in the same instant$"):
        here.decide(REAP)
    sent = here.ledger.report(SENT._replace(status="open"))
    restored = here.decide(SENT._replace(kind=Kind.RESTORE, status="in_progress"))
    assert [(one.entry.version, one.row, one.entry.wrote) for one in (sent, restored)] == [
        (2, None, sent.entry.wrote), (3, None, sent.entry.wrote),
    ]  # fmt: skip
    assert (sent.entry.job, sent.entry.wrote.note, sent.entry.wrote.cells, sent.entry.bead_hash) == ("j7", "", {}, "")
    assert here.message(sent).startswith("dolt-watch: dispatch bd-1 (attempt 1, job j7)\n")


def test_what_is_restored_of_a_bead_that_is_gone_rests_on_head_and_the_fence_too(here: Here) -> None:
    restore = SENT._replace(kind=Kind.RESTORE, status="in_progress")
    head, fence = here.head(), here.fence()
    here.sql("DELETE FROM issues WHERE id = 'bd-1'")
    with pytest.raises(Conflict, match=r"^history moved on since this was decided$"):
        here.ledger.decide(restore, observed=head, fence=fence)
    with pytest.raises(Conflict, match=r"^another worker decided in between$"):
        here.ledger.decide(restore, observed=here.head(), fence="another")
    assert here.entries() == []


# -- reports stand -----------------------------------------------------------------------------------------------------


class Overtaken:
    """The engine, whose next transactions are overtaken by somebody else before they are committed."""

    def __init__(self, here: Here, times: int) -> None:
        self.engine, self.times = here.engine, times
        here.ledger.engine = self  # type: ignore[assignment]

    def transaction(self) -> AbstractContextManager[Transaction]:
        if self.times:
            self.times -= 1
            raise Conflict("overtaken")
        return self.engine.transaction()


def test_a_report_is_written_again_until_it_stands(here: Here) -> None:
    Overtaken(here, 19)
    assert here.ledger.report(SENT).entry.version == 1
    waited = here.clock.moment - NOW
    assert waited == timedelta(seconds=0.005 * sum(range(1, 20)))


def test_a_report_about_a_bead_that_is_gone_too(here: Here) -> None:
    here.sql("DELETE FROM issues WHERE id = 'bd-1'")
    Overtaken(here, 5)
    assert here.ledger.report(SENT).row is None


def test_a_report_that_cannot_be_written_at_all_says_so(here: Here) -> None:
    engine = Overtaken(here, 40)
    with pytest.raises(Conflict) as caught:
        here.ledger.report(SENT)
    assert (engine.times, here.entries()) == (20, [])
    assert caught.value.message == "a report could not be written in 20 tries"
    assert caught.value.fix == "run `dolt_watch tick` again; the claim stands in the ledger"


def test_nothing_is_written_into_somebodys_merge(here: Here) -> None:
    for step in ("dolt_branch('other')", "dolt_checkout('other')"):
        here.engine.query(f"SELECT {step}")
    here.issue("bd-9", title="theirs")
    here.engine.query("SELECT dolt_checkout('main')")
    here.set("title = 'ours'")
    here.engine.query("SELECT dolt_merge('--no-commit', 'other')")
    assert here.engine.merging()
    with pytest.raises(MergeInProgress):
        here.decide(CLAIM)
    assert here.entries() == []
