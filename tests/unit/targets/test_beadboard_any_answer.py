"""Generated answers: they never raise, and the result is never more certain than the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolt_watch.core.model.target_answers import Accepted, Busy, Refused, Unknown
from dolt_watch.targets.beadboard import read_answer, read_status
from dolt_watch.targets.http_client import MAX_BODY, NOTHING_SENT, HttpResult, TransportFailure
from dolt_watch.targets.service_health import interpret_health
from tests.support.matrix import few_or_many

# -- generated answers --------------------

WORDS = st.sampled_from(
    [
        "job_id",
        "error",
        "busy",
        "active",
        "queued",
        "capacity",
        "Queue full",
        "Invalid token",
        "fetch failed",
        "abc",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


def _bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


BODIES = (
    st.binary(max_size=200) | JSON.map(_bytes) | st.just(b"[" * 20_000) | st.just(b"x" * MAX_BODY)
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "location"]),
    st.text(max_size=30) | st.integers().map(str) | st.just("Wed, 21 Oct 2026 07:28:00 GMT"),
)
STATUSES = st.sampled_from([200, 400, 401, 409, 429, 500, 502, 503]) | st.integers(
    min_value=100, max_value=999
)
WHOLE = st.builds(HttpResult, status=STATUSES, headers=HEADERS, body=BODIES, at=st.floats(0, 4e9))
BROKEN = st.builds(
    HttpResult,
    status=st.none() | STATUSES,
    failure=st.sampled_from(TransportFailure),
    reason=st.text(max_size=20),
)
NOT_KNOWN = {201, 202, 204, 408, 504, 505, 599}


@pytest.mark.parametrize("examples", few_or_many(200, 1000))
def test_any_exchange_is_one_of_four_answers(examples: int) -> None:
    check = settings(max_examples=examples)(given(WHOLE | BROKEN)(is_one_of_four_answers))
    example(HttpResult(502, {}, b'{"error":{}}'))(check)()


def is_one_of_four_answers(exchange: HttpResult) -> None:
    answer = read_answer(exchange)
    assert isinstance(answer, Accepted | Refused | Busy | Unknown)
    if isinstance(answer, Accepted):
        assert exchange.status == 200 and exchange.failure is None
        assert 0 < len(answer.job) <= 255 and answer.job.isprintable()
    else:
        assert len(answer.why) <= 550
    if exchange.failure is not None:
        assert isinstance(answer, Refused if exchange.failure in NOTHING_SENT else Unknown)
    elif exchange.status in NOT_KNOWN:
        assert isinstance(answer, Unknown)
    if isinstance(answer, Busy) and answer.retry_after is not None:
        assert 0 <= answer.retry_after <= 3600


@pytest.mark.parametrize("examples", few_or_many(100, 500))
def test_any_exchange_is_a_capacity(examples: int) -> None:
    settings(max_examples=examples)(given(WHOLE | BROKEN)(is_a_capacity))()


def is_a_capacity(exchange: HttpResult) -> None:
    status, health = read_status(exchange), interpret_health(exchange)
    assert status.slots in (0, 1) and not status.idle
    assert health.slots is not None and 0 <= health.slots <= 100_000
    for told in (status, health):
        assert told.slots or told.why
        if exchange.failure is not None or exchange.status != 200:
            assert told.down and not told.slots and not told.idle
