"""Liveness of workers, from the lock of a `run` and from the traces of a CronJob."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dolt_watch.core.decisions.policy import BOTH
from dolt_watch.core.model import Capacity
from dolt_watch.core.model.target_answers import Refused
from dolt_watch.engines import Engine
from dolt_watch.inspection.worker_liveness import Liveness, liveness
from dolt_watch.timestamps import iso
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.lines import Service, build, build_reader
from tests.unit.controller.test_service import Still, Told

MINUTE = timedelta(minutes=1)
HOST = socket.gethostname()
Factory = Callable[[], Engine]


def asked(here: Light, at: timedelta) -> Liveness:
    clock = ShiftedClock(at)
    loop = build_reader(
        here.engine, here.settings, lambda name: here.target, clock, lambda line: None
    )
    seen = loop.survey(BOTH)
    return liveness(
        here.engine, seen, seen.under({"beadboard": here.target.free}), loop.poll_interval
    )


def tick(here: Light, at: timedelta, by: str = "dispatch") -> None:
    clock = ShiftedClock(at)
    loop = build(
        here.engine,
        here.settings,
        lambda name: here.target,
        clock,
        lambda line: None,
        worker={"host": "pod-1", "by": by},
    )
    loop.tick(BOTH)


@pytest.mark.parametrize(("by", "late_after"), [("dispatch", 4 * MINUTE), ("run", 2 * MINUTE)])
def test_work_that_stays_due_for_twice_the_period(
    doltlite: Engine, by: str, late_after: timedelta
) -> None:
    here = Light(doltlite)
    here.settings = replace(here.settings, poll=MINUTE)
    tick(here, timedelta(), by)
    quiet = asked(here, timedelta(days=1))
    assert (quiet.leads, quiet.late, quiet.due, quiet.host) == (False, False, 0, "pod-1")
    assert quiet.words == "no leader; last change saved 1d 0h ago on pod-1; nothing is due"
    here.assign("bd-a")
    settle = here.settings.settle
    soon = asked(here, settle + late_after / 2)
    assert (soon.due, soon.late) == (1, False)
    late = asked(here, settle + late_after + 2 * MINUTE)
    assert (late.late, late.due_since is not None) == (True, True)
    assert late.due_since is not None and late.due_since < late.now - late_after
    assert late.words.endswith(f" although work is due since {iso(late.due_since)}")
    assert late.words.startswith("no worker for ")
    tick(here, settle + late_after + 3 * MINUTE, by)
    after = asked(here, settle + late_after + 4 * MINUTE)
    assert (after.late, after.due) == (False, 0), "it runs, and there is one slot"


@pytest.mark.parametrize("free", [Capacity(0, "busy"), Capacity(None, "refused", down=True)])
def test_nothing_is_due_where_the_target_takes_nothing(doltlite: Engine, free: Capacity) -> None:
    here = Light(doltlite)
    tick(here, timedelta())
    here.assign("bd-a")
    here.target.free = free
    found = asked(here, timedelta(hours=1))
    assert (found.late, found.due, found.due_since) == (False, 0, None)


def test_a_target_that_is_free_again_dates_nothing(doltlite: Engine) -> None:
    """Neither a commit nor a time made the bead due, so the start of the delay is unknown."""
    here = Light(doltlite)
    here.assign("bd-a")
    here.target.free = Capacity(0, "busy")
    tick(here, MINUTE)
    here.target.free = Capacity(1)
    found = asked(here, timedelta(hours=1))
    assert (found.late, found.due, found.due_since) == (False, 1, None)
    assert found.words.endswith("; work is due")


def test_time_alone_makes_work_due(doltlite: Engine) -> None:
    """A bead whose backoff ends becomes due without a commit."""
    here = Light(doltlite)
    here.assign("bd-a")
    here.target.answers.append(Refused("HTTP 500", 500))
    tick(here, MINUTE)
    retry_at = asked(here, 2 * MINUTE)
    assert (retry_at.due, retry_at.late) == (0, False)
    late = asked(here, timedelta(hours=1))
    assert (late.due, late.late) == (1, True)


def test_a_silent_bead_that_is_not_reaped(doltlite: Engine) -> None:
    here = Light(doltlite)
    here.assign("bd-a")
    tick(here, MINUTE)
    soon = asked(here, timedelta(minutes=35))
    assert (soon.overdue, soon.late) == ((), False)
    late = asked(here, timedelta(minutes=55))
    assert (late.overdue, late.late) == (("bd-a",), True)
    tick(here, timedelta(minutes=56))
    assert asked(here, timedelta(hours=9)).overdue == ()


def test_nobody_ran_yet(doltlite: Engine) -> None:
    here = Light(doltlite)
    assert asked(here, MINUTE).words == "no worker has run yet; nothing is due"
    here.assign("bd-a")
    found = asked(here, timedelta(hours=1))
    assert found.late
    assert found.words.startswith("no worker has run yet although work is due since ")
    there = asked(here, timedelta(days=3))
    assert there.words.endswith("Z"), "a day ago the hour alone would mislead"


def test_a_run_that_leads_is_seen_and_an_idle_one_writes_nothing(engine_factory: Factory) -> None:
    here = Light(engine_factory())
    here.assign("bd-a")

    def make(engine: Engine) -> object:
        return build(
            engine,
            here.settings,
            lambda name: here.target,
            ShiftedClock(MINUTE),
            lambda line: None,
            patient=False,
            worker={"host": HOST, "by": "run"},
        )

    assert here.engine.leader() is None
    service = Service(engine_factory, make, lambda line: None, Told(), clock=Still())  # type: ignore[arg-type]
    try:
        service.step()
        found = asked(here, 2 * MINUTE)
        assert (found.leads, found.host, found.late) == (True, HOST, False)
        assert found.words.startswith(f"leading on {HOST}")
        before = saved(here)
        for _ in range(3):
            service.step()
        assert saved(here) == before
        here.assign("bd-b")
        assert not asked(here, timedelta(hours=1)).late, "it leads: what is due, it does"
    finally:
        service._drop()
    assert here.engine.leader() is None
    assert json.loads(before[1])["worker"]["host"] == HOST


def saved(here: Light) -> tuple[str, str]:
    fence, shared = here.engine.query("SELECT fence, globals FROM watch_cursor WHERE id = 1")[0]
    return str(fence), str(shared)


def test_a_leader_says_so_once_though_nothing_else_changed(doltlite_factory: Factory) -> None:
    here = Light(doltlite_factory())
    tick(here, MINUTE, "dispatch")
    clock = ShiftedClock(MINUTE)
    loop = build(
        here.engine,
        here.settings,
        lambda name: here.target,
        clock,
        lambda line: None,
        worker={"host": HOST, "by": "run"},
    )
    loop.tick(BOTH, thorough=True)
    once = saved(here)
    assert json.loads(once[1])["worker"]["host"] == HOST
    loop.tick(BOTH, thorough=True)
    assert saved(here) == once
    tick(here, MINUTE, "dispatch")
    assert saved(here) == once, "a command of a CronJob that changes nothing saves nothing"


def test_a_leader_that_hangs() -> None:
    now = datetime(2026, 4, 18, 12, tzinfo=UTC)
    silent = Liveness(now, True, "web-1", timedelta(minutes=11), None, 1, None, True)
    assert silent.words == "leading on web-1, but silent for 11m"
    assert silent.facts()["quiet"] == 660.0
    unknown = silent._replace(quiet=None, late=False, host="")
    assert (unknown.words, unknown.facts()["quiet"]) == ("leading", None)
