"""Workers with local agents, killed at every effect: statements, files of runs, processes.

The tests use real bd and Dolt. Exactly one run of a bead begins, its end is found, and no agent of
a blocked bead lives.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.cli.composition import build
from dolt_watch.core.decisions.policy import Scope
from dolt_watch.engines.connect import open_engine
from dolt_watch.targets.local.target import Local
from dolt_watch.testing.target_conformance import make_task
from tests.acceptance.conftest import Watch, watch  # noqa: F401 - a fixture
from tests.acceptance.test_local import Agents
from tests.acceptance.test_verify import verified
from tests.faults.effects import Effects, Ended, Tell, Worker, watched, writes
from tests.support.clocks import ShiftedClock
from tests.unit.targets.local.agents import alive, until

AUDITED = ("open", "os.", "fcntl.", "subprocess.", "tempfile.", "shutil.")
RUNS_ONCE = 'echo "$DOLT_WATCH_TOKEN" >> {ran}'


@pytest.fixture
def agents(watch: Watch, tmp_path: Path) -> Iterator[Agents]:  # noqa: F811
    made = Agents(watch, tmp_path)
    yield made
    for token in made.target.live_tokens():
        made.target.stop(token, "the test", "it is over")


def strike(agents: Agents, scope: Scope, shift: timedelta, fatal: int) -> Ended:
    """Run one tick in a process that dies at its Nth point. With 0 it lives."""
    settings, chosen = agents.watch.settings, agents.target.settings

    def work(tell: Tell) -> int:
        effects = Effects(tell, fatal, writes)
        target = Local(chosen)
        target._prompt.render(make_task(), "warm")  # Imports aren't effects.
        armed = False

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal armed
            if armed and event.startswith(AUDITED):
                # A report of an effect is an effect too.
                armed = False
                effects._at(f"local {event}")
                armed = True

        class Armed:
            """A target whose access to files and processes counts as effects."""

            def __getattr__(self, name: str) -> Any:
                found = getattr(target, name)
                if not callable(found):
                    return found

                def call(*arguments: Any) -> Any:
                    nonlocal armed
                    armed = True
                    try:
                        return found(*arguments)
                    finally:
                        armed = False

                return call

        sys.addaudithook(audit)
        engine = watched(open_engine(settings.address), effects)
        build(engine, settings, lambda name: Armed(), ShiftedClock(shift)).tick(scope)  # type: ignore[arg-type,return-value]
        return 0

    with Worker(work) as worker:
        worker.start()
        ended = worker.ended()
    assert not ended.error, ended.error
    return ended


def recover(agents: Agents, bead: str, since: timedelta) -> None:
    """Tick until the bead is blocked, as later workers do."""
    for minute in range(3, 40, 3):
        agents.watch.tick(since + timedelta(minutes=minute))
        if agents.watch.status(bead) == "blocked":
            return
        for token in agents.target.live_tokens():
            until(lambda token=token: token not in agents.target.live_tokens())
    raise AssertionError(f"{bead} is {agents.watch.status(bead)}: {agents.watch.kinds(bead)}")


def sweep_dispatch(agents: Agents, step: int) -> None:
    ran = agents.folder / "ran"
    agents.are(RUNS_ONCE.format(ran=ran), {"stale_after": timedelta(minutes=1)})
    for fatal in count(1, step):
        ran.unlink(missing_ok=True)
        bead = agents.watch.assigned(f"killed at {fatal}")
        ended = strike(agents, Scope(dispatch=True), timedelta(), fatal)
        recover(agents, bead, timedelta())
        assert len(ran.read_text("utf-8").split()) == 1, f"killed at {ended.points[-1:]}"
        assert "ended completed" in agents.watch.notes(bead)[-1]
        if not ended.killed:
            break
    assert fatal > 40 // step
    assert verified(agents.watch).differences == []


def sweep_reap(agents: Agents, step: int) -> None:
    agents.are("exec sleep 300", {"max_runtime": timedelta(minutes=10)})
    for fatal in count(1, step):
        bead = agents.watch.assigned(f"reaper killed at {fatal}")
        agents.watch.dispatch()
        token = agents.token(bead)
        assert alive(token)
        ended = strike(agents, Scope(reap=True), timedelta(minutes=40), fatal)
        agents.watch.reap(timedelta(minutes=42))
        assert agents.watch.status(bead) == "blocked", f"killed at {ended.points[-1:]}"
        assert not alive(token), f"killed at {ended.points[-1:]}"
        if not ended.killed:
            break
    assert fatal > 20 // step


def test_a_dispatcher_killed_at_some_effects(agents: Agents) -> None:
    sweep_dispatch(agents, 17)


def test_a_reaper_killed_at_some_effects(agents: Agents) -> None:
    sweep_reap(agents, 13)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_dispatcher_killed_at_each_effect(agents: Agents) -> None:
    sweep_dispatch(agents, 1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_reaper_killed_at_each_effect(agents: Agents) -> None:
    sweep_reap(agents, 1)
