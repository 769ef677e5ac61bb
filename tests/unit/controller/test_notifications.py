"""Notifications: sent at least once, deduplicated by one ID, and never a delay for a tick."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from dolt_watch.checkpoint import turns
from dolt_watch.config import load
from dolt_watch.config.model import Notify
from dolt_watch.controller.notifications import MAX_QUEUED, Notifier
from dolt_watch.controller.reprocess import reprocess
from dolt_watch.core.decisions.policy import BOTH
from dolt_watch.core.model import Capacity
from dolt_watch.core.model.target_answers import Refused, Unknown
from dolt_watch.engines import Engine
from dolt_watch.errors import SettingsError
from dolt_watch.inspection.doctor.workload_checks import target
from dolt_watch.targets.webhook import Webhook
from dolt_watch.targets.webhook_settings import WebhookSettings
from tests.stubs.server import dead_url
from tests.stubs.webhook import SECRET, WebhookStub
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.lines import build, heard


@pytest.fixture
def stub() -> Iterator[WebhookStub]:
    with WebhookStub() as stub:
        yield stub


@pytest.fixture
def here(doltlite: Engine, stub: WebhookStub) -> Light:
    """Return a tracker with one waiting bead, which sends failed decisions to the stub."""
    made = Light(doltlite)
    made.listen(Webhook(WebhookSettings("ops", url=stub.url, secret=SECRET)))
    made.assign("bd-a")
    return made


def told(stub: WebhookStub) -> list[tuple[str, str]]:
    return [
        (event["subject"], event["data"]["kind"])
        for event in map(lambda request: json.loads(request.body), stub.requests)
    ]


def test_a_failure_is_told_signed_and_once(here: Light, stub: WebhookStub) -> None:
    here.target.answers.append(Refused("HTTP 500: boom", 500))
    here.tick()
    here.tick(timedelta(minutes=2))
    [request] = stub.requests
    Verifier(SECRET).verify(request.body, dict(request.headers))
    event = json.loads(request.body)
    assert (event["type"], event["subject"], event["data"]["reason"]) == (
        "dev.dolt-watch.decision",
        "bd-a",
        "HTTP 500: boom",
    )
    assert event["id"] == request.headers["webhook-id"]


def test_what_goes_well_is_not_told(here: Light, stub: WebhookStub) -> None:
    here.tick()
    assert (here.target.sent, stub.requests) == (["bd-a"], [])


def test_only_what_was_asked_for(here: Light, stub: WebhookStub) -> None:
    here.settings = replace(here.settings, notify=Notify("ops", "reap"))
    here.target.answers.append(Unknown("no answer"))
    here.tick()
    here.tick(timedelta(hours=1))
    assert told(stub) == [] and "give-up" in here.kinds("bd-a")
    here.assign("bd-b")
    here.tick(timedelta(hours=2))
    here.tick(timedelta(hours=3))
    assert told(stub) == [("bd-b", "reap")]


def test_nobody_listens_for_a_while(here: Light, stub: WebhookStub) -> None:
    """The tick continues while the webhook receiver is down.

    The notice is stored with the cursor, so that each process sends it with the same ID.
    """
    stub.script("/", 503, "later")
    here.target.answers.append(Refused("HTTP 500: boom", 500))
    assert here.tick().failed == 1
    assert any("1 notices wait" in line for line in here.lines)
    assert here.tick(timedelta(seconds=90)).rounds == 0, "not at every tick"
    here.tick(timedelta(minutes=2, seconds=1))
    assert (
        len({request.headers["webhook-id"] for request in stub.requests}) == 1
        and len(stub.requests) == 2
    )
    requests = len(stub.requests)
    here.tick(timedelta(minutes=3, seconds=30))
    assert len(stub.requests) == requests


def test_a_receiver_that_is_down_is_asked_once_a_minute(
    here: Light, stub: WebhookStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that takes turns saves several times a tick, and other workers wait meanwhile."""
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(here.engine, "take_turn", lambda seconds: True)
    for _ in range(9):
        stub.script("/", 503, "later")
    here.change(max_in_flight=9)
    here.target.free = Capacity(9)
    here.target.answers.append(Refused("HTTP 500: boom", 500))
    here.assign("bd-b", "bd-c", "bd-d")
    clock = ShiftedClock(timedelta(minutes=1))
    loop = build(
        here.engine, here.settings, lambda name: here.receivers.get(name, here.target), clock
    )
    loop.parts.turns.on_conflict()
    loop.tick(BOTH)
    assert len(here.target.sent) == 4
    assert len(stub.requests) == 1
    clock.sleep(60)
    loop.tick(BOTH)
    assert len(stub.requests) == 2


