"""Settlement of attempts with a lost answer or a dead worker, by a query to the target.

The tests run the whole loop on an embedded tracker.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dolt_watch.cli.composition import build_dry_run, build_reader, ledger
from dolt_watch.cli.stop import _stop
from dolt_watch.controller.manual_actions import ManualActions
from dolt_watch.core.decisions.policy import Scope
from dolt_watch.core.model.observations import Verdict
from dolt_watch.core.model.target_answers import Answer
from dolt_watch.engines import Engine
from dolt_watch.replay.verification import verify
from dolt_watch.targets.kubernetes.settings import KubernetesSettings
from dolt_watch.targets.kubernetes.target import KubernetesTarget
from dolt_watch.targets.protocol import BeadTask
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.kubernetes import Namespace, wait_for
from tests.unit.targets.kubernetes.conftest import MakeTarget

MINUTE = timedelta(minutes=1)
OVERDUE = timedelta(minutes=3)


class Killed(BaseException):
    """The end of the worker's process."""


class DyingTarget(KubernetesTarget):
    """A target whose worker is killed once, before or after the request."""

    dies = ""

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        when, self.dies = self.dies, ""
        if when == "before":
            raise Killed
        answer = super().dispatch(task, token)
        if when == "after":
            raise Killed
        return answer


@pytest.fixture
def tracker(doltlite: Engine, settings: KubernetesSettings) -> Light:
    light = Light(doltlite, target="cluster", max_in_flight=5)
    light.settings = replace(light.settings, targets={"cluster": settings})
    return light


def agents(namespace: Namespace) -> list[str]:
    """Return the beads of all Jobs that aren't suspended."""
    return [
        job["metadata"]["labels"]["dolt-watch.dev/bead"]
        for job in namespace.list_jobs()
        if not job["spec"].get("suspend")
    ]


def assert_verifies(tracker: Light) -> None:
    result = verify(tracker.past())
    assert result.differences == []
    assert not result.unverifiable
    assert result.same


def test_an_answer_that_was_lost_with_its_connection_is_known_at_the_next_tick(
    tracker: Light, make_target: MakeTarget, namespace: Namespace, proxy: FaultProxy
) -> None:
    tracker.target = make_target(server=proxy.url)
    tracker.assign("bd-1", "bd-2")
    proxy.fail("POST", Fault.LOSE)
    proxy.fail("GET", Fault.DROP, Fault.DROP)
    tracker.tick()
    tracker.target = make_target(server=proxy.url)  # simulates another worker
    tracker.tick(2 * MINUTE)
    assert tracker.kinds("bd-1") == ["claim", "unknown", "dispatched"]
    notes = tracker.row("bd-1", "notes")[0].splitlines()
    assert notes[1].startswith("dispatch outcome unknown (the connection broke after sending")
    assert notes[2].startswith("dispatched: job=dolt-watch-")
    assert sorted(agents(namespace)) == ["bd-1", "bd-2"]
    assert_verifies(tracker)


