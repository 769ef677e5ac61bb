"""The target's answers and their effect on the bead.

An answer means that nothing runs, that a job runs, or that the outcome is unknown.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from dolt_watch.core.model import Capacity, JobReport
from dolt_watch.core.model.target_answers import Answer
from dolt_watch.targets.protocol import BeadTask, Target
from dolt_watch.targets.settings import BeadBoardSettings
from tests.acceptance.conftest import Watch
from tests.stubs.asking import patience
from tests.stubs.beadboard import dead_url
from tests.support.targets import open_target


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, '{"error":"Bead x not found."}'),
        (500, '{"error":"boom"}'),
        (502, '{"error":"Invalid token"}'),
    ],
)
def test_failed_is_open_again_and_noted(watch: Watch, status: int, body: str) -> None:
    bead = watch.assigned("fails")
    watch.board.answer_next(status, body)
    dirty = watch.engine.dirty()
    outcome, _ = watch.dispatch()
    assert (outcome.exit_code, watch.status(bead), watch.sent()) == (1, "open", [bead])
    assert watch.notes(bead)[1:] == [f"dispatch failed HTTP {status}: {body}"]
    assert watch.engine.dirty() == dirty


def test_a_refused_credential_stops_the_rule_and_stays_red(watch: Watch) -> None:
    bead = watch.assigned("fails")
    watch.board.answer_next(502, '{"error":"Invalid token"}')
    watch.dispatch()
    outcome, lines = watch.dispatch(timedelta(hours=1))
    assert (outcome.exit_code, watch.sent()) == (1, [bead])
    assert any("dolt_watch resume" in line for line in lines)


def test_a_failed_one_comes_back_later(watch: Watch) -> None:
    bead = watch.assigned("fails once")
    watch.board.answer_next(500, "boom")
    watch.dispatch()
    assert watch.dispatch()[0].dispatched == 0
    outcome, _ = watch.dispatch(timedelta(minutes=5))
    assert (outcome.exit_code, outcome.dispatched, watch.sent()) == (0, 1, [bead, bead])
    assert len({request.headers["idempotency-key"] for request in watch.board.dispatches}) == 2
    assert watch.kinds(bead) == ["claim", "failed", "claim", "dispatched"]


class Dying:
    """A target that reports its capacity, but refuses the connection of each dispatch."""

    def __init__(self, alive: Target, timeout: float = 30.0) -> None:
        self.name, self.timeout = alive.name, timeout
        self._alive = alive
        self._dead = open_target(BeadBoardSettings("beadboard", url=dead_url()))

    def capacity(self) -> Capacity:
        return self._alive.capacity()

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        return self._dead.dispatch(task, token)

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        return self._alive.verdict(job, started)

    def close(self) -> None:
        self._dead.close()
        self._alive.close()


def test_gone_between_the_look_and_the_dispatch(watch: Watch) -> None:
    bead = watch.assigned("no service there")
    target = Dying(open_target(watch.settings.targets["beadboard"]))
    outcome, _ = watch.dispatch(targets=lambda _: target)
    target.close()
    assert (outcome.exit_code, watch.status(bead), watch.sent()) == (1, "open", [])
    [_, note] = watch.notes(bead)
    assert note.startswith("dispatch failed ")
    assert "refused" in note.lower()


@pytest.mark.parametrize(
    ("status", "body"),
    [(409, '{"error":"Another job is running"}'), (502, '{"error":"Queue full"}')],
)
def test_busy_is_no_failure(watch: Watch, status: int, body: str) -> None:
    bead = watch.assigned("later")
    watch.board.answer_next(status, body)
    outcome, _ = watch.dispatch()
    assert (outcome.exit_code, watch.status(bead), watch.sent()) == (0, "open", [bead])
    assert len(watch.notes(bead)) == 1  # Only the claim wrote a note.
    assert watch.kinds(bead) == ["claim", "busy"]
    assert watch.dispatch()[0].dispatched == 0  # The target has a cooldown.
    outcome, _ = watch.dispatch(timedelta(minutes=2))
    assert (outcome.dispatched, watch.status(bead)) == (1, "in_progress")


@pytest.mark.parametrize(
    ("what", "body"),
    [
        (502, '{"error":"fetch failed"}'),
        (502, '{"error":"Agent service response missing job_id."}'),
        (502, "<html>bad gateway</html>"),
        (504, ""),
        ("break", ""),
        ("break-after-accept", ""),
        ("cut", ""),
        ("garbage", ""),
        ("hang", ""),
        ("hang-after-accept", ""),
    ],
)
def test_not_known_is_never_sent_twice(watch: Watch, what: int | str, body: str) -> None:
    bead = watch.assigned("who knows")
    target = replace(
        watch.settings.targets["beadboard"], timeout=timedelta(seconds=patience(str(what)))
    )
    rule = replace(watch.settings.rules[0], on_unknown="block")
    watch.change(targets={"beadboard": target}, rules=(rule,))
    watch.board.answer_next(what, body)
    outcome, _ = watch.dispatch()
    assert (outcome.exit_code, watch.status(bead), watch.kinds(bead)) == (
        1,
        "in_progress",
        ["claim", "unknown"],
    )
    assert watch.notes(bead)[1].startswith("dispatch outcome unknown (")
    assert watch.notes(bead)[1].endswith("): not sent again until it is known")
    for later in (0, 1, 5, 9):
        assert watch.tick(timedelta(minutes=later))[0].dispatched == 0
    # The target answers again, and ``unknown_after`` counts from here.
    watch.tick(timedelta(hours=2))
    outcome, _ = watch.tick(timedelta(hours=2, minutes=11))
    assert (watch.status(bead), watch.sent()) == ("blocked", [bead])
