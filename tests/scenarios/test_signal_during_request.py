"""Events during a request, and after the death of a bead's worker.

Nothing is sent twice, no run is lost, and no bead waits forever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.core.decisions.policy import BOTH
from dolt_watch.core.model import Capacity
from dolt_watch.core.model.target_answers import Accepted, Answer, Refused, Unknown
from dolt_watch.engines.doltlite.engine import DoltLiteEngine
from dolt_watch.errors import (
    Conflict,
    DatabaseError,
    OutcomeNotRecorded,
    ReadOnly,
    SchemaChanged,
    ServerPanic,
    Unreachable,
)
from dolt_watch.ledger.writer import LedgerWriter
from dolt_watch.replay.verification import verify
from dolt_watch.targets.protocol import BeadTask
from tests.conftest import Factory
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.lines import build

MINUTE = timedelta(minutes=1)


@pytest.fixture
def light(doltlite_factory: Factory, tmp_path: Path) -> Light:
    return Light(doltlite_factory(), str(tmp_path / "fresh.db"))


def amid(light: Light, what: Callable[[], object]) -> None:
    """Call ``what`` once, after the service has begun the run and before its answer arrives."""
    plain, done = light.target.dispatch, []

    def dispatch(task: BeadTask, token: str) -> Answer:
        answer = plain(task, token)
        if not done:
            done.append(what())
        return answer

    light.target.dispatch = dispatch  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("answer", "kinds", "sent"),
    [
        (Accepted("job1"), ["dispatched", "restore"], 1),
        (Unknown("no answer"), ["unknown", "restore"], 1),
        (Refused("HTTP 422"), ["failed", "claim", "dispatched"], 2),
    ],
)
def test_history_is_set_back(light: Light, answer: Answer, kinds: list[str], sent: int) -> None:
    """After a reset to a commit before the claim, only the outcome entry contains the attempt."""
    light.tick()
    light.assign("bd-a")
    before = light.head()
    with closing(DoltLiteEngine(light.settings.address.path)) as other:  # type: ignore[union-attr]
        amid(light, lambda: other.execute_sqlite("SELECT dolt_reset('--hard', ?)", (before,)))
        light.target.answers.append(answer)
        light.tick(MINUTE)
        for minutes in (5, 6, 7):
            light.tick(minutes * MINUTE)
    assert (light.kinds("bd-a"), len(light.target.sent)) == (kinds, sent)
    if sent == 1:
        assert light.row("bd-a", "status") == ("in_progress",)


def dies(light: Light) -> None:
    """Run a tick whose worker dies before its request."""

    def dispatch(task: BeadTask, token: str) -> Answer:
        raise KeyboardInterrupt

    plain, light.target.dispatch = light.target.dispatch, dispatch  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        light.tick()
    light.target.dispatch = plain  # type: ignore[method-assign]


def test_a_bead_deleted_after_its_worker_died_stops_nobody(light: Light) -> None:
    light.assign("bd-a")
    dies(light)
    light.sql("DELETE FROM events WHERE issue_id = 'bd-a'", "DELETE FROM issues WHERE id = 'bd-a'")
    light.assign("bd-b")
    light.tick(5 * MINUTE)
    assert light.kinds("bd-a") == ["claim", "overdue"]
    assert light.target.sent == ["bd-b"]


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Exception]]:
    """Yield a list of errors, which the transactions of outcome entries raise one after another."""
    errors: list[Exception] = []
    plain = LedgerWriter._write

    def write(self: LedgerWriter, *asked: Any, **named: Any) -> Any:
        if not named.get("guarded") and errors:
            raise errors.pop(0)
        return plain(self, *asked, **named)

    monkeypatch.setattr(LedgerWriter, "_write", write)
    yield errors


@pytest.mark.parametrize(
    "error",
    [
        Conflict("an unfinished merge"),
        Unreachable("the server restarts"),
        ReadOnly("the server is a replica until it is promoted"),
        ServerPanic("the server failed in a statement"),
    ],
)
def test_an_answer_waits_until_it_can_be_written(
    light: Light, refusing: list[Exception], error: Exception
) -> None:
    # The retries take about six seconds.
    refusing.extend([error] * 50)
    light.assign("bd-a")
    light.tick()
    assert (light.kinds("bd-a"), refusing) == (["claim", "dispatched"], [])


@pytest.mark.parametrize("at", ["the claim's commit", "the check before the request"])
@pytest.mark.parametrize(
    "error", [Unreachable("the connection broke"), SchemaChanged("a column is missing")]
)
def test_a_claim_is_released_if_the_database_fails_before_the_request(
    light: Light, monkeypatch: pytest.MonkeyPatch, at: str, error: DatabaseError
) -> None:
    """Otherwise the bead would be unknown, and blocked in the end, although nothing was sent."""
    failed = []

    def failing(self: LedgerWriter, *asked: Any, **named: Any) -> Any:
        written = append(self, *asked, **named)
        failed.append(error)
        if at == "the claim's commit":
            raise error
        monkeypatch.setattr(light.engine, "query", refuses)
        return written

    def refuses(*asked: Any) -> Any:
        monkeypatch.undo()
        raise error

    append = LedgerWriter.append_decision
    monkeypatch.setattr(LedgerWriter, "append_decision", failing)
    light.assign("bd-a")
    light.tick()
    monkeypatch.undo()
    assert failed == [error]
    assert (light.kinds("bd-a"), light.target.sent) == (["claim", "release"], [])
    assert light.row("bd-a", "status") == ("open",)
    light.tick(2 * MINUTE)
    assert (light.kinds("bd-a")[2:], light.target.sent) == (["claim", "dispatched"], ["bd-a"])
    assert verify(light.past()).differences == []


def test_a_claim_that_was_not_written_is_an_error(
    light: Light, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*asked: Any, **named: Any) -> Any:
        raise Unreachable("the connection broke")

    monkeypatch.setattr(LedgerWriter, "append_decision", failing)
    light.assign("bd-a")
    with pytest.raises(Unreachable, match="the connection broke"):
        light.tick()
    assert (light.kinds("bd-a"), light.target.sent) == ([], [])


def test_an_answer_that_cannot_be_written_is_told(light: Light, refusing: list[Exception]) -> None:
    """The tick's error names the job, so that no user reopens the bead during the run."""
    refusing.extend([Conflict("a merge is unfinished")] * 500)
    light.assign("bd-a")
    with pytest.raises(OutcomeNotRecorded) as caught:
        light.tick()
    assert caught.value.exit_code == 1
    assert (
        caught.value.message
        == 'Could not record "dispatched (job job1)" for bd-a within 60 s: a merge is unfinished'
    )
    assert "Don't reopen the bead while that job is running" in str(caught.value.fix)