def test_a_run_whose_answer_was_lost_can_be_stopped(
    tracker: Light,
    make_target: MakeTarget,
    namespace: Namespace,
    proxy: FaultProxy,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The attempt has no job ID, so its token names the run."""
    agent = {"command": ("sleep", "60")}
    tracker.target = make_target(server=proxy.url, **agent)
    tracker.assign("bd-1")
    proxy.fail("POST", Fault.LOSE)
    proxy.fail("GET", Fault.DROP, Fault.DROP)
    tracker.tick()
    assert tracker.kinds("bd-1") == ["claim", "unknown"] and agents(namespace) == ["bd-1"]
    target = make_target(**agent)  # simulates the command's own process
    reader = build_reader(tracker.engine, tracker.settings, lambda _: target, ShiftedClock(MINUTE))
    hand = ManualActions(reader, ledger(tracker.engine, tracker.settings))
    assert _stop(hand, tracker.settings, lambda _: target, "bd-1", "ann", "wrong files") == 0
    assert capsys.readouterr().out == "bd-1: stopped (the Job was deleted), and blocked\n"
    assert agents(namespace) == [] and tracker.row("bd-1", "status") == ("blocked",)


@pytest.mark.parametrize(
    ("dies", "history"),
    [
        ("before", ["claim", "overdue", "retry", "claim", "dispatched"]),
        ("after", ["claim", "overdue", "dispatched"]),
    ],
)
def test_a_claim_whose_worker_died_is_settled_after_its_deadline(
    tracker: Light,
    settings: KubernetesSettings,
    namespace: Namespace,
    dies: str,
    history: list[str],
) -> None:
    target = tracker.target = DyingTarget(settings, {})
    tracker.assign("bd-1")
    target.dies = dies
    with pytest.raises(Killed):
        tracker.tick()
    tracker.tick()
    assert tracker.kinds("bd-1") == ["claim"], "until its deadline it is its holder's"
    tracker.tick(OVERDUE)
    tracker.tick(OVERDUE + MINUTE)
    assert tracker.kinds("bd-1") == history
    assert agents(namespace) == ["bd-1"]
    assert tracker.row("bd-1", "status") == ("in_progress",)
    assert_verifies(tracker)
    target.close()


def test_several_attempts_are_settled_in_one_tick(
    tracker: Light, settings: KubernetesSettings, namespace: Namespace
) -> None:
    target = tracker.target = DyingTarget(settings, {})
    beads = [f"bd-{number}" for number in range(4)]
    tracker.assign(*beads)
    for dies in ("before", "after", "before", "after"):
        target.dies = dies
        with pytest.raises(Killed):
            tracker.tick()
    tracker.tick(OVERDUE)
    assert [tracker.kinds(bead)[-1] for bead in beads] == ["retry", "dispatched"] * 2
    tracker.tick(OVERDUE + MINUTE)
    assert sorted(agents(namespace)) == beads
    assert {tracker.kinds(bead)[-1] for bead in beads} == {"dispatched"}
    assert_verifies(tracker)
    target.close()


def test_while_the_server_is_away_the_attempt_waits(
    tracker: Light, make_target: MakeTarget, namespace: Namespace, proxy: FaultProxy
) -> None:
    tracker.target = make_target(server=proxy.url)
    tracker.assign("bd-1")
    proxy.fail("POST", Fault.LOSE)
    proxy.fail("GET", Fault.DROP, Fault.DROP)
    tracker.tick()
    proxy.always = Fault.DROP
    for hours in range(1, 4):
        tracker.tick(timedelta(hours=hours))
    assert set(tracker.kinds("bd-1")) == {"claim", "unknown"}, "neither blocked nor sent again"
    proxy.always = None
    tracker.tick(timedelta(hours=5))
    assert tracker.kinds("bd-1") == ["claim", "unknown", "dispatched"]
    assert agents(namespace) == ["bd-1"]
    assert_verifies(tracker)


def test_a_job_that_cannot_start_is_reaped_at_once_and_deleted(
    tracker: Light, make_target: MakeTarget, namespace: Namespace
) -> None:
    namespace.quota(pods="0")
    tracker.target = make_target()
    tracker.assign("bd-1")
    tracker.tick()
    [job] = namespace.list_jobs()
    tracker.target = impatient = make_target(start_timeout=timedelta(seconds=1))
    wait_for(lambda: impatient.verdict(job["metadata"]["name"], None).failed)
    tracker.tick(3 * MINUTE)
    assert tracker.kinds("bd-1") == ["claim", "dispatched", "reap"]
    status, notes = tracker.row("bd-1", "status", "notes")
    assert status == "blocked"
    last = notes.splitlines()[-1]
    assert last.startswith(f"reaper: job {job['metadata']['name']} ended error: it can't start: ")
    assert "exceeded quota" in last and last.endswith(" — blocking")
    assert namespace.list_jobs() == [], "a blocked bead has no agent that may still start"
    assert_verifies(tracker)


@pytest.mark.parametrize(
    ("script", "ended"),
    [("echo boom; exit 3", "failed: exit code 3: boom"), ("exit 0", "")],
)
def test_a_run_that_failed_at_its_start_is_tried_again_and_one_that_completed_waits(
    tracker: Light, make_target: MakeTarget, script: str, ended: str
) -> None:
    target = tracker.target = make_target(command=("sh", "-c", script))
    tracker.assign("bd-1")
    tracker.tick()
    [[job]] = tracker.engine.query("SELECT job_id FROM watch_decision WHERE kind = 'dispatched'")
    wait_for(lambda: target.verdict(str(job), None).verdict is Verdict.FINISHED)
    tracker.tick(3 * MINUTE)
    assert tracker.kinds("bd-1")[2:] == (["requeue"] if ended else [])
    notes = tracker.row("bd-1", "notes")[0]
    assert (f"reaper: job {job} ended {ended} — requeued" in notes) is bool(ended)
    assert_verifies(tracker)


def test_an_agent_that_does_not_work_blocks_no_bead(
    tracker: Light, make_target: MakeTarget
) -> None:
    target = tracker.target = make_target(command=("no-such-agent",))
    beads = [f"bd-{number}" for number in range(3)]
    tracker.assign(*beads)
    tracker.tick()
    wait_for(lambda: target.capacity().down)
    tracker.tick(3 * MINUTE)
    assert [tracker.kinds(bead)[-1] for bead in beads] == ["requeue"] * 3
    assert [tracker.row(bead, "status") for bead in beads] == [("open",)] * 3
    assert "reaper:" not in tracker.row("bd-1", "notes")[0], "no note for each try"
    assert_verifies(tracker)


def test_a_dry_run_takes_no_name(
    tracker: Light, make_target: MakeTarget, namespace: Namespace, proxy: FaultProxy
) -> None:
    tracker.target = make_target(server=proxy.url)
    tracker.assign("bd-1")
    proxy.fail("POST", Fault.DROP)
    proxy.fail("GET", Fault.DROP, Fault.DROP)
    tracker.tick()
    assert tracker.kinds("bd-1") == ["claim", "unknown"]
    loop = build_dry_run(
        tracker.engine, tracker.settings, lambda name: tracker.target, ShiftedClock(5 * MINUTE)
    )
    loop.tick(Scope(dispatch=True, reap=True))
    assert namespace.list_jobs() == []
    tracker.tick(5 * MINUTE)
    [job] = namespace.list_jobs()
    assert job["spec"]["suspend"] and tracker.kinds("bd-1")[-1] == "retry"
