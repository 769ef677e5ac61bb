"""Jobs that fail within seconds. Several in a row bring their target down for a while."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from dolt_watch.core.model.target_answers import Accepted
from dolt_watch.targets.http_client import HttpResult, TransportFailure
from dolt_watch.targets.kubernetes.answers import PodState
from dolt_watch.targets.kubernetes.health import StartHealth
from dolt_watch.targets.kubernetes.settings import KubernetesSettings
from dolt_watch.targets.kubernetes.target import KubernetesTarget
from dolt_watch.targets.start_failures import Failing
from dolt_watch.testing import make_task
from tests.support.kubernetes import wait_for


def fail(target: KubernetesTarget, numbers: range) -> None:
    """Run one Job for each number, one after another, and wait until it fails."""
    for number in numbers:
        answer = target.dispatch(make_task(f"bd-{number}"), f"token-{number}")
        assert isinstance(answer, Accepted)
        job = answer.job
        wait_for(lambda job=job: target.verdict(job, None).failed)


def test_three_beads_in_a_row_bring_the_target_down(settings: KubernetesSettings) -> None:
    ahead = 0.0
    broken = replace(settings, command=("sh", "-c", "echo no config; exit 1"), max_jobs=5)
    target = KubernetesTarget(broken, {}, lambda: time.time() + ahead)
    fail(target, range(2))
    assert not target.capacity().down
    first = target.verdict("dolt-watch-token-0", None)
    assert first.failed_at_start and not first.target_failed
    fail(target, range(2, 3))
    capacity = target.capacity()
    assert capacity.down and capacity.why == (
        "the last 3 runs, on 3 beads, failed within seconds: exit code 1: no config"
    )
    assert target.verdict("dolt-watch-token-0", None).target_failed, "the same of each of them"
    other = KubernetesTarget(replace(broken, installation="other"), {})
    assert other.capacity().slots == 5, "another installation has an agent of its own"
    ahead = 65.0
    assert (target.capacity().down, target.capacity().slots) == (False, 1), "one run tries it"
    fixed = KubernetesTarget(replace(broken, command=("sleep", "1")), {}, target._now)
    answer = fixed.dispatch(make_task("bd-9"), "token-9")
    assert isinstance(answer, Accepted)
    assert target.capacity().slots == 0, "until it has ended"
    ahead = 0.0
    wait_for(lambda: fixed.capacity().slots == 5)
    assert not target.verdict("dolt-watch-token-0", None).target_failed
    for each in (target, other, fixed):
        each.close()


def test_one_bead_that_fails_is_its_own_fault(settings: KubernetesSettings) -> None:
    target = KubernetesTarget(replace(settings, command=("false",)), {})
    for number in range(3):
        answer = target.dispatch(make_task("bd-1"), f"token-{number}")
        assert isinstance(answer, Accepted)
    wait_for(lambda: all(target.verdict(f"dolt-watch-token-{n}", None).failed for n in range(3)))
    assert not target.capacity().down
    target.close()


# -- without a cluster --------------------


def table(*rows: tuple[str, str, str]) -> HttpResult:
    body = {
        "columnDefinitions": [{"name": name} for name in ("Name", "Status", "Age")],
        "rows": [{"cells": list(row)} for row in rows],
    }
    return HttpResult(200, body=json.dumps(body).encode())


FAILED = [(f"job-{number}", "Failed", f"{number}m0s") for number in range(1, 6)]
"""Five Jobs, newest first."""
AWAY = HttpResult(failure=TransportFailure.TIMEOUT, reason="no answer")


def quick(job: str) -> PodState:
    return PodState(False, ended="exit code 1", bead=job, failed_at_start=True, ended_at=1000.0)


def failing(
    successful: HttpResult,
    pods: Callable[[str], PodState | str] = quick,
    unsuccessful: HttpResult | None = None,
) -> Failing | None:
    listed = table(*reversed(FAILED)) if unsuccessful is None else unsuccessful
    return StartHealth().failing(listed, lambda: successful, pods)


def test_the_pause_doubles_with_each_further_failure() -> None:
    found = failing(table())
    assert found is not None and found.retry_at == 1000.0 + 4 * 60
    assert found.why == "the last 5 runs, on 5 beads, failed within seconds: exit code 1"


@pytest.mark.parametrize(
    ("age", "counted"), [("2m30s", 0), ("3m0s", 0), ("3m1s", 3), ("5m", 4), ("2h", 5), ("?", 0)]
)
def test_a_job_that_succeeded_later_shows_that_the_agent_works(age: str, counted: int) -> None:
    found = failing(table(("good", "Complete", age), ("older", "Complete", "9h")))
    assert (f"the last {counted} runs" in found.why) if found else counted == 0


def test_a_job_that_worked_for_a_while_ends_the_row() -> None:
    def pods(job: str) -> PodState:
        return quick(job)._replace(failed_at_start=job != "job-3")

    assert failing(table(), pods) is None


def test_jobs_that_run_or_never_ran_are_ignored() -> None:
    rows = [("a", "Running", "1s"), ("b", "Suspended", "1s"), *FAILED]
    assert failing(table(), unsuccessful=table(*rows)) is not None
    assert failing(table(), unsuccessful=table(*rows[:4])) is None


def test_what_cannot_be_asked_is_no_evidence() -> None:
    assert failing(AWAY) is None
    assert failing(table(), unsuccessful=AWAY) is None
    assert failing(table(), lambda job: "HTTP 403") is None
    assert failing(HttpResult(200, body=b"{}")) is None


def test_a_pod_is_asked_for_once_and_successes_only_if_needed() -> None:
    asked: list[str] = []
    health = StartHealth()

    def pods(job: str) -> PodState:
        asked.append(job)
        return quick(job)._replace(bead="bd-1")

    def successful() -> HttpResult:
        raise AssertionError("one bead failed, so nothing more is asked")

    for _ in range(3):
        assert health.failing(table(*FAILED), successful, pods) is None
    assert asked == [name for name, _, _ in FAILED]
    assert health.failing(table(*FAILED[:2]), successful, pods) is None
    assert len(health._ended) == 2, "ended Jobs that were deleted are forgotten"
