"""claude-agent-service as a direct target, over real HTTP.

The tests cover every row of its tables in docs/reference/target-answers.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from dolt_watch.config import load
from dolt_watch.core.model import Capacity, JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.errors import SettingsError
from dolt_watch.targets.agent_service import AgentService, read_answer, read_job
from dolt_watch.targets.agent_service_settings import AgentServiceSettings
from dolt_watch.targets.http_client import NOTHING_SENT
from dolt_watch.targets.protocol import Target
from dolt_watch.targets.service_health import SERVICE
from tests.stubs.agent_service import AgentServiceStub
from tests.stubs.asking import patience
from tests.stubs.beads import task
from tests.stubs.server import dead_url
from tests.support.targets import open_target
from tests.unit.targets.test_beadboard_any_answer import BROKEN, WHOLE

TOKEN = "s3cret-bearer"


@pytest.fixture
def stub() -> Iterator[AgentServiceStub]:
    with AgentServiceStub(bearer=TOKEN) as stub:
        yield stub


def settings(url: str, **more: Any) -> AgentServiceSettings:
    return AgentServiceSettings("service", url=url, **{"token": TOKEN, **more})


def dispatch(url: str, bead: Any = None, **more: Any) -> Answer:
    with closing(AgentService(settings(url, **more))) as target:
        return target.dispatch(bead or task(), "token-1")


def verdict(url: str, job: str) -> JobReport:
    with closing(AgentService(settings(url))) as target:
        return target.verdict(job, None)


# -- dispatch --------------------


def test_one_post_that_says_what_to_run(stub: AgentServiceStub) -> None:
    more = {"agent": "reader", "max_budget_usd": 0.5, "run_timeout": timedelta(seconds=90.5)}
    answer = dispatch(stub.url, task(rule="nightly"), **more)
    [(job, made)] = stub.jobs.items()
    assert answer == Accepted(job, 202)
    [request] = stub.requests
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    asked = request.json
    assert "# " in asked.pop("prompt")
    metadata = {"idempotency_key": "token-1", "bead": "bd-1", "rule": "nightly"}
    assert asked == {
        "agent": "reader",
        "max_budget_usd": 0.5,
        "timeout_seconds": 91,
        "metadata": metadata,
    }
    assert made.metadata == metadata


def test_the_defaults_are_those_of_beadboard_and_the_rule_is_left_out_where_it_is_not_known(
    stub: AgentServiceStub,
) -> None:
    dispatch(stub.url)
    asked = stub.requests[0].json
    assert (asked["agent"], asked["max_budget_usd"], asked["timeout_seconds"]) == (
        "beads-task-runner",
        5,
        900,
    )
    assert "rule" not in asked["metadata"]


def test_our_prompt_holds_the_bead_and_the_rules(stub: AgentServiceStub) -> None:
    dispatch(stub.url, task(id="bd-7", description=""))
    prompt = stub.requests[0].json["prompt"]
    for text in ("bd-7", "Find the slow query", "bug", "P1", "the query is named"):
        assert text in prompt
    for command in (
        'bd note bd-7 "claimed by agent"',
        "bd close bd-7 -r",
        "bd update bd-7 --status blocked",
    ):
        assert command in prompt
    assert "## Description" not in prompt
    assert prompt.index("claimed by agent") < prompt.index("bd close")


TABLE: list[tuple[int, Any, dict[str, str], Answer]] = [
    (202, {"job_id": "abc", "status": "queued"}, {}, Accepted("abc", 202)),
    (202, {}, {}, Unknown("no job_id in HTTP 202: {}", 202)),
    (202, "nonsense", {}, Unknown("no job_id in HTTP 202: nonsense", 202)),
    (200, '{"job_id":"abc"}', {}, Unknown('HTTP 200: {"job_id":"abc"}', 200)),
    (
        401,
        '{"detail":"Invalid token"}',
        {},
        Refused('HTTP 401: {"detail":"Invalid token"}', 401, halts_rule=True),
    ),
    (403, "", {}, Refused("HTTP 403:", 403, halts_rule=True)),
    (404, "", {}, Refused("HTTP 404:", 404)),
    (408, "", {}, Unknown("HTTP 408:", 408)),
    (409, '{"detail":"Agent is busy"}', {}, Busy('HTTP 409: {"detail":"Agent is busy"}', 409)),
    (422, '{"detail":[]}', {}, Refused('HTTP 422: {"detail":[]}', 422)),
    (
        429,
        '{"detail":"Queue full"}',
        {"Retry-After": "9"},
        Busy('HTTP 429: {"detail":"Queue full"}', 429, 9.0),
    ),
    (500, "Internal Server Error", {}, Unknown("HTTP 500: Internal Server Error", 500)),
    (502, "", {}, Unknown("HTTP 502:", 502, "service")),
    (503, "", {"Retry-After": "5"}, Busy("HTTP 503:", 503, 5.0)),
    (503, "", {}, Unknown("HTTP 503:", 503, "service")),
    (307, "", {"Location": "/execute"}, Refused("HTTP 307:", 307)),
]


@pytest.mark.parametrize(
    ("status", "body", "headers", "answer"), TABLE, ids=[f"{r[0]}-{r[1]!r:.30}" for r in TABLE]
)
def test_what_an_answer_means(
    stub: AgentServiceStub, status: int, body: Any, headers: dict[str, str], answer: Answer
) -> None:
    stub.execute_next(status, body, headers=headers)
    assert dispatch(stub.url) == answer
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    "what", ["hang", "break", "break-after-accept", "reset", "cut", "drip", "garbage", "oversized"]
)
def test_not_known_after_sending_and_sent_once(stub: AgentServiceStub, what: str) -> None:
    stub.execute_next(what)
    assert isinstance(dispatch(stub.url, timeout=timedelta(seconds=patience(what))), Unknown)
    assert len(stub.received()) == 1


def test_nobody_there_says_that_nothing_runs() -> None:
    answer = dispatch(dead_url())
    assert isinstance(answer, Refused) and "connection refused" in answer.why


@pytest.mark.parametrize("bearer", ["other-bearer", ""])
def test_the_service_itself_refuses_a_token(stub: AgentServiceStub, bearer: str) -> None:
    stub.bearer = bearer
    answer = dispatch(stub.url)
    assert isinstance(answer, Refused) and answer.halts_rule
    assert TOKEN not in answer.why


def test_a_full_queue_is_busy(stub: AgentServiceStub) -> None:
    stub.max_queue_depth = 1
    assert isinstance(dispatch(stub.url), Accepted)
    assert dispatch(stub.url) == Busy('HTTP 429: {"detail": "Queue full"}', 429)


def test_a_token_that_comes_back_is_not_told(stub: AgentServiceStub) -> None:
    stub.execute_next(500, f"you said Bearer {TOKEN}")
    assert dispatch(stub.url) == Unknown("HTTP 500: you said Bearer ***", 500)


@given(WHOLE | BROKEN)
def test_any_exchange_is_one_of_the_answers(exchange: Any) -> None:
    answer, report = read_answer(exchange), read_job(exchange)
    assert isinstance(answer, Unknown | Refused | Busy | Accepted)
    assert exchange.failure is None or isinstance(
        answer, Refused if exchange.failure in NOTHING_SENT else Unknown
    )
    assert report.verdict is Verdict.UNKNOWN or exchange.failure is None


# -- verdict --------------------


@pytest.mark.parametrize(
    ("status", "error", "report"),
    [
        ("completed", "", JobReport(Verdict.FINISHED, "completed")),
        ("failed", "", JobReport(Verdict.FINISHED, "failed", "exit code 1")),
        ("error", "line too long\n", JobReport(Verdict.FINISHED, "error", "line too long")),
        ("timeout", "", JobReport(Verdict.FINISHED, "timeout", "timed out")),
    ],
)
def test_a_job_that_ended(
    stub: AgentServiceStub, status: str, error: str, report: JobReport
) -> None:
    dispatch(stub.url)
    [job] = stub.jobs
    stub.finish(job, status, error=error)
    assert verdict(stub.url, job) == report


def test_a_job_that_waits_or_runs_or_is_lost(stub: AgentServiceStub) -> None:
    stub.capacity = 1
    dispatch(stub.url)
    dispatch(stub.url)
    first, second = stub.jobs
    assert verdict(stub.url, first) == JobReport(Verdict.RUNNING, "running")
    assert verdict(stub.url, second) == JobReport(Verdict.RUNNING, "queued")
    stub.forget()
    assert verdict(stub.url, first).verdict is Verdict.LOST


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, '{"detail":"Not Found"}'),
        (404, "<html>no such page</html>"),
        (401, '{"detail":"Invalid token"}'),
        (500, ""),
        (200, "{}"),
        (200, "[]"),
        (200, '{"status":"paused"}'),
        (200, '{"status":["running"]}'),
        (302, ""),
    ],
)
def test_what_says_nothing_of_a_job(stub: AgentServiceStub, status: int, body: str) -> None:
    stub.script("/jobs/j1", status, body)
    assert verdict(stub.url, "j1") == JobReport(
        Verdict.UNKNOWN, error=f"HTTP {status}: {body}".rstrip()
    )


def test_a_job_id_is_a_name_and_no_path(stub: AgentServiceStub) -> None:
    verdict(stub.url, "../health?x#y")
    assert stub.requests[0].path == "/jobs/..%2Fhealth%3Fx%23y"


def test_nobody_to_ask() -> None:
    assert verdict(dead_url(), "j1").verdict is Verdict.UNKNOWN


# -- capacity --------------------


def test_capacity_is_its_own(stub: AgentServiceStub) -> None:
    with closing(AgentService(settings(stub.url))) as target:
        assert target.capacity() == Capacity(10, idle=True, proof="both")
        stub.capacity = 1
        target.dispatch(task(), "t")
        assert target.capacity() == Capacity(
            0,
            "claude-agent-service is busy (active 1, queued 0, capacity 1)",
            proof="both",
            speaks_for=SERVICE,
        )
    with closing(AgentService(settings(dead_url()))) as target:
        assert target.capacity().down


# -- settings --------------------


def opened(folder: Path, text: str, env: dict[str, str] | None = None) -> Target:
    (folder / "dolt_watch.toml").write_text(text, "utf-8")
    made = load({"database": "dolt://h/d"}, {"API_BEARER_TOKEN": TOKEN, **(env or {})}, folder)
    return open_target(made.targets["agent-service"])


def test_a_prompt_of_ones_own_stands_beside_the_settings(
    tmp_path: Path, stub: AgentServiceStub
) -> None:
    (tmp_path / "own.j2").write_text(
        "{% if rule %}{{ rule }}: {% endif %}do {{ bead.id }} ({{ bead.created_at }})\n{{ token }}"
    )
    target = opened(
        tmp_path, f"[targets.agent-service]\nurl = '{stub.url}'\nprompt_template = 'own.j2'\n"
    )
    with closing(target):
        target.dispatch(task(title="{{ 7 * 7 }}"), "token-1")
    assert stub.requests[0].json["prompt"] == "do bd-1 (2026-04-18T22:35:46Z)\ntoken-1"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a\n{{ bead.id", 2, "end of"),
        ("\n\n{% endif %}", 3, "endif"),
        ("{{ bead.id | shout }}", 1, "shout"),
        ("\n{{ beed.id }}", 2, "beed"),
        ("\n{% include 'x' %}", 2, "another"),
        ("{{ range(9) }}", 1, "range"),
    ],
)
def test_a_bad_template_is_told_with_its_line(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    (tmp_path / "own.j2").write_text(text)
    with pytest.raises(SettingsError) as caught:
        opened(tmp_path, "[targets.agent-service]\nurl = 'http://h'\nprompt_template = 'own.j2'\n")
    assert caught.value.where == f"{tmp_path / 'own.j2'}:{line}"
    assert said in caught.value.message and caught.value.fix


@pytest.mark.parametrize(
    "text", ["\n{{ bead.titel }}", "\n{{ 1 // 0 }}", "\n{{ bead.id.__class__.__mro__ }}"]
)
def test_a_template_that_a_bead_does_not_fill_sends_nothing(
    tmp_path: Path, stub: AgentServiceStub, text: str
) -> None:
    (tmp_path / "own.j2").write_text(text)
    answer = dispatch(stub.url, prompt_template=tmp_path / "own.j2")
    assert isinstance(answer, Refused) and answer.why.startswith(
        f"no prompt: {tmp_path / 'own.j2'}:2: "
    )
    assert stub.requests == []


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("url = 'ftp://h'", "dolt_watch.toml:2", "http"),
        ("timeout = '5s'", "[targets.agent-service] url", "no URL"),
        ("url = 'http://h'\nprompt_template = 'none.j2'", "dolt_watch.toml:3", "none.j2"),
        ("url = 'http://h'\ntoken_file = 'none'", "none", "token file"),
        ("url = 'http://h'\ntoken = 'clear'", "dolt_watch.toml:3", "isn't allowed"),
        ("url = 'http://h'\nmax_budget_usd = 0", "dolt_watch.toml:3", "a number above 0"),
        ("url = 'http://h'\nmax_budget_usd = true", "dolt_watch.toml:3", "a number above 0"),
        ("url = 'http://h'\nmax_budget_usd = nan", "dolt_watch.toml:3", "a number above 0"),
        ("url = 'http://h'\nservice_url = 'http://h'", "dolt_watch.toml:3", "service_url"),
        ("url = 'http://h'\nrun_timeout = 900", "dolt_watch.toml:3", "a duration"),
    ],
)
def test_bad_settings_are_told_with_their_place(
    tmp_path: Path, text: str, where: str, said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        opened(tmp_path, f"[targets.agent-service]\n{text}\n")
    assert (caught.value.where or "").endswith(where)
    assert said in caught.value.message and caught.value.fix and "clear" not in str(caught.value)


@pytest.mark.parametrize("token", ["two words", "tökén", "a\x00b"])
def test_a_token_that_no_header_can_hold_is_not_shown(token: str) -> None:
    with pytest.raises(SettingsError) as caught:
        AgentService(settings("http://h", token=token))
    assert token not in str(caught.value)


def test_without_a_token_it_says_where_to_put_one() -> None:
    with pytest.raises(SettingsError) as caught:
        AgentService(settings("http://h", token=""))
    assert "API_BEARER_TOKEN" in str(caught.value) and "token_file" in str(caught.value)