def test_a_waiting_notice_survives_a_reprocess(here: Light, stub: WebhookStub) -> None:
    stub.script("/", 503, "later")
    here.target.answers.append(Refused("HTTP 500: boom", 500))
    here.tick()
    commit = here.engine.commit_of(here.head())
    assert commit is not None and len(stub.requests) == 1
    clock = ShiftedClock(timedelta(minutes=2))
    reprocess(build(here.engine, here.settings, here.receivers.get, clock).parts, commit, "ann")
    here.tick(timedelta(minutes=3))
    assert len(stub.requests) == 2
    assert len({request.headers["webhook-id"] for request in stub.requests}) == 1


def test_gone_for_good(here: Light, stub: WebhookStub) -> None:
    stub.script("/", 410, "")
    here.target.answers.append(Refused("HTTP 500: boom", 500))
    here.tick()
    here.tick(timedelta(minutes=2))
    assert len(stub.requests) == 1
    assert any("gone (HTTP 410)" in line for line in here.lines)


def test_who_cannot_be_told_stops_nothing(here: Light) -> None:
    def receiver() -> Any:
        raise SettingsError(
            "Target ops has no secret for the signature.", where="[targets.ops] secret"
        )

    lines: list[str] = []
    with heard(lines.append):
        assert len(Notifier(receiver).flush([{"id": "1", "bead": "b", "kind": "failed"}])) == 1
    assert lines == [
        "warning: 1 notices wait, because the target can't be opened: Target ops has no secret"
        " for the signature."
        " ([targets.ops] secret)"
    ]


def test_doctor_looks_at_who_is_told(here: Light, stub: WebhookStub) -> None:
    def targets(name: str) -> Any:
        return (
            here.target
            if name != "ops"
            else Webhook(WebhookSettings("ops", url=stub.url, secret=secret))
        )

    secret = ""
    told = list(target(here.settings, targets))[1:]
    assert [(each.level, each.exit_code) for each in told] == [("failure", 2)]
    secret = SECRET
    told = list(target(here.settings, targets))[1:]
    assert [each.says for each in told] == ["ops receives notifications"]
    assert stub.requests == []


def test_it_does_not_grow_without_end() -> None:
    lines: list[str] = []
    dead = Webhook(WebhookSettings("ops", url=dead_url(), secret=SECRET))
    waiting: list[dict[str, Any]] = [
        {"id": str(n), "bead": "b", "kind": "failed"} for n in range(MAX_QUEUED + 7)
    ]
    with heard(lines.append):
        rest = Notifier(lambda: dead).flush(waiting)
    assert (len(rest), rest[-1]["id"]) == (MAX_QUEUED, str(MAX_QUEUED + 6))
    assert lines[0].startswith("warning: 7 notices were dropped")


def test_nobody_may_be_told(tmp_path: Path) -> None:
    text = '[notify]\ntarget = ""\n'
    (tmp_path / "dolt_watch.toml").write_text(f'database = "doltlite:///x.db"\n{text}')
    assert load({}, {}, tmp_path).notify == Notify("")
    (tmp_path / "dolt_watch.toml").write_text(
        'database = "doltlite:///x.db"\n[rules.agent]\ntarget = ""\n'
    )
    with pytest.raises(SettingsError, match=r"rules\.agent\.target"):
        load({}, {}, tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[notify]\ntarget = "ops"', "Define [targets.ops]"),
        ('[notify]\ntarget = "beadboard"', "kind webhook"),
        (
            '[notify]\ntarget = "ops"\non = "faild"\n[targets.ops]\nkind = "webhook"',
            "Did you mean failed",
        ),
        ('[notify]\non = "nope"', "notify.on must be a list of decision kinds"),
        ('[notify]\ntargt = "ops"', "Did you mean target"),
        ("notify = true", "[notify]"),
    ],
)
def test_bad_settings(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "dolt_watch.toml").write_text(
        'database = "doltlite:///x.db"\n' * ("notify = true" not in text) + text
    )
    with pytest.raises(SettingsError) as found:
        load({}, {}, tmp_path)
    assert words in str(found.value)
