"""The service alone: its pauses, its log lines, and the choice of the worker."""

from __future__ import annotations

import io
import json
import logging
import threading
from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.checkpoint.poll import NO_BEADS
from dolt_watch.clock import MonotonicClock
from dolt_watch.controller.loop import ControlLoop
from dolt_watch.controller.service import LONGEST_PAUSE, SHORTEST
from dolt_watch.controller.tick_result import TickResult
from dolt_watch.core.model import Phase
from dolt_watch.engines import Engine
from dolt_watch.errors import DoltWatchError, SettingsError, Unreachable
from dolt_watch.log_events import LogEvent
from dolt_watch.telemetry.log_output import OF_THE_PROCESS, LogHandler, RepeatFilter
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.lines import Records, Service, build, lasting, record


class Still(MonotonicClock):
    """A clock that advances only by pauses, and records them."""

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

    def heartbeat(self) -> None:
        self.turned += 1

    def tick_finished(self, loop: ControlLoop, outcome: TickResult, seconds: float) -> None:
        self.good += 1

    def standing_by(self) -> None:
        self.by += 1

    def failed(self, error: DoltWatchError) -> None:
        self.bad += 1


def service(
    here: Light, lines: list[str], connect: Any = None, **more: Any
) -> tuple[Service, Told]:
    told, clock = Told(), ShiftedClock(timedelta(seconds=0))

    def make(engine: Engine) -> ControlLoop:
        return build(
            engine, here.settings, lambda name: here.target, clock, lines.append, patient=False
        )

    return Service(
        connect or (lambda: here.engine), make, lines.append, told, clock=Still(), **more
    ), told


def test_it_sleeps_until_the_moment_that_matters(doltlite: Engine) -> None:
    """A bead is dispatched as soon as it has settled, not at the next poll."""
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
    told.tick_finished = lambda loop, outcome, seconds: rounds.append(outcome.rounds)  # type: ignore[method-assign]
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
            raise Unreachable("no answer")
        return here.engine

    one, told = service(here, lines, connect, poll=1.0)
    pauses = [one.step() for _ in range(12)]
    assert sum(line.startswith("error") for line in lines) == 1
    assert pauses[-1] <= LONGEST_PAUSE and pauses[-1] > pauses[0]
    away[0] = False
    here.assign("bd-a")
    one.step()
    assert ("the database can be reached again" in lines, told.bad, told.good) == (True, 12, 1)


def test_one_leads(doltlite: Engine, doltlite_factory: Any) -> None:
    here, lines = Light(doltlite), list[str]()
    first, _ = service(here, lines)
    second, told = service(here, lines, doltlite_factory)
    first.step()
    second.step()
    assert (lines.count("leading"), lines.count("standing by: another worker leads"), told.by) == (
        1,
        1,
        1,
    )
    first._drop()
    second.step()
    assert (lines.count("leading"), told.good) == (2, 1)


def test_who_is_set_wrongly_leaves_the_lead_to_others(
    doltlite: Engine, doltlite_factory: Any
) -> None:
    here, lines = Light(doltlite), list[str]()
    here.assign("bd-a")
    first, told = service(here, lines, doltlite_factory)

    def wrong(engine: Engine) -> ControlLoop:
        def targets(name: str) -> Any:
            raise SettingsError("target hook has no URL")

        return build(
            engine,
            here.settings,
            targets,
            ShiftedClock(timedelta(minutes=1)),
            lines.append,
            patient=False,
        )

    first.make = wrong
    first.step()
    second, good = service(here, lines, doltlite_factory)
    second.step()
    assert (lines.count("leading"), told.bad, good.good) == (2, 1, 1)
    second._drop()
    first.step()
    assert sum(line.startswith(("leading", "error")) for line in lines) == 3, (
        "each is said when it changes"
    )


def test_a_database_that_is_not_migrated_is_two_lines(
    doltlite: Engine, doltlite_factory: Any
) -> None:
    here, lines = Light(doltlite), list[str]()
    doltlite.execute_ddl("DROP TABLE watch_cursor")
    one, told = service(here, lines, doltlite_factory)
    for _ in range(3):
        one.step()
    assert (lines.count("leading"), len(lines), told.bad) == (1, 2, 3)


def test_after_a_restart_it_knows_who_waits_and_runs(
    doltlite: Engine, doltlite_factory: Any
) -> None:
    """The first tick reports all beads even if nothing is due."""
    here = Light(doltlite)
    here.assign("bd-a", "bd-b")
    here.tick()
    assert here.tick(timedelta(minutes=1)).rounds == 0
    told: list[tuple[int, dict[str, Phase]]] = []

    class Listening(Told):
        def tick_finished(self, loop: ControlLoop, outcome: TickResult, seconds: float) -> None:
            told.append(
                (outcome.rounds, {bead.id: bead.phase for bead in loop.state.beads.values()})
            )

    def make(engine: Engine) -> ControlLoop:
        clock = ShiftedClock(timedelta(minutes=1))
        return build(
            engine, here.settings, lambda name: here.target, clock, lambda line: None, patient=False
        )

    one = Service(doltlite_factory, make, lambda line: None, Listening(), clock=Still())
    one.step()
    one.step()
    assert told[0] == (1, {"bd-a": Phase.RUNNING, "bd-b": Phase.WAITING})
    assert told[1][0] == 0, "once is enough"


class Filtered:
    """A collector of the lines that a RepeatFilter passes, and of the lines that it drops."""

    def __init__(self) -> None:
        self.filter = RepeatFilter()
        self.heard: list[str] = []
        self.repeated: list[str] = []

    def log(self, record: logging.LogRecord) -> None:
        passed = self.filter.filter(record)
        (self.heard if passed else self.repeated).append(record.getMessage())

    def next_tick(self) -> None:
        self.filter.next_tick()


