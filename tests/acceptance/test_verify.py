"""``replay --verify`` reproduces all decisions from history and finds each kind of tampering."""

from __future__ import annotations

from datetime import timedelta

from dolt_watch.config import settings_hash
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import EntryKind
from dolt_watch.ledger.codec import ENTRY_COLUMNS
from dolt_watch.replay.replayer import HistoryReplayer
from dolt_watch.replay.verification import VerificationResult, verify
from tests.acceptance.conftest import Watch, rows_of


def verified(watch: Watch) -> VerificationResult:
    policy = Policy(
        watch.settings.rules, watch.settings.settle, settings_hash=settings_hash(watch.settings)
    )
    return verify(HistoryReplayer(watch.engine, policy, watch.head()))


def fields(found: VerificationResult) -> set[tuple[str, str]]:
    return {(one.kind, one.field) for one in found.differences}


def test_a_long_day(watch: Watch) -> None:
    """A day with a queue order, a failure, a busy target and a reap is reproduced."""
    watch.committed(rows_of(["bd-b", "bd-a"]), "UPDATE issues SET priority = 3 WHERE id = 'bd-a'")
    assert watch.tick(timedelta(minutes=1))[0].dispatched == 1
    watch.committed("UPDATE issues SET status = 'closed' WHERE id = 'bd-b'")
    watch.board.answer_next(500, "boom")
    assert watch.tick(timedelta(minutes=2))[0].failed == 1
    watch.board.answer_next(409, "{}")
    assert watch.tick(timedelta(minutes=9))[0].kinds[EntryKind.BUSY] == 1
    assert watch.tick(timedelta(minutes=30))[0].dispatched == 1
    assert watch.tick(timedelta(hours=2))[0].reaped == 1
    found = verified(watch)
    assert (found.differences, found.same, found.unverifiable.total()) == ([], 9, 0)


def test_a_forged_row_is_found_and_its_words_are_no_sql(watch: Watch) -> None:
    """``observed_commit`` is text that any database user can write."""
    watch.assigned("true")
    watch.dispatch(timedelta(seconds=5))
    forged = {
        "bead_id": "'bd-forged'",
        "observed_commit": "'x\\' OR SLEEP(9) #'",
        "bead_hash": "'0'",
    }
    columns = ", ".join(ENTRY_COLUMNS)
    cells = ", ".join(forged.get(name, name) for name in ENTRY_COLUMNS)
    watch.committed(
        f"INSERT INTO watch_decision ({columns}) SELECT {cells} FROM watch_decision WHERE kind ="
        " 'claim'"
    )
    assert ("bd-forged", "bead_hash") in {
        (one.bead, one.field) for one in verified(watch).differences
    }
