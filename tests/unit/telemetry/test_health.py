"""Health of the service: alive, ready, started, and the criteria for a good tick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.cli import group
from dolt_watch.controller.loop import ControlLoop
from dolt_watch.controller.service import Service
from dolt_watch.controller.tick_result import TickResult
from dolt_watch.core.model import Capacity, EntryKind, JobReport, State
from dolt_watch.core.model.target_answers import Answer, Refused
from dolt_watch.engines import Engine
from dolt_watch.errors import Unreachable
from dolt_watch.inspection.report.web import Request
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.registry import TargetPool
from dolt_watch.telemetry.health import SLACK, Health, stall_threshold
from dolt_watch.telemetry.metrics import Metrics
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Answering, Light
from tests.support.lines import Service as HeardService
from tests.support.lines import build
from tests.unit.controller.test_service import Still

STUCK = stall_threshold([timedelta(seconds=30)], 2.0)


class Slow(Answering):
    """A target whose answers take the longest permitted time."""

    def __init__(self, time: Still) -> None:
        super().__init__()
        self.time, self.free = time, Capacity(9)
        self.seen: list[int] = []
        """Status of /healthz at each answer."""
        self.health: Health | None = None

    def _wait(self) -> None:
        assert self.health is not None
        self.time.now += self.timeout
        self.seen.append(self.health.routes()["/healthz"](Request("/healthz", {})).status)

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        self._wait()
        return super().dispatch(task, token)

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        self._wait()
        return super().verdict(job, started)


class Watched:
    """A service over one tracker, with its health and a clock that only a slow target advances."""

    def __init__(self, engine: Engine, **rule: Any) -> None:
        self.here, self.time, self.pings = Light(engine, **rule), Still(), 0
        self.here.target = self.target = Slow(self.time)
        self.health = self.target.health = Health(
            Metrics(), self._ping, stuck=STUCK, clock=self.time.monotonic
        )
        self.clock = ShiftedClock(timedelta(minutes=1))
        self.away = False
        targets = TargetPool(self.here.settings.targets, self.health.heartbeat)
        targets._open["beadboard"] = self.target

        def make(engine: Engine) -> ControlLoop:
            return build(
                engine,
                self.here.settings,
                targets,
                self.clock,
                self.here.lines.append,
                patient=False,
                on_progress=self.health.heartbeat,
            )

        self.service = HeardService(
            self._connect, make, self.here.lines.append, self.health, clock=self.time
        )

    def _ping(self) -> None:
        self.pings += 1

    def _connect(self) -> Engine:
        if self.away:
            raise Unreachable("no answer")
        return self.here.engine

    def asked(self, page: str) -> int:
        return self.health.routes()[f"/{page}"](Request(f"/{page}", {})).status

    def metric(self, name: str, **labels: str) -> float | None:
        return self.health.metrics.registry.get_sample_value(f"dolt_watch_{name}", labels)


@pytest.fixture
def watched(doltlite: Engine) -> Iterator[Watched]:
    yield Watched(doltlite, max_in_flight=9)


# -- alive --------------------


def test_many_slow_dispatches_in_one_tick_are_no_silence(watched: Watched) -> None:
    watched.here.assign(*(f"bd-{number}" for number in range(9)))
    watched.service.step()
    assert watched.time.now > STUCK
    assert watched.target.seen == [200] * 9


def test_nor_are_many_questions_to_a_target_in_one_round(watched: Watched) -> None:
    watched.here.assign(*(f"bd-{number}" for number in range(9)))
    watched.service.step()
    watched.target.seen.clear()
    watched.clock.offset += timedelta(hours=1)
    watched.service.step()
    assert watched.target.seen[:9] == [200] * 9


def test_nor_is_a_long_fold(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.service.step()
    for number in range(5):
        watched.here.assign(f"bd-{number}")
    seen = list[int]()

    def slow(*args: Any) -> Any:
        watched.time.now += STUCK / 2
        seen.append(watched.asked("healthz"))
        return derive_events(*args)

    from dolt_watch.core.projection.event_deriver import derive_events

    monkeypatch.setattr("dolt_watch.history.reader.derive_events", slow)
    watched.service.step()
    assert len(seen) >= 5 and set(seen) == {200}


def test_a_loop_that_hangs_is_silent(watched: Watched) -> None:
    watched.service.step()
    assert watched.asked("healthz") == 200
    watched.time.now += STUCK
    assert watched.asked("healthz") == 503


def test_stuck_is_longer_than_the_longest_request_and_the_pause_before_it() -> None:
    assert stall_threshold([timedelta(seconds=30), timedelta(hours=1)], 600.0) == 3600 + 600 + SLACK
    assert stall_threshold([], 30.0) == 30 + SLACK


def test_run_takes_it_from_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doltlite: Engine
) -> None:
    (tmp_path / "dolt_watch.toml").write_text(
        '[targets.beadboard]\nurl = "http://b"\ntimeout = "1h"\n', "utf-8"
    )
    monkeypatch.chdir(tmp_path)
    ran = list[Service]()
    monkeypatch.setattr(Service, "run", lambda service: ran.append(service))
    arguments = ["run", "--database", "dolt://u@127.0.0.1:1/beads", "--poll", "5m"]
    assert group.main(arguments, prog_name="dolt_watch", standalone_mode=False) in (0, None)
    (service,) = ran
    assert isinstance(service.watching, Health)
    assert service.watching.stall_after == 3600 + 300 + SLACK
    loop = service.make(doltlite)
    parts = loop.parts
    assert parts.tracker.on_progress == service.watching.heartbeat
    assert parts.observer.targets.on_progress == service.watching.heartbeat  # type: ignore[attr-defined]


# -- started, ready --------------------


def test_started_is_when_a_first_poll_has_ended_well_or_not(watched: Watched) -> None:
    watched.away = True
    assert (watched.asked("startupz"), watched.asked("readyz")) == (503, 503)
    watched.health.heartbeat()
    assert watched.asked("startupz") == 503, "in the middle of the first fold"
    watched.service.step()
    assert (watched.asked("startupz"), watched.asked("readyz")) == (200, 503), (
        "a database that is away"
    )
    watched.away = False
    watched.service.step()
    assert (watched.asked("startupz"), watched.asked("readyz")) == (200, 200)


# -- good ticks --------------------


def test_a_good_tick_is_one_thing_for_the_ping_and_for_the_metrics(watched: Watched) -> None:
    watched.service.step()
    good = watched.metric("last_success_timestamp_seconds")
    assert (watched.pings, bool(good), watched.metric("ticks_total", result="ok")) == (1, True, 1)
    watched.here.assign("bd-a")
    watched.target.free = Capacity(0, "connection refused", down=True)
    watched.service.step()
    assert (watched.pings, watched.metric("last_success_timestamp_seconds")) == (1, good), (
        "the target is down"
    )
    assert watched.metric("ticks_total", result="failed") == 1
    watched.target.free = Capacity(9)
    watched.clock.offset += timedelta(minutes=1)
    watched.target.answers.append(Refused("HTTP 500: boom", 500))
    watched.service.step()
    assert (watched.pings, watched.metric("last_success_timestamp_seconds")) == (1, good), (
        "a dispatch failed"
    )
    watched.service.step()
    assert watched.pings == 2
    assert (watched.metric("last_success_timestamp_seconds") or 0) > (good or 0)


def test_a_file_of_metrics_keeps_the_last_good_tick_through_a_bad_one(tmp_path: Path) -> None:
    file = tmp_path / "m.prom"
    for outcome in (TickResult(), TickResult(kinds=Counter({EntryKind.FAILED: 1}))):
        metrics = Metrics()
        metrics.record_tick(outcome, State(), None, 0.1)
        metrics.write(str(file))
    told = [
        float(line.split()[1])
        for line in file.read_text().splitlines()
        if line.startswith("dolt_watch_last_succ")
    ]
    assert told and told[0] > 1_000_000_000


# -- workers that do not lead --------------------


def seen(watched: Watched) -> list[float | None]:
    return [
        watched.metric("leader"),
        watched.metric("beads", phase="running", rule="agent"),
        watched.metric("oldest_waiting_seconds"),
    ]


def test_who_stood_down_tells_of_no_beads(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.here.assign("bd-a")
    watched.service.step()
    assert seen(watched) == [1, 1, 0]
    lead = watched.here.engine.try_acquire_leadership
    monkeypatch.setattr(watched.here.engine, "try_acquire_leadership", lambda: False)
    watched.service.step()
    assert seen(watched) == [0, None, 0]
    monkeypatch.setattr(watched.here.engine, "try_acquire_leadership", lead)
    watched.service.step()
    assert seen(watched) == [1, 1, 0], "leading again, though nothing changed"


def test_nor_does_who_lost_the_database(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.here.assign("bd-a")
    watched.service.step()

    def lost() -> bool:
        raise Unreachable("gone")

    monkeypatch.setattr(watched.here.engine, "try_acquire_leadership", lost)
    watched.service.step()
    assert seen(watched) == [0, None, 0]


def test_who_starts_on_an_idle_tracker_tells_what_there_is(watched: Watched) -> None:
    watched.here.assign("bd-a")
    watched.service.step()
    watched.health.metrics = Metrics()
    watched.service._loop, watched.service._leads = None, None
    watched.service.step()
    assert seen(watched) == [1, 1, 0]