def test_a_commit_whose_answer_was_lost_is_not_made_again(
    light: Light, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, lost = LedgerWriter._write, []

    def write(self: LedgerWriter, *asked: Any, **named: Any) -> Any:
        written = plain(self, *asked, **named)
        if not named.get("guarded") and not lost:
            lost.append(0)
            raise Unreachable("the answer to the commit was lost")
        return written

    monkeypatch.setattr(LedgerWriter, "_write", write)
    light.assign("bd-a")
    light.tick()
    assert light.kinds("bd-a") == ["claim", "dispatched"]
    assert light.row("bd-a", "notes")[0].count("dispatched: job=") == 1


def test_no_attempt_begins_after_a_signal_during_the_wait_for_a_turn(
    light: Light, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many workers, the turn comes seconds after the signal."""
    light.change(max_in_flight=3)
    light.target.free = Capacity(3)
    clock, stop = ShiftedClock(MINUTE), threading.Event()
    loop = build(light.engine, light.settings, lambda name: light.target, clock, light.lines.append)
    turns, append = loop.parts.turns, LedgerWriter.append_outcome

    waited = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        stop.set()
        return True

    def overtaken(*asked: Any) -> Any:
        written = append(*asked)
        turns.on_conflict()
        return written

    monkeypatch.setattr(light.engine, "take_turn", wait)
    monkeypatch.setattr(LedgerWriter, "append_outcome", overtaken)
    light.assign("bd-a", "bd-b", "bd-c")
    # In a tick, and at its beginning.
    for waits in (1, 2):
        stop.clear()
        loop.tick(BOTH, stop=stop.is_set)
        assert (light.target.sent, len(waited)) == (["bd-a"], waits)
    # A signal during a request: the worker doesn't wait for a further turn.
    stop.clear()
    amid(light, stop.set)
    turns.are_taken = False
    loop.tick(BOTH, stop=stop.is_set)
    assert (light.target.sent, len(waited)) == (["bd-a", "bd-b"], 2)
    loop.tick(BOTH)
    assert light.target.sent == ["bd-a", "bd-b", "bd-c"]
