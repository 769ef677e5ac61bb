"""The service by itself: how long it waits, what it says, who works."""

from __future__ import annotations

import io
import json
import threading
from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.cli.wiring import build
from dolt_watch.engines import Engine
from dolt_watch.errors import DoltWatchError, SettingsError, Unreachable
from dolt_watch.log_events import LogEvent
from dolt_watch.look import NO_BEADS
from dolt_watch.model import Phase
from dolt_watch.round import Outcome
from dolt_watch.service import LONGEST_PAUSE, SHORTEST, Service
from dolt_watch.telemetry.logs import Changes, Log
from dolt_watch.text import Said
from dolt_watch.tick import Loop
from dolt_watch.times import ShiftedClock
from tests.light import Light


class Still:
    """Time that stands still but for the pauses, which it writes down."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def wait(self, stop: threading.Event, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Told:
    def __init__(self) -> None:
        self.good, self.bad, self.by, self.turned = 0, 0, 0, 0

    def turning(self) -> None:
        self.turned += 1

    def polled(self, loop: Loop, outcome: Outcome, seconds: float) -> None:
        self.good += 1

    def standing_by(self) -> None:
        self.by += 1

    def failed(self, error: DoltWatchError) -> None:
        self.bad += 1


def service(here: Light, lines: list[str], connect: Any = None, **more: Any) -> tuple[Service, Told]:
    told, clock = Told(), ShiftedClock(timedelta(seconds=0))

    def make(engine: Engine) -> Loop:
        return build(engine, here.settings, lambda name: here.target, clock, lines.append, patient=False)

    return Service(connect or (lambda: here.engine), make, lines.append, told, clock=Still(), **more), told


def test_it_sleeps_until_the_moment_that_matters(doltlite: Engine) -> None:
    """A bead that has to settle is taken up when it has, not at the next poll."""
    here = Light(doltlite)
    one, _ = service(here, [], poll=60.0)
    one.step()
    here.assign("bd-a")
    pause = one.step()
    assert here.target.sent == []
    assert 0 < pause <= here.settings.settle.total_seconds()


def test_each_round_is_a_sign_of_life(doltlite: Engine) -> None:
    here, rounds = Light(doltlite), list[int]()
    one, told = service(here, [])
    told.polled = lambda loop, outcome, seconds: rounds.append(outcome.rounds)  # type: ignore[method-assign]
    one.step()
    assert rounds[0] >= 1 and told.turned >= rounds[0]


def test_jitter_only_shortens(doltlite: Engine) -> None:
    one, _ = service(Light(doltlite), [], poll=10.0)
    one.step()
    pauses = [one.step() for _ in range(40)]
    assert all(10 * SHORTEST <= pause <= 10 for pause in pauses)
    assert len(set(pauses)) > 1


def test_an_outage_is_one_line_and_a_growing_pause(doltlite: Engine) -> None:
    here, lines, away = Light(doltlite), list[str](), [True]

    def connect() -> Engine:
        if away[0]:
            raise Unreachable("nobody answers")
        return here.engine

    one, told = service(here, lines, connect, poll=1.0)
    pauses = [one.step() for _ in range(12)]
    assert sum(line.startswith("error") for line in lines) == 1
    assert pauses[-1] <= LONGEST_PAUSE and pauses[-1] > pauses[0]
    away[0] = False
    here.assign("bd-a")
    one.step()
    assert ("the database answers again" in lines, told.bad, told.good) == (True, 12, 1)


def test_one_leads(doltlite: Engine, doltlite_factory: Any) -> None:
    here, lines = Light(doltlite), list[str]()
    first, _ = service(here, lines)
    second, told = service(here, lines, doltlite_factory)
    first.step()
    second.step()
    assert (lines.count("leading"), lines.count("standing by: another one leads"), told.by) == (1, 1, 1)
    first._drop()
    second.step()
    assert (lines.count("leading"), told.good) == (2, 1)


def test_who_is_set_wrongly_leaves_the_lead_to_others(doltlite: Engine, doltlite_factory: Any) -> None:
    here, lines = Light(doltlite), list[str]()
    here.assign("bd-a")
    first, told = service(here, lines, doltlite_factory)

    def wrong(engine: Engine) -> Loop:
        def targets(name: str) -> Any:
            raise SettingsError("target hook has no URL")

        return build(engine, here.settings, targets, ShiftedClock(timedelta(minutes=1)), lines.append, patient=False)

    first.make = wrong
    first.step()
    second, good = service(here, lines, doltlite_factory)
    second.step()
    assert (lines.count("leading"), told.bad, good.good) == (2, 1, 1)
    second._drop()
    first.step()
    assert sum(line.startswith(("leading", "error")) for line in lines) == 3, "each is said when it changes"


def test_after_a_restart_it_knows_who_waits_and_runs(doltlite: Engine, doltlite_factory: Any) -> None:
    """Nothing is due, so an idle tick would know of nobody."""
    here = Light(doltlite)
    here.assign("bd-a", "bd-b")
    here.tick()
    assert here.tick(timedelta(minutes=1)).rounds == 0
    told: list[tuple[int, dict[str, Phase]]] = []

    class Listening(Told):
        def polled(self, loop: Loop, outcome: Outcome, seconds: float) -> None:
            told.append((outcome.rounds, {bead.id: bead.phase for bead in loop.state.beads.values()}))

    def make(engine: Engine) -> Loop:
        clock = ShiftedClock(timedelta(minutes=1))
        return build(engine, here.settings, lambda name: here.target, clock, lambda line: None, patient=False)

    one = Service(doltlite_factory, make, lambda line: None, Listening(), clock=Still())
    one.step()
    one.step()
    assert told[0] == (1, {"bd-a": Phase.RUNNING, "bd-b": Phase.WAITING})
    assert told[1][0] == 0, "once is enough"


def test_what_was_said_already_is_not_said_again() -> None:
    heard: list[str] = []
    repeated: list[str] = []
    changes = Changes(heard.append, repeated.append)
    for beads in (["a", "b"], ["a", "b"], [], ["b"], ["a"]):
        changes.next()
        for bead in beads:
            changes.say(Said.lasting(f"holding {bead}", LogEvent.HOLDING, bead=bead))
    assert heard == ["holding a", "holding b", "holding a"]
    assert repeated == ["holding a", "holding b", "holding b"]
    changes.say(Said("did", LogEvent.DECISION, bead="x"))
    changes.say(Said("did", LogEvent.DECISION, bead="x"))
    assert heard[-2:] == ["did", "did"], "a decision is always new"


def test_what_lasts_is_said_again_when_it_changes_and_not_when_only_its_age_does() -> None:
    heard: list[str] = []
    changes = Changes(heard.append)
    for words, steady in (("age 1m", ""), ("age 2m", ""), ("spared", "spared"), ("age 3m", "")):
        changes.next()
        changes.say(Said(words, LogEvent.KEEPING, steady=steady, bead="bd-1"))
    assert heard == ["age 1m", "spared", "age 3m"]


@pytest.mark.parametrize("between", [LogEvent.IDLE, LogEvent.MERGING, LogEvent.OVERTAKEN])
def test_a_tick_that_decides_nothing_ends_no_hold(between: LogEvent) -> None:
    """The next tick that decides would say all of it again."""
    heard: list[str] = []
    changes = Changes(heard.append)
    held = Said.lasting("holding bd-1", LogEvent.HOLDING, bead="bd-1")
    for line in (held, Said.lasting("between", between), held, Said.lasting("between", between)):
        changes.next()
        changes.say(line)
    assert heard == ["holding bd-1", "between", "between"]


def test_a_hold_that_ended_and_begins_again_is_news() -> None:
    heard: list[str] = []
    changes = Changes(heard.append)
    held = Said.lasting("holding bd-1", LogEvent.HOLDING, bead="bd-1")
    for line in (held, Said.lasting(NO_BEADS, LogEvent.NONE_ELIGIBLE), held):
        changes.next()
        changes.say(line)
    assert heard == ["holding bd-1", NO_BEADS, "holding bd-1"]


def test_repeats_are_of_level_debug() -> None:
    held = Said.lasting("holding bd-1: later", LogEvent.HOLDING, bead="bd-1")
    for verbose, levels in ((False, ["info"]), (True, ["info", "debug"])):
        out = io.StringIO()
        log = Log(out, verbose=verbose)
        changes = Changes(log.say, log.debug)
        for _ in range(2):
            changes.next()
            changes.say(held)
        assert [json.loads(line)["level"] for line in out.getvalue().splitlines()] == levels


def test_logs_for_machines_and_for_people() -> None:
    said = Said("dispatched bd-1 as job j", LogEvent.DECISION, bead="bd-1", version=2, rule="agent", commit="abc")
    out = io.StringIO()
    Log(out).say(said)
    line = json.loads(out.getvalue())
    assert {k: line[k] for k in ("level", "event", "message", "bead", "version", "commit")} == {
        "level": "info", "event": "decision", "message": str(said), "bead": "bd-1", "version": 2, "commit": "abc",
    }  # fmt: skip
    out = io.StringIO()
    Log(out, json=False).say(Said("title with \x1b[31mred\nand a line", LogEvent.HOLDING))
    assert "\x1b" not in out.getvalue() and out.getvalue().count("\n") == 1
    out = io.StringIO()
    Log(out, json=False).say(
        Said(f"error: {SettingsError('no URL', where='x', fix='y')}", LogEvent.ERROR, error="SettingsError")
    )
    assert out.getvalue().endswith(" error: no URL · where: x · fix:   y · error=SettingsError\n")


def test_each_line_of_a_service_names_its_event(doltlite_factory: Any) -> None:
    """`say` takes no other line: mypy sees to it, and so does this for a service with something to say."""
    here = Light(doltlite_factory(), max_in_flight=1)
    here.assign("bd-a", "bd-b")
    lines: list[Any] = []

    def make(engine: Engine) -> Loop:
        clock = ShiftedClock(timedelta(minutes=1))
        return build(engine, here.settings, lambda name: here.target, clock, lines.append, patient=False)

    service = Service(doltlite_factory, make, lines.append, Told(), clock=Still())
    service.step()
    service.stop.set()
    service.run()
    events = [line.event for line in lines]
    assert {LogEvent.LEADING, LogEvent.DECISION, LogEvent.RULE_HELD, LogEvent.KEEPING} <= {*events}
    assert events[-2:] == [LogEvent.WATCHING, LogEvent.STOPPED]
