"""The loop with targets other than BeadBoard.

The tracker and the ledger contain the answers of each target.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from dolt_watch.targets.agent_service_settings import AgentServiceSettings
from dolt_watch.targets.command_settings import CommandSettings
from dolt_watch.targets.settings import TargetSettings
from dolt_watch.targets.webhook_settings import WebhookSettings
from tests.acceptance.conftest import Watch
from tests.acceptance.test_verify import verified
from tests.stubs.agent_service import AgentServiceStub
from tests.stubs.webhook import SECRET, WebhookStub

TOKEN = "s3cret-bearer"


def dispatching_to(watch: Watch, target: TargetSettings, **rule: Any) -> None:
    watch.change(
        rules=(replace(watch.settings.rules[0], target=target.name, **rule),),
        targets={target.name: target},
    )


def given(watch: Watch, bead: str) -> dict[str, Any]:
    """Return the recorded inputs of the bead's last entry."""
    rows = watch.sql(
        "SELECT detail FROM watch_decision WHERE bead_id = %s ORDER BY version DESC LIMIT 1", bead
    )
    found: dict[str, Any] = json.loads(rows[0][0])["given"]
    return found


def test_agent_service_runs_the_bead_and_is_asked_before_it_is_reaped(watch: Watch) -> None:
    bead = watch.assigned("Find the slow query")
    with AgentServiceStub(bearer=TOKEN) as service:
        dispatching_to(watch, AgentServiceSettings("agents", url=service.url, token=TOKEN))
        outcome, _ = watch.dispatch()
        [(job, made)] = service.jobs.items()
        assert (outcome.dispatched, watch.status(bead)) == (1, "in_progress")
        assert watch.notes(bead)[-1] == f"dispatched: job={job}"
        assert "Find the slow query" in made.prompt and "it works" in made.prompt
        [(token,)] = watch.sql(
            "SELECT token FROM watch_decision WHERE bead_id = %s AND kind = 'claim'", bead
        )
        assert made.metadata["idempotency_key"] == token
        watch.reap(timedelta(minutes=40))
        assert watch.status(bead) == "in_progress", "silent, but the service says that it runs"
        service.finish(job, "failed")
        watch.reap(timedelta(minutes=42))
        assert watch.status(bead) == "blocked"
        assert watch.notes(bead)[-1] == f"reaper: job {job} ended failed: exit code 1 — blocking"
        assert given(watch, bead)["verdicts"][bead] == ["finished", "failed", "exit code 1"]
        assert verified(watch).differences == []
        assert TOKEN not in repr(watch.sql("SELECT * FROM watch_decision")) + repr(
            watch.sql("SELECT * FROM watch_settings")
        )


def test_a_job_that_failed_is_not_waited_for(watch: Watch) -> None:
    """A failed job ends its attempt long before the bead is stale.

    The target is asked about running jobs once a minute.
    """
    bead = watch.assigned("fails")
    with AgentServiceStub(bearer=TOKEN) as service:
        dispatching_to(watch, AgentServiceSettings("agents", url=service.url, token=TOKEN))
        watch.dispatch()
        (job,) = service.jobs
        watch.reap(timedelta(minutes=2))
        assert watch.status(bead) == "in_progress"
        service.finish(job, "error")
        watch.reap(timedelta(minutes=4))
        assert watch.status(bead) == "blocked"
        assert watch.notes(bead)[-1].startswith(f"reaper: job {job} ended error: ")
        assert verified(watch).differences == []


def test_a_timed_out_job_is_not_queued_again(watch: Watch) -> None:
    bead = watch.assigned("slow")
    with AgentServiceStub(bearer=TOKEN) as service:
        dispatching_to(
            watch, AgentServiceSettings("agents", url=service.url, token=TOKEN), on_stale="requeue"
        )
        watch.dispatch()
        service.finish(next(iter(service.jobs)), "timeout")
        watch.reap(timedelta(minutes=40))
        assert watch.status(bead) == "blocked"


def test_a_receiver_that_is_gone_stops_the_rule(watch: Watch) -> None:
    beads = [watch.assigned("one"), watch.assigned("two")]
    with WebhookStub() as receiver:
        dispatching_to(watch, WebhookSettings("hook", url=receiver.url, secret=SECRET))
        receiver.script("/", 410, "no more")
        outcome, _ = watch.dispatch()
        assert (outcome.exit_code, len(receiver.requests)) == (1, 1)
        watch.dispatch(timedelta(hours=1))
        assert len(receiver.requests) == 1 and receiver.runs == []
        assert [watch.status(bead) for bead in beads] == ["open", "open"]
        assert verified(watch).differences == []
        assert sorted(kind for bead in beads for kind in watch.kinds(bead)) == ["claim", "stopped"]


def test_a_command_runs_the_bead(watch: Watch, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\ncat > "$0.in"\necho "run-of-$BEAD_ID"\n', "utf-8")
    program.chmod(0o755)
    bead = watch.assigned("local")
    dispatching_to(watch, CommandSettings("local", argv=(str(program),)))
    outcome, _ = watch.dispatch()
    assert (outcome.dispatched, watch.notes(bead)[-1]) == (1, f"dispatched: job=run-of-{bead}")
    assert given(watch, bead)["answer"] == {"is": "accepted"}
    assert verified(watch).differences == []
    told = json.loads((tmp_path / "program.in").read_text("utf-8"))
    assert (told["id"], told["title"], told["status"]) == (bead, "local", "open")
    assert told["created_at"].endswith("Z")