def test_what_was_said_already_is_not_said_again() -> None:
    changes = Filtered()
    for beads in (["a", "b"], ["a", "b"], [], ["b"], ["a"]):
        changes.next_tick()
        for bead in beads:
            changes.log(lasting(f"holding {bead}", LogEvent.HOLDING, bead=bead))
    assert changes.heard == ["holding a", "holding b", "holding a"]
    assert changes.repeated == ["holding a", "holding b", "holding b"]
    changes.log(record("did", LogEvent.DECISION, bead="x"))
    changes.log(record("did", LogEvent.DECISION, bead="x"))
    assert changes.heard[-2:] == ["did", "did"], "a decision is always new"


def test_what_lasts_is_said_again_when_it_changes_and_not_when_only_its_age_does() -> None:
    changes = Filtered()
    for words, steady in (("age 1m", ""), ("age 2m", ""), ("spared", "spared"), ("age 3m", "")):
        changes.next_tick()
        changes.log(record(words, LogEvent.KEEPING, steady=steady, bead="bd-1"))
    assert changes.heard == ["age 1m", "spared", "age 3m"]


@pytest.mark.parametrize("between", [LogEvent.IDLE, LogEvent.MERGING, LogEvent.OVERTAKEN])
def test_a_tick_that_decides_nothing_ends_no_hold(between: LogEvent) -> None:
    """Otherwise, the next tick that decides would log every hold again."""
    changes = Filtered()
    for _ in range(2):
        changes.next_tick()
        changes.log(lasting("holding bd-1", LogEvent.HOLDING, bead="bd-1"))
        changes.next_tick()
        changes.log(lasting("between", between))
    assert changes.heard == ["holding bd-1", "between", "between"]


@pytest.mark.parametrize("event", sorted(OF_THE_PROCESS))
def test_a_line_about_the_process_ends_no_hold(event: LogEvent) -> None:
    changes = Filtered()
    for _ in range(2):
        changes.next_tick()
        changes.log(lasting("holding bd-1", LogEvent.HOLDING, bead="bd-1"))
        changes.next_tick()
        changes.log(record("the process", event))
    assert changes.heard == ["holding bd-1", "the process", "the process"]


def test_a_hold_that_ended_and_begins_again_is_news() -> None:
    changes = Filtered()
    for line in ("holding bd-1", NO_BEADS, "holding bd-1"):
        changes.next_tick()
        held = line != NO_BEADS
        event = LogEvent.HOLDING if held else LogEvent.NONE_ELIGIBLE
        changes.log(lasting(line, event, **({"bead": "bd-1"} if held else {})))
    assert changes.heard == ["holding bd-1", NO_BEADS, "holding bd-1"]


def test_repeats_are_of_level_debug() -> None:
    for verbose, levels in ((False, ["info"]), (True, ["info", "debug"])):
        out = io.StringIO()
        handler, changes = LogHandler(out), RepeatFilter(verbose=verbose)
        handler.addFilter(changes)
        for _ in range(2):
            changes.next_tick()
            handler.handle(lasting("holding bd-1: later", LogEvent.HOLDING, bead="bd-1"))
        assert [json.loads(line)["level"] for line in out.getvalue().splitlines()] == levels


def test_the_level_is_that_of_the_call() -> None:
    """A bead ID may contain any word, so the message doesn't determine the level."""
    out = io.StringIO()
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        LogHandler(out).handle(record("error-1: target busy", LogEvent.DECISION, level))
    levels = [json.loads(line)["level"] for line in out.getvalue().splitlines()]
    assert levels == ["info", "info", "warning", "error", "error"]


def test_logs_for_machines_and_for_people() -> None:
    words = "dispatched bd-1 as job j"
    said = record(words, LogEvent.DECISION, bead="bd-1", version=2, rule="agent", commit="abc")
    out = io.StringIO()
    LogHandler(out).handle(said)
    line = json.loads(out.getvalue())
    assert {k: line[k] for k in ("level", "event", "message", "bead", "version", "commit")} == {
        "level": "info",
        "event": "decision",
        "message": words,
        "bead": "bd-1",
        "version": 2,
        "commit": "abc",
    }
    out = io.StringIO()
    LogHandler(out, json=False).handle(
        record("title with \x1b[31mred\nand a line", LogEvent.HOLDING)
    )
    assert "\x1b" not in out.getvalue() and out.getvalue().count("\n") == 1
    out = io.StringIO()
    words = f"error: {SettingsError('no URL', where='x', fix='y')}"
    LogHandler(out, json=False).handle(
        record(words, LogEvent.ERROR, logging.ERROR, error="SettingsError")
    )
    assert out.getvalue().endswith(" error: no URL · where: x · fix:   y · error=SettingsError\n")


def test_each_line_of_a_service_names_its_event(doltlite_factory: Any) -> None:
    here = Light(doltlite_factory(), max_in_flight=1)
    here.assign("bd-a", "bd-b")
    kept = Records()

    def make(engine: Engine) -> ControlLoop:
        clock = ShiftedClock(timedelta(minutes=1))
        return build(engine, here.settings, lambda name: here.target, clock, kept, patient=False)

    service = Service(doltlite_factory, make, kept, Told(), clock=Still())
    service.step()
    service.stop.set()
    service.run()
    events = [each.event for each in kept.records]
    assert {LogEvent.LEADING, LogEvent.DECISION, LogEvent.RULE_HELD, LogEvent.KEEPING} <= {*events}
    assert events[-2:] == [LogEvent.WATCHING, LogEvent.STOPPED]
