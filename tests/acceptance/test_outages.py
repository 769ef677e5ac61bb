"""Outages of a target, which cost the beads nothing.

The stubs of both services answer over real HTTP, and the test moves the clock.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from dolt_watch.controller.tick_result import TickResult
from dolt_watch.core.decisions.policy import BOTH
from dolt_watch.core.model import EntryKind
from dolt_watch.engines import Engine
from dolt_watch.replay.verification import verify
from dolt_watch.targets.registry import TargetPool
from dolt_watch.targets.settings import BeadBoardSettings, TargetSettings
from dolt_watch.targets.webhook_settings import WebhookSettings
from tests.stubs.agent_service import AgentServiceStub
from tests.stubs.beadboard import BeadBoardStub, dead_url
from tests.stubs.webhook import SECRET, WebhookStub
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.engines import on_engines
from tests.support.lines import build

pytestmark = pytest.mark.covering(engines="module")

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
SLOW, MATRIX = [pytest.mark.slow], [pytest.mark.matrix]
BEADS = ("bd-1", "bd-2", "bd-3", "bd-4")


class Played(Light):
    """A tracker with stubs of BeadBoard and its service.

    Agents close each accepted bead within the same minute.
    """

    def __init__(
        self, engine: Engine, stack: contextlib.ExitStack, health: bool, **rule: Any
    ) -> None:
        super().__init__(engine, on_unknown="retry", **rule)
        self.service = stack.enter_context(AgentServiceStub())
        self.board = stack.enter_context(BeadBoardStub(self.service))
        self.stack, self.up = stack, self.board.service_url
        self.use(
            BeadBoardSettings(
                "beadboard", url=self.board.url, service_url=self.service.url if health else ""
            )
        )
        self.at, self.wakes = MINUTE, MINUTE
        self.done: list[str] = []

    def use(self, target: TargetSettings) -> None:
        self.settings = replace(
            self.settings,
            targets={target.name: target},
            rules=(replace(self.settings.rules[0], target=target.name),),
        )
        self.targets = TargetPool(self.settings.targets)
        self.stack.callback(self.targets.close)

    def down(self) -> None:
        self.board.service_url = dead_url()
        self.service.always("reset")

    def well(self) -> None:
        self.board.service_url = self.up
        self.service._always = None

    def step(self, span: timedelta = MINUTE) -> TickResult:
        """Run one tick after ``span``, then let the agents finish the accepted beads."""
        self.at += span
        loop = build(
            self.engine, self.settings, self.targets, ShiftedClock(self.at), self.lines.append
        )
        outcome = loop.tick(BOTH)
        self.wakes = timedelta(seconds=loop.seconds_until_due() or 600)
        for bead, job in self.board.accepted[len(self.done) :]:
            self.done.append(bead)
            self.sql(f"UPDATE issues SET status = 'closed' WHERE id = '{bead}'")
            if job in self.service.jobs:
                self.service.finish(job)
        return outcome

    def steps(self, span: timedelta) -> None:
        """Run a tick whenever one is due, and at least every ten minutes."""
        ends = self.at + span
        while self.at < ends:
            self.step(max(SECOND, min(self.wakes, 10 * MINUTE, ends - self.at)))

    # -- state of the tracker --------------------

    def entries(self, *kinds: EntryKind) -> list[tuple[str, str, datetime]]:
        """Return (bead, kind, time) of each entry of these kinds, in order."""
        wanted = {kind.value for kind in kinds}
        return [
            (one.bead, one.kind.value, one.at)
            for one in self.past().entries
            if one.kind.value in wanted or not kinds
        ]

    def statuses(self) -> dict[str, str]:
        return dict(self.engine.query("SELECT id, status FROM issues ORDER BY id"))

    def notes(self, bead: str) -> list[str]:
        return str(self.row(bead, "notes")[0]).splitlines()

    def commits(self) -> int:
        return sum(1 for _ in self.engine.commits(None, self.head()))

    def verified(self) -> None:
        found = verify(self.past())
        assert (found.differences, dict(found.unverifiable)) == ([], {})


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def all_done(played: Played) -> None:
    assert played.statuses() == dict.fromkeys(BEADS, "closed")
    assert Counter(played.done) == Counter(BEADS), "each ran once"
    assert not {"quarantined", "give-up", "reap"} & {kind for _, kind, _ in played.entries()}
    played.verified()


def test_with_health_no_bead_is_risked(engine: Engine, stack: contextlib.ExitStack) -> None:
    played = Played(engine, stack, health=True)
    played.assign(*BEADS)
    played.down()
    outcome = played.step()
    assert outcome.exit_code == 1, "beads wait, and no target takes them"
    began = played.commits()
    held = outcome.holds["bd-1"]
    assert held.gate == "outage"
    assert (
        held.why.startswith("target beadboard has been unreachable since ")
        and "; next try at " in held.why
    )
    played.steps(8 * HOUR)
    assert played.commits() == began, "a try by health leaves nothing in history"
    assert played.step(timedelta(seconds=1)).exit_code == 1
    played.well()
    played.steps(HOUR)
    all_done(played)
    assert [kind for bead, kind, _ in played.entries() if bead == ""] == ["outage", "recovered"]
    claims = [at for _, _, at in played.entries(EntryKind.CLAIM)]
    [(_, _, recovered)] = played.entries(EntryKind.RECOVERED)
    assert len(claims) == 4 and min(claims) > recovered
    asked = len(played.service.asked("GET", "/health"))
    assert asked < 48 + 20 + 60, "doubled to ten minutes"


def test_with_health_the_one_that_was_sent_into_it_is_sent_again(
    engine: Engine, stack: contextlib.ExitStack
) -> None:
    """The service dies between its health check and the POST request."""
    played = Played(engine, stack, health=True)
    played.assign(*BEADS)
    played.board.service_url = dead_url()
    assert played.step().unknown == 1
    played.down()
    played.steps(8 * HOUR)
    assert len(played.entries(EntryKind.CLAIM)) == 1
    assert [line for line in played.notes("bd-1") if line.startswith("dispatch")] == [
        'dispatch outcome unknown (HTTP 502: {"error": "fetch failed"}): not sent again until it is'
        " known"
    ]
    played.well()
    played.steps(HOUR)
    all_done(played)
    assert [kind for bead, kind, _ in played.entries() if bead == ""] == ["outage", "recovered"]
    assert len(played.entries(EntryKind.RETRY)) == 1


@pytest.mark.long
def test_without_health_one_bead_is_tried_and_the_others_never(
    engine: Engine, stack: contextlib.ExitStack
) -> None:
    played = Played(engine, stack, health=False)
    played.assign(*BEADS)
    before = played.commits()
    played.down()
    assert "(HTTP 502 fetch failed)" in played.step().holds["bd-2"].why
    played.steps(3 * HOUR)
    claims = played.entries(EntryKind.CLAIM)
    assert {bead for bead, _, _ in claims} == {"bd-1"}
    later = [at for _, _, at in claims if at > claims[0][2] + HOUR]
    assert all(second - first >= 10 * MINUTE for first, second in pairwise(later)) and later
    assert played.commits() - before <= 2 * len(claims) + 1, (
        "claim and outcome of each, and the outage"
    )
    assert [line for line in played.notes("bd-1") if line.startswith("dispatch")] == [
        'dispatch outcome unknown (HTTP 502: {"error": "fetch failed"}): not sent again until it is'
        " known"
    ]
    assert len(played.notes("bd-1")) == 2, "the claim's, and the outage's"
    assert [len(played.notes(bead)) for bead in BEADS[1:]] == [0, 0, 0]
    played.well()
    played.steps(HOUR)
    all_done(played)
    assert [kind for bead, kind, _ in played.entries() if bead == ""] == ["outage", "recovered"]
    assert len(played.board.accepted) == 4


@pytest.mark.long
@pytest.mark.parametrize(
    ("engine_factory", "slots"), on_engines([1, 3], {"3"}), indirect=["engine_factory"]
)
def test_a_target_that_refuses_connections(
    engine: Engine, stack: contextlib.ExitStack, slots: int
) -> None:
    """Nothing is sent, so no outcome is unknown.

    A webhook has no health check, so the same bead tries the target each time.
    """
    played = Played(engine, stack, health=False, max_in_flight=slots)
    hook = stack.enter_context(WebhookStub())
    played.use(WebhookSettings("hook", url=dead_url(), secret=SECRET))
    played.assign(*BEADS)
    before = played.commits()
    played.steps(3 * HOUR)
    claims = played.entries(EntryKind.CLAIM)
    assert {bead for bead, _, _ in claims} == {"bd-1"} and len(claims) < 30
    assert played.commits() - before <= 2 * len(claims) + 1
    assert [
        line for line in played.notes("bd-1") if line.startswith("dispatch failed")
    ] == played.notes("bd-1")[1:]
    assert len(played.notes("bd-1")) == 2
    assert set(played.statuses().values()) == {"open"}
    played.use(WebhookSettings("hook", url=hook.url, secret=SECRET))
    played.steps(30 * MINUTE)
    assert "dispatched" in {kind for bead, kind, _ in played.entries() if bead == "bd-1"}
    claimed, dispatched = played.notes("bd-1")[2:]
    assert claimed.startswith("auto-dispatcher claimed at ") and dispatched.startswith(
        "dispatched: job="
    )
    assert [kind for bead, kind, _ in played.entries() if bead == ""] == ["outage", "recovered"]
    played.verified()


@pytest.mark.parametrize(
    ("engine_factory", "after"),
    [
        pytest.param(engine, after, marks=marks if (engine == "dolt") == (after == "1") else SLOW)
        for engine in ("dolt", "doltlite")
        for after, marks in (
            ("0", MATRIX),
            ("1", []),
            ("Sat, 18 Apr 2026 22:35:46 GMT", MATRIX),
            (None, []),
        )
    ],
    indirect=["engine_factory"],
)
def test_a_target_that_stays_busy_is_left_alone(
    engine: Engine, stack: contextlib.ExitStack, after: str | None
) -> None:
    """The cooldown doubles, even if ``Retry-After`` is short, past or missing."""
    played = Played(engine, stack, health=False, max_per_hour=2)
    played.assign(*BEADS)
    before = played.commits()
    headers = {"Retry-After": after} if after is not None else {}
    for _ in range(200):
        played.board.answer_next(429, {"error": "busy"}, headers=headers)
    played.steps(3 * HOUR)
    posts = len(played.board.dispatches)
    assert 3 * 4 <= posts <= 3 * 4 + 6, "30 s, doubled to 15 min"
    assert played.commits() - before == 2 * posts
    assert sum(len(played.notes(bead)) for bead in BEADS) == 1, "the first claim's"
    assert played.statuses() == dict.fromkeys(BEADS, "open")
    played.board._script.clear()
    played.steps(20 * MINUTE)
    assert len(played.done) == 2, "busy answers do not count for max_per_hour; what ran does"
    played.steps(2 * HOUR)
    all_done(played)
    assert all(
        line.startswith(("auto-dispatcher claimed", "dispatched: job="))
        for line in played.notes("bd-2")
    )
    assert len(played.notes("bd-2")) == 2


def test_a_longer_rest_is_honoured_up_to_an_hour(
    engine: Engine, stack: contextlib.ExitStack
) -> None:
    played = Played(engine, stack, health=False)
    played.assign("bd-1")
    played.board.answer_next(429, "busy", headers={"Retry-After": "99999"})
    played.steps(59 * MINUTE)
    assert len(played.board.dispatches) == 1
    played.steps(5 * MINUTE)
    assert played.done == ["bd-1"]


def test_an_unknown_outcome_of_a_silent_agent_is_tried_again(
    engine: Engine, stack: contextlib.ExitStack
) -> None:
    """The bead is retried after ten minutes without the agent's first note.

    BeadBoard answered, so there is no outage.
    """
    played = Played(engine, stack, health=False)
    played.assign(*BEADS)
    played.board.answer_next(502, {"error": "Agent service returned HTTP 500."})
    assert played.step().unknown == 1
    played.steps(9 * MINUTE)
    assert played.statuses()["bd-1"] == "in_progress"
    played.steps(HOUR)
    all_done(played)
    assert [kind for bead, kind, _ in played.entries(EntryKind.RETRY)] == ["retry"]
    assert [kind for bead, kind, _ in played.entries() if bead == ""] == []


def test_who_may_not_be_sent_again_is_blocked(engine: Engine, stack: contextlib.ExitStack) -> None:
    """With `on_unknown = "block"`, an outage blocks the beads that try the target."""
    played = Played(engine, stack, health=False)
    played.change(on_unknown="block")
    played.assign(*BEADS)
    played.down()
    played.steps(12 * MINUTE)
    assert [played.statuses()[bead] for bead in BEADS] == ["blocked", "in_progress", "open", "open"]
    played.well()
    played.steps(HOUR)
    assert [played.statuses()[bead] for bead in BEADS] == ["blocked", "blocked", "closed", "closed"]
    played.verified()
