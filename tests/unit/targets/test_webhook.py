"""The webhook target with a receiver that verifies requests, and the meaning of each answer.

docs/reference/target-answers.md contains the table of answers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given
from standardwebhooks import Webhook as Verifier

from dolt_watch.config import load
from dolt_watch.core.model import Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.errors import SettingsError
from dolt_watch.targets.http_client import NOTHING_SENT, HttpResult, TransportFailure
from dolt_watch.targets.protocol import Target
from dolt_watch.targets.webhook import Webhook, read_answer
from dolt_watch.targets.webhook_settings import WebhookSettings
from tests.stubs import server
from tests.stubs.asking import patience
from tests.stubs.beads import ROW, task
from tests.stubs.server import dead_url
from tests.stubs.webhook import OLD_SECRET, SECRET, WebhookStub
from tests.support.targets import open_target
from tests.unit.targets.test_beadboard_any_answer import BROKEN, WHOLE


@pytest.fixture
def stub() -> Iterator[WebhookStub]:
    with WebhookStub() as stub:
        yield stub


def settings(url: str, **more: Any) -> WebhookSettings:
    return WebhookSettings("hook", url=url, **{"secret": SECRET, **more})


def dispatch(url: str, bead: Any = None, now: Any = time.time, **more: Any) -> Answer:
    with closing(Webhook(settings(url, **more), now)) as target:
        return target.dispatch(bead or task(), "token-1")


# -- requests --------------------


def test_a_cloudevent_by_its_own_library(stub: WebhookStub) -> None:
    assert dispatch(stub.url + "/hook", task(rule="nightly", title="Wörter 👍\n")) == Accepted(
        "run-1", 202
    )
    [request] = stub.requests
    assert (request.method, request.path) == ("POST", "/hook")
    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    event = from_http_event(HTTPMessage(headers=dict(request.headers), body=request.body))
    assert event.get_specversion() == "1.0"
    assert (event.get_id(), event.get_subject()) == ("token-1", "bd-1")
    assert (event.get_type(), event.get_source()) == ("dev.dolt-watch.bead.dispatch", "dolt-watch")
    assert event.get_extension("rule") == "nightly"
    moment = event.get_time()
    assert moment is not None and abs(moment.timestamp() - time.time()) < 60
    assert event.get_data() == {**ROW, "title": "Wörter 👍\n", "created_at": "2026-04-18T22:35:46Z"}


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_either_secret_verifies_while_one_is_replaced(secret: str) -> None:
    with WebhookStub(secret) as stub:
        assert isinstance(dispatch(stub.url, previous_secret=OLD_SECRET), Accepted)
        assert len(stub.requests[0].headers["webhook-signature"].split(" ")) == 2


def test_with_one_secret_there_is_one_signature(stub: WebhookStub) -> None:
    dispatch(stub.url)
    [signature] = stub.requests[0].headers["webhook-signature"].split(" ")
    assert signature.startswith("v1,")
    assert stub.requests[0].headers["webhook-id"] == "token-1"


def test_the_wrong_secret_and_an_old_time_are_refused_and_stop_the_rule(stub: WebhookStub) -> None:
    for more in ({"secret": OLD_SECRET}, {"now": lambda: time.time() - 3600}):
        answer = dispatch(stub.url, **more)  # type: ignore[arg-type]
        assert isinstance(answer, Refused) and answer.halts_rule
    assert stub.runs == []


def test_a_body_and_headers_of_ones_own_are_signed_as_they_are_sent(
    stub: WebhookStub, tmp_path: Path
) -> None:
    (tmp_path / "body.j2").write_text(
        '{"text": {{ bead.title | tojson }}, "subject": "{{ bead.id }}"}'
    )
    headers = {"X-Team": "{{ bead.assignee }}", "Content-Type": "application/vnd.own+json"}
    dispatch(stub.url, task(title="<ü>"), body_template=tmp_path / "body.j2", headers=headers)
    [request] = stub.requests
    assert request.json == {"text": "<ü>", "subject": "bd-1"}
    assert (request.headers["x-team"], request.headers["content-type"]) == (
        "agent",
        "application/vnd.own+json",
    )
    assert Verifier(SECRET).verify(request.body, dict(request.headers))


@pytest.mark.parametrize("value", ["{{ bead.nothing }}", "a\nb", "{{ bead.title }}"])
def test_a_header_that_cannot_be_made_sends_nothing(stub: WebhookStub, value: str) -> None:
    answer = dispatch(stub.url, task(title="ü"), headers={"X-Title": value})
    assert (
        isinstance(answer, Refused)
        and answer.why.startswith("no webhook: ")
        and "X-Title" in answer.why
    )
    assert stub.requests == []


def test_the_url_is_asked_as_it_is_and_what_it_holds_is_not_told(stub: WebhookStub) -> None:
    url = stub.url.replace("http://", "http://me:hunter2-pw@") + "/hook/?key=s3cret%2Fkey"
    stub.script("/hook/?key=s3cret%2Fkey", 500, "hunter2-pw s3cret/key s3cret%2Fkey t0ken-t0ken")
    assert dispatch(url) == Unknown("HTTP 500: *** *** *** t0ken-t0ken", 500)


def test_a_gateway_may_ask_for_a_token(stub: WebhookStub) -> None:
    stub.script("/", 500, "no, t0ken-t0ken")
    assert dispatch(stub.url, token="t0ken-t0ken") == Unknown("HTTP 500: no, ***", 500)
    assert stub.requests[0].headers["authorization"] == "Bearer t0ken-t0ken"
    with pytest.raises(SettingsError, match="a URL with a user"):
        dispatch("http://me:pw@h", token="t0ken-t0ken")


def test_https_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    pem = Path(server.__file__).with_name("self_signed.pem")
    with WebhookStub(tls=pem) as secure:
        answer = dispatch(secure.url)
        assert isinstance(answer, Refused) and "CERTIFICATE_VERIFY_FAILED" in answer.why
        assert secure.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert dispatch(secure.url) == Accepted("run-1", 202)


# -- answers --------------------

TABLE: list[tuple[int, Any, dict[str, str], Answer]] = [
    (200, '{"job_id":"abc"}', {}, Accepted("abc", 200)),
    (201, '{"job_id":42}', {}, Accepted("42", 201)),
    (200, '{"job_id":true}', {}, Accepted("token-1", 200)),
    (200, '{"job_id":"a\\nb"}', {}, Accepted("token-1", 200)),
    (200, '["abc"]', {}, Accepted("token-1", 200)),
    (200, "Workflow was started", {}, Accepted("token-1", 200)),
    (204, "", {}, Accepted("token-1", 204)),
    (301, "", {"Location": "/other"}, Refused("HTTP 301:", 301)),
    (308, "", {"Location": "/other"}, Refused("HTTP 308:", 308)),
    (400, "bad", {}, Refused("HTTP 400: bad", 400)),
    (401, "", {}, Refused("HTTP 401:", 401, halts_rule=True)),
    (403, "", {}, Refused("HTTP 403:", 403, halts_rule=True)),
    (404, "not registered", {}, Refused("HTTP 404: not registered", 404)),
    (408, "", {}, Unknown("HTTP 408:", 408)),
    (409, "seen", {}, Unknown("HTTP 409: seen", 409)),
    (410, "gone", {}, Refused("HTTP 410: gone", 410, halts_rule=True)),
    (413, "", {}, Refused("HTTP 413:", 413)),
    (429, "", {"Retry-After": "7"}, Busy("HTTP 429:", 429, 7.0)),
    (429, "", {}, Busy("HTTP 429:", 429)),
    (500, "", {}, Unknown("HTTP 500:", 500)),
    (502, "", {}, Unknown("HTTP 502:", 502, "service")),
    (503, "", {"Retry-After": "120"}, Busy("HTTP 503:", 503, 120.0)),
    (503, "", {}, Unknown("HTTP 503:", 503, "service")),
    (504, "", {}, Unknown("HTTP 504:", 504, "service")),
]


@pytest.mark.parametrize(
    ("status", "body", "headers", "answer"), TABLE, ids=[f"{r[0]}-{r[1]!r:.30}" for r in TABLE]
)
def test_what_an_answer_means(
    stub: WebhookStub, status: int, body: Any, headers: dict[str, str], answer: Answer
) -> None:
    stub.script("/", status, body, headers=headers)
    assert dispatch(stub.url) == answer
    assert len(stub.requests) == 1


def test_the_job_by_another_key(stub: WebhookStub) -> None:
    stub.script("/", 200, {"executionId": "77", "job_id": "no"})
    assert dispatch(stub.url, job_key="executionId") == Accepted("77", 200)


def test_taken_is_taken_however_much_comes_after_it(stub: WebhookStub) -> None:
    stub.script("/", "oversized")
    assert dispatch(stub.url) == Accepted("token-1", 200)


@pytest.mark.parametrize(
    "what", ["hang", "break", "break-after-accept", "reset", "cut", "drip", "garbage"]
)
def test_not_known_after_sending_and_sent_once(stub: WebhookStub, what: str) -> None:
    stub.script("/", what)
    assert isinstance(dispatch(stub.url, timeout=timedelta(seconds=patience(what))), Unknown)
    assert len(stub.received()) == 1


def test_nobody_there_says_that_nothing_runs() -> None:
    answer = dispatch(dead_url())
    assert isinstance(answer, Refused) and not answer.halts_rule


@given(WHOLE | BROKEN)
def test_any_exchange_is_one_of_the_answers(exchange: HttpResult) -> None:
    answer = read_answer(exchange, "token-1")
    if isinstance(answer, Accepted):
        assert exchange.status is not None and 200 <= exchange.status < 300
        assert answer.job and exchange.failure in (None, TransportFailure.OVERSIZED)
    elif exchange.failure is not None:
        assert isinstance(answer, Refused if exchange.failure in NOTHING_SENT else Unknown)


def test_it_tells_nothing_of_capacity_and_jobs(stub: WebhookStub) -> None:
    with closing(Webhook(settings(stub.url))) as target:
        capacity = target.capacity()
        assert (capacity.slots, capacity.idle, capacity.down) == (
            None,
            False,
            False,
        ) and capacity.why
        assert target.verdict("run-1", None).verdict is Verdict.UNKNOWN
    assert stub.requests == []


# -- settings --------------------


def opened(folder: Path, text: str, **env: str) -> Target:
    (folder / "dolt_watch.toml").write_text(f"[targets.hook]\nkind = 'webhook'\n{text}\n", "utf-8")
    (folder / "secret").write_text(SECRET + "\n")
    return open_target(load({"database": "dolt://h/d"}, env, folder).targets["hook"])


def test_from_settings(tmp_path: Path, stub: WebhookStub) -> None:
    text = (
        f"url = '{stub.url}'\nsecret_file = 'secret'\nheaders = {{X-Bead = '{{{{ bead.id"
        " }}'}\ntimeout = '5s'"
    )
    with closing(
        opened(tmp_path, text, DOLT_WATCH_TARGETS_HOOK_PREVIOUS_SECRET=OLD_SECRET)
    ) as target:
        assert target.dispatch(task(), "token-1") == Accepted("run-1", 202)
    assert stub.requests[0].headers["x-bead"] == "bd-1"
    assert " v1," in stub.requests[0].headers["webhook-signature"]


SIGNED = "url = 'http://h'\nsecret_file = 'secret'"


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("secret_file = 'secret'", "[targets.hook] url", "no URL"),
        ("url = 'http://h/#x'\nsecret_file = 'secret'", "dolt_watch.toml:3", "without '#'"),
        ("url = 'http://h'", "[targets.hook] secret", "no secret"),
        ("url = 'http://h'\nsecret = 'whsec_x'", "dolt_watch.toml:4", "isn't allowed"),
        (SIGNED + "\nbody_template = 'none.j2'", "dolt_watch.toml:5", "none.j2"),
        (
            SIGNED + "\n[targets.hook.headers]\nAuthorization = 'x'",
            "dolt_watch.toml:5",
            "reserved for dolt_watch",
        ),
        (SIGNED + "\nheaders = {webhook-id = 'x'}", "dolt_watch.toml:5", "reserved for dolt_watch"),
        (
            SIGNED + "\nheaders = {'a b' = 'x'}",
            "dolt_watch.toml:5",
            "isn't a valid name of a header",
        ),
        (SIGNED + "\nheaders = {a = '{{ x }}'}", "dolt_watch.toml:5 a:1", "unknown name x"),
        (SIGNED + "\nheaders = 'a'", "dolt_watch.toml:5", "a table of texts"),
        (SIGNED + "\nheaders = {a = 1}", "dolt_watch.toml:5", "a table of texts"),
        (SIGNED + "\nsource = 'my tracker'", "dolt_watch.toml:5", "isn't a URI reference"),
        (SIGNED + "\ndeduplicate = true", "dolt_watch.toml:5", "deduplicate"),
    ],
)
def test_bad_settings_are_told_with_their_place(
    tmp_path: Path, text: str, where: str, said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        opened(tmp_path, text)
    assert (caught.value.where or "").endswith(where)
    assert said in caught.value.message and caught.value.fix


@pytest.mark.parametrize(
    "secret", ["plain", "whsec_", "whsec_c2hvcnQ=", "whsec_!" + "A" * 44, SECRET[6:]]
)
def test_a_weak_or_broken_secret_is_refused_and_not_shown(secret: str) -> None:
    for key in ("secret", "previous_secret"):
        with pytest.raises(SettingsError) as caught:
            Webhook(settings("http://h", **{key: secret}))
        assert key in caught.value.message and "openssl" in (caught.value.fix or "")
        assert secret == "whsec_" or secret not in str(caught.value)
