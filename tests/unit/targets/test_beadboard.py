"""Meaning of BeadBoard's answers, with a real HTTP server.

The tests cover every row of the table in docs/reference/target-answers.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dolt_watch.core.model import JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.targets.beadboard import read_answer
from dolt_watch.targets.http_client import HttpResult
from dolt_watch.targets.protocol import BeadTask
from tests.stubs.asking import beadboard, dispatch
from tests.stubs.beadboard import BeadBoardStub


@pytest.fixture
def stub() -> Iterator[BeadBoardStub]:
    with BeadBoardStub() as stub:
        yield stub


# -- dispatch: running, not running, unknown --------------------


def test_accepted_with_one_post_that_carries_bead_and_token(stub: BeadBoardStub) -> None:
    answer = dispatch(stub.url)
    [(bead, job)] = stub.accepted
    assert (bead, answer) == ("bd-1", Accepted(job))
    [request] = stub.requests
    assert (request.method, request.path, request.json) == (
        "POST",
        "/api/agent-dispatch",
        {"taskId": "bd-1"},
    )
    assert request.headers["idempotency-key"] == "token-1"
    assert request.headers["content-type"] == "application/json"


def test_an_id_in_any_writing_arrives_as_it_is(stub: BeadBoardStub) -> None:
    dispatch(stub.url, task=BeadTask('bd-"ü\n👍', {}))
    assert [bead for bead, _ in stub.accepted] == ['bd-"ü\n👍']


TABLE: list[tuple[int, Any, dict[str, str], Answer]] = [
    (
        400,
        '{"error":"Bead bd-1 not found."}',
        {},
        Refused('HTTP 400: {"error":"Bead bd-1 not found."}', 400, not_found=True),
    ),
    (
        400,
        '{"error":"Bead bd-1 is missing acceptance criteria."}',
        {},
        Refused(
            'HTTP 400: {"error":"Bead bd-1 is missing acceptance criteria."}', 400, permanent=True
        ),
    ),
    (
        400,
        '{"error":"taskId is required."}',
        {},
        Refused('HTTP 400: {"error":"taskId is required."}', 400, True),
    ),
    (
        400,
        '{"error":"Invalid JSON body."}',
        {},
        Refused('HTTP 400: {"error":"Invalid JSON body."}', 400, True),
    ),
    (400, "<h1>Bad Request</h1>\n", {}, Refused("HTTP 400: <h1>Bad Request</h1>", 400)),
    (401, "", {}, Refused("HTTP 401:", 401, halts_rule=True)),
    (403, "no", {}, Refused("HTTP 403: no", 403, halts_rule=True)),
    (404, "not here", {}, Refused("HTTP 404: not here", 404)),
    (405, "", {}, Refused("HTTP 405:", 405)),
    (408, "", {}, Unknown("HTTP 408:", 408)),
    (409, '{"error":"Agent is busy"}', {}, Busy('HTTP 409: {"error":"Agent is busy"}', 409)),
    (413, "", {}, Refused("HTTP 413:", 413)),
    (429, "slow", {"Retry-After": "7"}, Busy("HTTP 429: slow", 429, 7.0)),
    (429, "slow", {}, Busy("HTTP 429: slow", 429)),
    (500, "", {}, Refused("HTTP 500:", 500)),
    (
        500,
        '{"error":"Claude agent service is not configured (X)."}',
        {},
        Refused(
            'HTTP 500: {"error":"Claude agent service is not configured (X)."}',
            500,
            unreachable="service",
        ),
    ),
    (500, "boom\x1b[0m\nline two", {}, Refused("HTTP 500: boom\\x1b[0m\\nline two", 500)),
    (502, '{"error":"Queue full"}', {}, Busy('HTTP 502: {"error":"Queue full"}', 502)),
    (
        502,
        '{"error":"Invalid token"}',
        {},
        Refused('HTTP 502: {"error":"Invalid token"}', 502, halts_rule=True),
    ),
    (
        502,
        '{"error":"Missing bearer token"}',
        {},
        Refused('HTTP 502: {"error":"Missing bearer token"}', 502, halts_rule=True),
    ),
    (
        502,
        '{"error":"Service unauthenticated"}',
        {},
        Refused('HTTP 502: {"error":"Service unauthenticated"}', 502, halts_rule=True),
    ),
    (
        502,
        '{"error":[{"type":"missing"}]}',
        {},
        Refused('HTTP 502: {"error":[{"type":"missing"}]}', 502),
    ),
    (
        502,
        '{"error":"fetch failed"}',
        {},
        Unknown('HTTP 502: {"error":"fetch failed"}', 502, "service"),
    ),
    (
        502,
        '{"error":"Agent service returned HTTP 500."}',
        {},
        Unknown('HTTP 502: {"error":"Agent service returned HTTP 500."}', 502),
    ),
    (
        502,
        '{"error":"Agent service response missing job_id."}',
        {},
        Unknown('HTTP 502: {"error":"Agent service response missing job_id."}', 502),
    ),
    (
        502,
        "<html>Bad Gateway</html>",
        {},
        Unknown("HTTP 502: <html>Bad Gateway</html>", 502, "service"),
    ),
    (503, "later", {"Retry-After": "120"}, Busy("HTTP 503: later", 503, 120.0)),
    (503, "upstream reset", {}, Unknown("HTTP 503: upstream reset", 503, "service")),
    (503, "x", {"Retry-After": "soon"}, Unknown("HTTP 503: x", 503, "service")),
    (504, "", {}, Unknown("HTTP 504:", 504, "service")),
    (504, "", {"Retry-After": "5"}, Unknown("HTTP 504:", 504)),
    (
        502,
        '{"error":"Agent service returned HTTP 503."}',
        {},
        Unknown('HTTP 502: {"error":"Agent service returned HTTP 503."}', 502, "service"),
    ),
    (599, "", {}, Unknown("HTTP 599:", 599)),
    (302, "", {"Location": "/elsewhere"}, Refused("HTTP 302:", 302)),
    (307, "", {"Location": "/api/agent-dispatch"}, Refused("HTTP 307:", 307)),
    (201, '{"job_id":"abc"}', {}, Unknown('HTTP 201: {"job_id":"abc"}', 201)),
    (202, '{"job_id":"abc"}', {}, Unknown('HTTP 202: {"job_id":"abc"}', 202)),
    (200, '{"job_id":"0123456789ab","x":1}', {}, Accepted("0123456789ab")),
    (200, "{}", {}, Unknown("no job_id in HTTP 200: {}", 200)),
    (200, "", {}, Unknown("no job_id in HTTP 200:", 200)),
    (200, '["job_id"]', {}, Unknown('no job_id in HTTP 200: ["job_id"]', 200)),
    (200, '{"job_id":""}', {}, Unknown('no job_id in HTTP 200: {"job_id":""}', 200)),
    (200, '{"job_id":7}', {}, Unknown('no job_id in HTTP 200: {"job_id":7}', 200)),
    (200, '{"job_id":"a\\nb"}', {}, Unknown('no job_id in HTTP 200: {"job_id":"a\\nb"}', 200)),
    (200, b"\xff\xfe\x00", {}, Unknown("no job_id in HTTP 200: \ufffd\ufffd\\x00", 200)),
]


@pytest.mark.parametrize(
    ("status", "body", "headers", "answer"),
    TABLE,
    ids=[f"{row[0]}-{row[1]!r:.40}" for row in TABLE],
)
def test_what_an_answer_means(
    stub: BeadBoardStub, status: int, body: Any, headers: dict[str, str], answer: Answer
) -> None:
    stub.answer_next(status, body, headers=headers)
    assert dispatch(stub.url) == answer
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("0", None, 0.0),
        ("30", None, 30.0),
        ("999999", None, 3600.0),
        ("9" * 5000, None, 3600.0),
        ("-5", None, None),
        ("1.5", None, None),
        ("²", None, None),
        ("", None, None),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:30 GMT", 0.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:30 GMT", 3600.0),
        ("Thu, 01 Jan 1970 00:16:50 GMT", None, 10.0),
        ("Wed, 99 Oct 2026", None, None),
    ],
)
def test_retry_after_is_bounded_whatever_it_says(
    value: str, date: str | None, seconds: float | None
) -> None:
    headers = {"retry-after": value} | ({"date": date} if date else {})
    answer = read_answer(HttpResult(429, headers, b"", at=1000.0))
    assert answer == Busy("HTTP 429:", 429, seconds)


def test_a_long_body_is_cut_in_the_reason() -> None:
    answer = read_answer(HttpResult(500, {}, b"x" * 60_000))
    assert isinstance(answer, Refused)
    assert answer.why == "HTTP 500: " + "x" * 499 + "…"


# -- rest of the contract --------------------


def test_it_tells_nothing_about_jobs(stub: BeadBoardStub) -> None:
    board = beadboard(stub.url)
    assert board.verdict("job", None) == JobReport(Verdict.UNKNOWN)
    assert (board.name, board.timeout) == ("beadboard", 30.0)
    board.close()
    assert stub.requests == []
