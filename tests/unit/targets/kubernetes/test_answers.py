"""The table of answers to a POST, with answers that a healthy API server can't give."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.core.model import JobReport, Verdict
from dolt_watch.core.model.target_answers import Busy, Refused, Unknown
from dolt_watch.targets.http_client import HttpResult, TransportFailure
from dolt_watch.targets.kubernetes import answers
from dolt_watch.targets.kubernetes.answers import JobRow, PodState


def status(code: int, reason: str, message: str = "", **details: Any) -> HttpResult:
    body = {
        "kind": "Status",
        "reason": reason,
        "message": message,
        "code": code,
        "details": details,
    }
    return HttpResult(code, body=json.dumps(body).encode())


RBAC = 'jobs.batch is forbidden: User "u" cannot create resource "jobs"'
TERMINATING = {"causes": [{"reason": "NamespaceTerminating"}]}


@pytest.mark.parametrize(
    ("exchange", "kind", "flags"),
    [
        (status(409, "AlreadyExists"), Unknown, {}),
        (status(409, "Conflict", "the quota changed"), Busy, {}),
        (status(429, "TooManyRequests"), Busy, {}),
        (status(403, "Forbidden", "exceeded quota: limit"), Busy, {}),
        (status(403, "Forbidden", RBAC), Refused, {"halts_rule": True}),
        (
            status(403, "Forbidden", "ns is being terminated", **TERMINATING),
            Refused,
            {"halts_rule": True},
        ),
        (status(403, "Forbidden", "denied by policy"), Refused, {"halts_rule": False}),
        (status(401, "Unauthorized"), Refused, {"halts_rule": True}),
        (status(404, "NotFound", 'namespaces "x" not found'), Refused, {"halts_rule": True}),
        (status(400, "BadRequest", 'unknown field "spec.x"'), Refused, {"permanent": False}),
        (status(422, "Invalid"), Refused, {"permanent": False}),
        (status(413, "RequestEntityTooLarge"), Refused, {"permanent": True}),
        (status(408, "Timeout"), Unknown, {}),
        (
            status(500, "InternalError", "etcdserver: request timed out"),
            Unknown,
            {"unreachable": ""},
        ),
        (status(503, "ServiceUnavailable"), Unknown, {"unreachable": "service"}),
        (status(504, "Timeout"), Unknown, {}),
        (HttpResult(409, body=b"a proxy's"), Unknown, {}),
        (HttpResult(201, body=b"{}"), Unknown, {}),
        (HttpResult(200, body=b"ok"), Unknown, {}),
        (HttpResult(302), Refused, {}),
        (HttpResult(502, body=b"bad gateway"), Unknown, {}),
        (
            HttpResult(failure=TransportFailure.REFUSED, reason="refused"),
            Refused,
            {"unreachable": "target"},
        ),
        (
            HttpResult(failure=TransportFailure.BROKEN, reason="broken"),
            Unknown,
            {"unreachable": "target"},
        ),
        (HttpResult(failure=TransportFailure.OVERSIZED, reason="large"), Unknown, {}),
    ],
)
def test_what_an_answer_means(exchange: HttpResult, kind: type, flags: dict[str, Any]) -> None:
    answer = answers.interpret_create(exchange, "dolt-watch-1")
    assert isinstance(answer, kind), answer
    assert {name: getattr(answer, name) for name in flags} == flags
    assert answer.why


@pytest.mark.parametrize(
    "exchange",
    [
        HttpResult(200, body=b"[]"),
        HttpResult(200, body=b'{"columnDefinitions": [], "rows": [{"cells": []}]}'),
        HttpResult(
            200, body=b'{"columnDefinitions": [{"name": "Name"}], "rows": [{"cells": [1]}]}'
        ),
        HttpResult(200, body=b'{"columnDefinitions": [{"name": "Status"}], "rows": [1]}'),
        HttpResult(500),
        HttpResult(failure=TransportFailure.TIMEOUT, reason="no answer"),
    ],
)
def test_what_is_no_list_of_jobs_gives_no_slot(exchange: HttpResult) -> None:
    capacity = answers.interpret_table(exchange, 5)
    assert (capacity.slots, capacity.down, capacity.idle) == (0, True, False)
    assert capacity.why


def pod(phase: str, **status: Any) -> dict[str, Any]:
    return {"status": {"phase": phase, **status}}


def ended(code: int, **more: Any) -> list[dict[str, Any]]:
    return [{"state": {"terminated": {"exitCode": code, **more}}}]


@pytest.mark.parametrize(
    ("pods", "told"),
    [
        ([], ""),
        (
            [pod("Failed", containerStatuses=ended(137, reason="OOMKilled"))],
            "exit code 137 (OOMKilled)",
        ),
        (
            [pod("Failed", containerStatuses=ended(1, reason="Error", message="a\nb"))],
            "exit code 1: a\\nb",
        ),
        ([pod("Failed", initContainerStatuses=ended(2))], "exit code 2"),
        ([pod("Failed", reason="Evicted", message="disk pressure")], "Evicted: disk pressure"),
        ([pod("Succeeded", containerStatuses=ended(0))], ""),
    ],
)
def test_how_a_pod_ended(pods: list[dict[str, Any]], told: str) -> None:
    assert answers.read_pods(pods).ended == told


START = "2026-04-18T22:35:46Z"


@pytest.mark.parametrize(
    ("end", "at_start"),
    [
        ({"startedAt": START, "finishedAt": START}, True),
        ({"startedAt": START, "finishedAt": "2026-04-18T22:35:56Z"}, True),
        ({"startedAt": START, "finishedAt": "2026-04-18T22:35:57Z"}, False),
        ({"startedAt": "2026-04-18T22:35:47Z", "finishedAt": START}, False),
        ({"startedAt": "1970-01-01T00:00:00Z", "finishedAt": START}, False),
        (
            {"startedAt": "1970-01-01T00:00:00Z", "finishedAt": START, "reason": "StartError"},
            True,
        ),
        ({"finishedAt": START, "reason": "ContainerCannotRun"}, True),
        ({"startedAt": None, "finishedAt": None}, False),
        ({"startedAt": "soon", "finishedAt": START}, False),
        ({}, False),
    ],
)
def test_a_container_that_failed_within_seconds(end: dict[str, Any], at_start: bool) -> None:
    found = answers.read_pods([pod("Failed", containerStatuses=ended(1, **end))])
    assert found.failed_at_start is at_start
    report = answers.report_ended({"reason": "BackoffLimitExceeded"}, found)
    assert report.failed_at_start is at_start
    late = answers.report_ended({"reason": "DeadlineExceeded"}, found)
    assert not late.failed_at_start, "its deadline ended it"


def test_a_pod_that_ended_without_a_failed_container_did_not_fail_at_its_start() -> None:
    for each in (
        pod("Failed", reason="Evicted", containerStatuses=[{"state": {"waiting": {}}}]),
        pod("Succeeded", containerStatuses=ended(0, startedAt=START, finishedAt=START)),
    ):
        assert not answers.read_pods([each]).failed_at_start


@pytest.mark.parametrize(
    ("age", "seconds"),
    [
        ("0s", (0, 1)),
        ("3m20s", (200, 201)),
        ("3h", (10800, 14400)),
        ("5d2h", (439200, 442800)),
        ("2y10d", (63936000, 64022400)),
        ("<unknown>", (0, float("inf"))),
        ("", (0, float("inf"))),
        ("3 h", (0, float("inf"))),
    ],
)
def test_the_age_of_a_job(age: str, seconds: tuple[float, float]) -> None:
    assert JobRow("j", "Failed", age).seconds == seconds


def test_a_pod_that_waits_says_for_what() -> None:
    waiting = [{"state": {"waiting": {"reason": "ContainerCreating"}}}]
    found = answers.read_pods([pod("Pending", containerStatuses=waiting)])
    assert found == PodState(alive=True)


HOPELESS, QUOTA = "violates PodSecurity", "exceeded quota: pods"
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("refusal", "pods", "age", "report"),
    [
        (HOPELESS, PodState(False), 0, (Verdict.FINISHED, "error", f"it can't start: {HOPELESS}")),
        (QUOTA, PodState(False), 0, (Verdict.RUNNING, "pending", QUOTA)),
        (QUOTA, PodState(False), 1, (Verdict.FINISHED, "error", f"it can't start: {QUOTA}")),
        ("", PodState(True, waits_for="Pull"), 0, (Verdict.RUNNING, "pending", "Pull")),
        (
            "",
            PodState(True, waits_for="Pull"),
            1,
            (Verdict.FINISHED, "error", "it can't start: Pull"),
        ),
        (
            "",
            PodState(False),
            1,
            (Verdict.FINISHED, "error", "it can't start: no pod is running after 60 s"),
        ),
    ],
)
def test_a_job_without_a_running_pod(
    refusal: str, pods: PodState, age: int, report: tuple[Verdict, str, str]
) -> None:
    assert answers.report_not_started(refusal, pods, age * MINUTE, MINUTE) == JobReport(*report)


@pytest.mark.parametrize(
    ("created", "date", "seconds"),
    [
        ("2026-04-18T22:35:46Z", "Sat, 18 Apr 2026 22:36:46 GMT", 60),
        ("2026-04-18T22:35:46Z", "Sat, 18 Apr 2026 22:30:00 GMT", 0),
        ("soon", "Sat, 18 Apr 2026 22:36:46 GMT", 0),
        ("2026-04-18T22:35:46Z", "now", 0),
        ("2026-04-18T22:35:46Z", "", 0),
    ],
)
def test_the_age_of_a_job_is_by_the_servers_clock(created: str, date: str, seconds: int) -> None:
    exchange = HttpResult(200, {"date": date} if date else {})
    job = {"metadata": {"creationTimestamp": created}}
    assert answers.age_of(job, exchange) == timedelta(seconds=seconds)


def _job(**parts: Any) -> dict[str, Any]:
    return {"kind": "Job", "metadata": {"name": "n"}, **parts}


@pytest.mark.parametrize(
    "body",
    [
        _job(metadata={"labels": ["x"]}),
        _job(status="x"),
        _job(status={"conditions": 3}),
        _job(status={"conditions": [None]}),
        _job(metadata=None),
    ],
)
def test_a_job_with_parts_of_another_type_is_none(body: dict[str, Any]) -> None:
    assert answers.job_in(HttpResult(200, body=json.dumps(body).encode())) is None


@pytest.mark.parametrize(
    "pod",
    [
        {"status": "x"},
        {"status": {"containerStatuses": 3}},
        {"status": {"containerStatuses": [None]}},
        {"status": {"containerStatuses": [{"state": 3}]}},
        {"status": {"containerStatuses": [{"state": {"waiting": "x"}}]}},
        {"status": {"conditions": [3]}},
        {"status": {"phase": "Failed", "containerStatuses": [{"state": {"terminated": "x"}}]}},
    ],
)
def test_pods_with_parts_of_another_type_are_none(pod: dict[str, Any]) -> None:
    body = {"items": [{"metadata": {}, "status": {"phase": "Pending"}}, pod]}
    assert answers.pods_in(HttpResult(200, body=json.dumps(body).encode())) is None
    good = HttpResult(200, body=json.dumps({"items": body["items"][:1]}).encode())
    assert answers.pods_in(good) == PodState(alive=True)
