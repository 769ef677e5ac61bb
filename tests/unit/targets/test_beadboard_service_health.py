"""BeadBoard and the service behind it: dispatch, capacity, and evidence that nothing runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dolt_watch.core.model import Capacity
from dolt_watch.core.model.target_answers import Accepted, Busy, Refused, Unknown
from dolt_watch.targets.http_client import HttpResult
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.service_health import SERVICE, interpret_health
from tests.stubs.agent_service import AgentServiceStub
from tests.stubs.asking import SHORT, capacity, dispatch, patience
from tests.stubs.beadboard import BeadBoardStub, dead_url


@pytest.fixture
def stub() -> Iterator[BeadBoardStub]:
    with BeadBoardStub() as stub:
        yield stub


# -- with the service behind it --------------------


def test_what_the_service_says_comes_through() -> None:
    with AgentServiceStub(capacity=1, max_queue_depth=2) as service, BeadBoardStub(service) as stub:
        first, second = dispatch(stub.url), dispatch(stub.url)
        assert isinstance(first, Accepted) and isinstance(second, Accepted)
        assert [job.status for job in service.jobs.values()] == ["running", "queued"]
        assert isinstance(dispatch(stub.url), Busy)
        service.finish(first.job)
        assert service.jobs[second.job].status == "running"
        stub.bearer = "wrong"
        assert dispatch(stub.url) == Refused(
            'HTTP 502: {"error": "Invalid token"}', 502, halts_rule=True
        )
        service.execute_next("break-after-accept")
        stub.bearer = service.bearer
        assert isinstance(dispatch(stub.url), Unknown)
        service.execute_next(202, {})
        assert isinstance(dispatch(stub.url), Unknown)
        service.execute_next(422, {"detail": [{"type": "missing"}]})
        assert isinstance(dispatch(stub.url), Refused)
        service.execute_next(500, "oops")
        assert isinstance(dispatch(stub.url), Unknown)


def test_the_checks_of_beadboard_itself() -> None:
    rows: dict[str, dict[str, Any]] = {
        "bd-2": {"acceptance_criteria": " \n"},
        "bd-3": {"acceptance_criteria": None},
    }
    with BeadBoardStub(lookup=lambda bead: rows.get(bead)) as stub:
        assert dispatch(stub.url) == Refused(
            'HTTP 400: {"error": "Bead bd-1 not found."}', 400, not_found=True
        )
        for bead in ("bd-2", "bd-3"):
            answer = dispatch(stub.url, task=BeadTask(bead, {}))
            assert isinstance(answer, Refused) and answer.permanent
        assert dispatch(stub.url, task=BeadTask("  ", {})) == Refused(
            'HTTP 400: {"error": "taskId is required."}', 400, permanent=True
        )
        stub.configured = False
        answer = dispatch(stub.url)
        assert (
            isinstance(answer, Refused) and not answer.permanent and "not configured" in answer.why
        )
        assert stub.accepted == []


def test_an_older_service_is_busy_with_one() -> None:
    with AgentServiceStub(old=True) as service, BeadBoardStub(service) as stub:
        assert isinstance(dispatch(stub.url), Accepted)
        assert dispatch(stub.url) == Busy('HTTP 409: {"error": "Agent is busy"}', 409)


def test_an_agent_may_act_before_the_answer_arrives() -> None:
    seen: list[tuple[str, str]] = []
    with BeadBoardStub(on_accept=lambda bead, job: seen.append((bead, job))) as stub:
        answer = dispatch(stub.url)
        assert isinstance(answer, Accepted)
        assert seen == [("bd-1", answer.job)]


def test_a_frozen_beadboard_dispatches_when_it_thaws() -> None:
    with BeadBoardStub() as stub:
        stub.answer_next("freeze")
        assert isinstance(dispatch(stub.url, SHORT), Unknown)
        assert stub.accepted == []
    # The end of the context releases the frozen answer.
    deadline = time.monotonic() + 60
    while not stub.accepted and time.monotonic() < deadline:
        time.sleep(0.005)
    assert len(stub.accepted) == 1


# -- capacity --------------------


def test_capacity_is_one_or_none_and_never_evidence(stub: BeadBoardStub) -> None:
    assert capacity(stub.url) == Capacity(1, proof="target")
    stub.busy = True
    assert capacity(stub.url) == Capacity(
        0, "claude-agent-service is busy", proof="target", speaks_for=SERVICE
    )


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"busy": False}),
        (200, "nonsense"),
        (200, {"busy": "no"}),
        (200, {"busy": 0}),
        (200, []),
        (404, ""),
        (302, ""),
    ],
)
def test_a_beadboard_that_does_not_answer_as_itself_is_down(
    stub: BeadBoardStub, status: int, body: Any
) -> None:
    stub.status_next(status, body)
    told = capacity(stub.url)
    assert (told.slots, told.idle, told.down) == (0, False, True)
    assert f"HTTP {status}" in told.why


@pytest.mark.parametrize("what", ["hang", "break", "drip", "drip-headers", "garbage", "oversized"])
def test_a_broken_beadboard_is_down(stub: BeadBoardStub, what: str) -> None:
    stub.status_next(what)
    told = capacity(stub.url, timeout=patience(what))
    assert (told.slots, told.idle, told.down) == (0, False, True)
    assert told.why


def test_nobody_there_is_down() -> None:
    told = capacity(dead_url())
    assert told.down and told.slots == 0 and "connection refused" in told.why


def test_beadboard_fails_open_and_so_is_no_evidence() -> None:
    with BeadBoardStub(service_url=dead_url(), bearer="b") as stub:
        assert capacity(stub.url) == Capacity(1, proof="target")
        assert isinstance(dispatch(stub.url), Unknown)


def test_its_cache_lags_behind_the_last_slot() -> None:
    with AgentServiceStub(capacity=1) as service, BeadBoardStub(service, cache=60.0) as stub:
        assert capacity(stub.url) == Capacity(1, proof="target")
        dispatch(stub.url)
        assert capacity(stub.url) == Capacity(1, proof="target")
        assert capacity(stub.url, service.url).slots == 0


def test_with_the_service_its_own_numbers_are_the_capacity() -> None:
    with AgentServiceStub(capacity=2) as service, BeadBoardStub(service) as stub:
        assert capacity(stub.url, service.url) == Capacity(2, idle=True, proof="both")
        job = dispatch(stub.url)
        assert capacity(stub.url, service.url) == Capacity(1, proof="both")
        dispatch(stub.url)
        assert capacity(stub.url, service.url) == Capacity(
            0,
            "claude-agent-service is busy (active 2, queued 0, capacity 2)",
            proof="service",
            speaks_for=SERVICE,
        )
        dispatch(stub.url)
        assert isinstance(job, Accepted)
        service.finish(job.job, "timeout")
        assert (service.active, service.queued) == (2, 0)


def test_an_old_service_has_slots_but_no_evidence() -> None:
    with AgentServiceStub(old=True) as service, BeadBoardStub(service) as stub:
        assert capacity(stub.url, service.url) == Capacity(1, proof="both")
        dispatch(stub.url)
        assert capacity(stub.url, service.url) == Capacity(
            0, "claude-agent-service is busy", proof="service", speaks_for=SERVICE
        )


def test_an_idle_service_is_no_evidence_where_beadboard_is_silent() -> None:
    # A frozen BeadBoard dispatches later, when it continues.
    with AgentServiceStub() as service, BeadBoardStub(service) as stub:
        stub.status_next("hang")
        told = capacity(stub.url, service.url, SHORT)
        assert (told.slots, told.idle, told.down) == (0, False, True)


@pytest.mark.parametrize("what", ["hang", "break", "garbage", "oversized"])
def test_a_service_that_is_away_is_down(stub: BeadBoardStub, what: str) -> None:
    with AgentServiceStub() as service:
        service.health_next(what)
        told = capacity(stub.url, service.url, patience(what))
        assert (told.slots, told.idle, told.down) == (0, False, True)
    assert capacity(stub.url, dead_url()).down


ABSURD: list[Any] = [-1, "0", None, True, 1.0, 10**12, 10**30, [], {}]


@pytest.mark.parametrize("value", ABSURD, ids=repr)
@pytest.mark.parametrize("key", ["active", "queued", "capacity"])
def test_numbers_that_make_no_sense_are_not_believed(key: str, value: Any) -> None:
    health = {"status": "ok", "busy": False, "active": 0, "queued": 0, "capacity": 10} | {
        key: value
    }
    told = interpret_health(HttpResult(200, {}, json.dumps(health).encode()))
    assert (told.slots, told.idle, told.down) == (0, False, True)
    assert "impossible numbers" in told.why


def test_half_of_the_numbers_is_none() -> None:
    told = interpret_health(HttpResult(200, {}, b'{"busy":false,"capacity":10}'))
    assert (told.slots, told.idle) == (0, False)
