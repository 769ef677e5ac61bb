"""The target ``local`` in the whole loop, on real bd and Dolt.

Agents are shell scripts that run bd.
"""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.core.decisions.policy import BOTH, Scope
from dolt_watch.core.model import JobReport, Verdict
from dolt_watch.targets.local import processes, run_files
from dolt_watch.targets.local.settings import LocalSettings
from dolt_watch.targets.local.target import Local
from tests.acceptance.conftest import Watch
from tests.acceptance.test_targets import dispatching_to
from tests.acceptance.test_verify import verified
from tests.unit.targets.local.agents import alive, until

MINUTE = timedelta(minutes=1)
BD_STARTS = 0.5
"""Seconds from the start of bd to its first statement on a busy machine."""


class Agents:
    """A watcher whose beads run in a shell script."""

    def __init__(self, watch: Watch, folder: Path) -> None:
        self.watch, self.folder = watch, folder
        self.target: Local

    def are(self, script: str, rule: dict[str, Any] | None = None, **settings: Any) -> None:
        chosen: dict[str, Any] = {
            "argv": ("/bin/sh", "-c", script),
            "slots": 4,
            "directory": self.watch.bd.path,
            "root": self.folder / "state",
            "beads_dir": self.watch.bd.path / ".beads",
            "stop_grace": timedelta(seconds=0.5),
            "env": tuple(
                f"{name}={value}"
                for name, value in self.watch.bd.env.items()
                if name != "BEADS_DIR"
            ),
        }
        made = LocalSettings("agents", **{**chosen, **settings})
        self.target = Local(made)
        dispatching_to(self.watch, made, **{"max_in_flight": 4, **(rule or {})})

    def token(self, bead: str) -> str:
        rows = self.watch.sql(
            "SELECT token FROM watch_decision WHERE bead_id = %s AND token <> '' ORDER BY version"
            " DESC LIMIT 1",
            bead,
        )
        return str(rows[0][0])

    def ended(self, bead: str) -> None:
        until(lambda: self.target.verdict(self.token(bead), None).verdict is not Verdict.RUNNING)


@pytest.fixture
def agents(watch: Watch, tmp_path: Path) -> Agents:
    return Agents(watch, tmp_path)


def closing(watch: Watch, more: str = "") -> str:
    """Return a script that closes its bead.

    bd takes longer to start than the stand-in, so the dispatch is recorded before it writes.
    """
    return f'sleep {BD_STARTS}; {watch.bd.program} close "$BEAD_ID" {more}'


def last(watch: Watch, bead: str) -> str:
    return str(watch.notes(bead)[-1])


def test_an_agent_closes_its_bead(watch: Watch, agents: Agents) -> None:
    bead = watch.assigned("Find the slow query")
    agents.are(closing(watch, '-r "done by $BEADS_ACTOR"'))
    outcome, _ = watch.dispatch()
    assert outcome.dispatched == 1
    token = agents.token(bead)
    assert f"dispatched: job={token}" in watch.notes(bead)
    agents.ended(bead)
    log = b"".join(agents.target.logs(token)).decode()
    assert watch.status(bead) == "closed", log
    watch.tick(2 * MINUTE)
    assert watch.status(bead) == "closed" and verified(watch).differences == []


def test_a_failure_ends_the_attempt_at_once_with_its_last_lines(
    watch: Watch, agents: Agents
) -> None:
    bead = watch.assigned("fails")
    agents.are("echo no such query; exit 3", {"max_attempts": 2})
    watch.dispatch()
    first = agents.token(bead)
    agents.ended(bead)
    watch.reap(MINUTE)
    assert watch.status(bead) == "open"
    why = "ended failed: exit code 3: no such query"
    assert last(watch, bead) == f"reaper: job {first} {why} — requeued"
    watch.dispatch(2 * MINUTE)
    assert agents.token(bead) == first, "it waits for retry_after"
    watch.dispatch(4 * MINUTE)
    agents.ended(bead)
    watch.reap(5 * MINUTE)
    assert watch.status(bead) == "blocked"
    assert last(watch, bead) == f"reaper: job {agents.token(bead)} {why} — blocking"
    assert verified(watch).differences == []


def test_a_broken_installation_blocks_no_bead(watch: Watch, agents: Agents) -> None:
    beads = [watch.assigned(f"bead {number}") for number in range(4)]
    agents.are("echo 'not logged in'; exit 1", {"max_in_flight": 1})
    now = timedelta()
    for _ in range(4):
        watch.dispatch(now)
        for bead in beads:
            if watch.status(bead) == "in_progress":
                agents.ended(bead)
        now += MINUTE
        watch.reap(now)
    assert [watch.status(bead) for bead in beads] == ["open"] * 4
    [[reason]] = watch.sql("SELECT reason FROM watch_decision WHERE kind = 'outage'")
    assert reason == (
        "the last 3 runs, on 3 beads, failed within seconds: exit code 1: not logged in"
    )
    assert len(watch.sql("SELECT 1 FROM watch_decision WHERE kind = 'claim'")) == 3
    agents.are(closing(watch), {"max_in_flight": 1})
    repaired = Local(agents.target.settings, now=lambda: time.time() + 3600)
    for hour in range(2, 7):
        watch.run(BOTH, timedelta(hours=hour), lambda name: repaired)
        for bead in beads:
            if watch.kinds(bead)[-1:] == ["dispatched"]:
                agents.ended(bead)
    assert [watch.status(bead) for bead in beads] == ["closed"] * 4
    assert verified(watch).differences == []


def test_a_timeout_is_dead_and_may_be_queued_again(watch: Watch, agents: Agents) -> None:
    bead = watch.assigned("hangs")
    agents.are(
        "trap '' TERM; while :; do sleep 1; done",
        {"on_stale": "requeue"},
        run_timeout=timedelta(seconds=0.3),
    )
    watch.dispatch()
    token = agents.token(bead)
    agents.ended(bead)
    watch.reap(MINUTE)
    assert watch.status(bead) == "open" and "ended timeout" in last(watch, bead)
    assert not alive(token)
    watch.dispatch(5 * MINUTE)
    assert agents.token(bead) != token
    agents.target.stop(agents.token(bead), "me", "enough")
    assert verified(watch).differences == []


def test_exit_0_with_the_bead_in_progress_is_said(watch: Watch, agents: Agents) -> None:
    bead = watch.assigned("forgets to close")
    agents.are("exit 0")
    watch.dispatch()
    agents.ended(bead)
    _, lines = watch.reap(MINUTE)
    said = f"its job {agents.token(bead)} ended completed, but the bead is still in progress"
    assert watch.status(bead) == "in_progress" and any(said in line for line in map(str, lines))
    watch.reap(45 * MINUTE)
    assert watch.status(bead) == "blocked" and "ended completed" in last(watch, bead)
    assert verified(watch).differences == []


def test_a_usage_limit_rests_the_target_and_counts_against_no_bead(
    watch: Watch, agents: Agents
) -> None:
    beads = [watch.assigned("one"), watch.assigned("two")]
    agents.are(
        "echo 'You have hit your usage limit. Try again in 3 hours.'; exit 1",
        {"max_attempts": 1, "max_in_flight": 1},
    )
    watch.dispatch()
    [first] = [bead for bead in beads if watch.status(bead) == "in_progress"]
    agents.ended(first)
    watch.tick(2 * MINUTE)
    assert [watch.status(bead) for bead in beads] == ["open", "open"]
    assert watch.kinds(first)[-1] == "busy"
    rows = watch.sql("SELECT attempt, detail FROM watch_decision WHERE kind = 'busy'")
    until_ = datetime.fromisoformat(json.loads(rows[0][1])["until"])
    assert timedelta(hours=2.9) < until_ - datetime.now(UTC) < timedelta(hours=3.1)
    watch.tick(2 * timedelta(hours=1))
    assert len(watch.sql("SELECT 1 FROM watch_decision WHERE kind = 'claim'")) == 1
    agents.are(closing(watch))
    watch.tick(timedelta(hours=4))
    assert "claim" in [watch.kinds(bead)[-2] for bead in beads]
    for bead in beads:
        if watch.kinds(bead)[-1] == "dispatched":
            agents.ended(bead)
    assert verified(watch).differences == []


def test_a_reaped_bead_has_no_live_agent(watch: Watch, agents: Agents) -> None:
    bead = watch.assigned("silent")
    agents.are(
        "(setsid sleep 300 &); sleep 300",
        {"max_runtime": timedelta(minutes=10), "stale_after": timedelta(minutes=5)},
    )
    watch.dispatch()
    token = agents.token(bead)
    until(lambda: len(alive(token)) >= 3)
    watch.reap(30 * MINUTE)
    assert watch.status(bead) == "blocked"
    assert not alive(token)
    assert agents.target.verdict(token, None).error.startswith("by beads-reaper: no progress")


class Counting(Local):
    """A target that counts how often its live runs are listed."""

    listed = 0

    def live_tokens(self) -> list[str]:
        self.listed += 1
        return super().live_tokens()


def test_the_live_runs_are_listed_once_a_tick(watch: Watch, agents: Agents) -> None:
    watch.tick()
    for number in range(3):
        watch.assigned(f"bead {number}")
    agents.are("sleep 300", {"max_runtime": timedelta(minutes=10)})
    target = Counting(agents.target.settings)
    outcome, _ = watch.dispatch(targets=lambda name: target)
    assert (outcome.dispatched, target.listed) == (3, 1)
    outcome, _ = watch.run(Scope(reap=True), 60 * MINUTE, lambda name: target)
    assert (outcome.reaped, target.listed) == (3, 2)
    assert target.live_tokens() == []


def test_a_bead_with_earlier_attempts_is_claimed_after_its_runs_are_stopped(
    watch: Watch, agents: Agents
) -> None:
    """Another worker ended the attempt, but hasn't stopped the run yet."""
    first = watch.assigned("first")
    agents.are("sleep 300", {"max_runtime": timedelta(minutes=10)})
    watch.dispatch()
    token = agents.token(first)

    class NotYet(Counting):
        def stop(self, job: str, by: str, reason: str) -> Any:
            return JobReport(Verdict.RUNNING)

    watch.run(Scope(reap=True), 40 * MINUTE, lambda name: NotYet(agents.target.settings))
    assert watch.status(first) == "blocked" and alive(token)
    watch.bd.run("update", first, "-s", "open", "-p", "4")
    watch.assigned("a bead that goes first")
    target = Counting(agents.target.settings)
    outcome, _ = watch.dispatch(60 * MINUTE, targets=lambda name: target)
    assert (outcome.dispatched, target.listed) == (2, 2)
    assert not alive(token)
    for run in target.live_tokens():
        target.stop(run, "me", "enough")


def test_stop_on_reap_can_be_switched_off(watch: Watch, agents: Agents) -> None:
    bead = watch.assigned("silent")
    agents.are("sleep 300", {"max_runtime": timedelta(minutes=10)}, stop_on_reap=False)
    watch.dispatch()
    watch.reap(40 * MINUTE)
    assert watch.status(bead) == "blocked" and alive(agents.token(bead))
    agents.target.stop(agents.token(bead), "me", "enough")


def test_output_is_life(watch: Watch, agents: Agents) -> None:
    bead = watch.assigned("talks")
    agents.are("echo busy; sleep 300", {"max_runtime": timedelta(minutes=10)}, output_is_life=True)
    watch.dispatch()
    token = agents.token(bead)
    log = agents.target.store.folder(token) / "log"
    until(lambda: log.exists() and log.stat().st_size)
    at = datetime.now(UTC).timestamp() + 60 * 60
    os.utime(log, (at, at))  # The output is an hour newer.
    watch.reap(65 * MINUTE)
    assert watch.status(bead) == "in_progress"
    watch.reap(100 * MINUTE)
    assert watch.status(bead) == "blocked"
    assert verified(watch).differences == []


def killed_before_the_start(watch: Watch, agents: Agents) -> None:
    """Claim a bead as a worker that dies before its target creates a folder."""

    class Dies(BaseException):
        pass

    class Dying(Local):
        def dispatch(self, task: Any, token: str) -> Any:
            raise Dies

    target = Dying(agents.target.settings)
    with pytest.raises(Dies):
        watch.dispatch(targets=lambda name: target)


def test_a_claim_whose_runner_never_started_is_tried_again_at_once(
    watch: Watch, agents: Agents
) -> None:
    bead = watch.assigned("never started")
    agents.are("sleep 300")
    killed_before_the_start(watch, agents)
    assert watch.status(bead) == "in_progress"
    watch.tick(2 * MINUTE)
    assert watch.kinds(bead)[-2:] == ["overdue", "retry"]
    assert watch.status(bead) == "open"
    watch.tick(2 * MINUTE + timedelta(seconds=5))
    assert watch.kinds(bead)[-1] == "dispatched"
    assert watch.sql("SELECT attempt FROM watch_decision WHERE kind = 'dispatched'") == [(1,)]
    agents.target.stop(agents.token(bead), "me", "enough")
    assert verified(watch).differences == []


def test_a_run_whose_answer_was_lost_is_found(watch: Watch, agents: Agents) -> None:
    bead = watch.assigned("lost answer")
    agents.are("sleep 300")

    class Lost(BaseException):
        pass

    class Losing(Local):
        def dispatch(self, task: Any, token: str) -> Any:
            super().dispatch(task, token)
            raise Lost

    target = Losing(agents.target.settings)
    with pytest.raises(Lost):
        watch.dispatch(targets=lambda name: target)
    token = agents.token(bead)
    watch.tick(2 * MINUTE)
    assert watch.kinds(bead)[-2:] == ["overdue", "dispatched"]
    assert f"dispatched: job={token}" in watch.notes(bead)
    assert agents.target.live_tokens() == [token], "no second run"
    agents.target.stop(token, "me", "enough")
    assert verified(watch).differences == []


def test_another_machine_settles_nothing(watch: Watch, agents: Agents) -> None:
    bead = watch.assigned("elsewhere")
    agents.are("sleep 300", {"on_unknown": "block"})
    killed_before_the_start(watch, agents)
    other = Local(replace(agents.target.settings, root=agents.folder / "other"))
    watch.run(Scope(dispatch=True, reap=True), 2 * MINUTE, lambda name: other)
    assert watch.kinds(bead)[-1] == "overdue"
    watch.run(Scope(dispatch=True, reap=True), 15 * MINUTE, lambda name: other)
    assert watch.kinds(bead)[-1] == "give-up", "as the rule's on_unknown says"


def test_a_killed_runner_ends_the_attempt(watch: Watch, agents: Agents) -> None:
    bead = watch.assigned("killed")
    agents.are("sleep 300")
    watch.dispatch()
    token = agents.token(bead)
    started = run_files.read(agents.target.store.folder(token) / run_files.STARTED)
    assert started
    os.kill(started["runner"]["pid"], signal.SIGKILL)
    until(lambda: not processes.start_time(started["runner"]["pid"]))
    watch.reap(MINUTE)
    assert last(watch, bead) == f"reaper: job {token} ended lost: its runner was killed — blocking"
    assert not alive(token) and verified(watch).differences == []


def test_a_reaper_that_dies_before_it_stops_the_run(watch: Watch, agents: Agents) -> None:
    """The next tick finds the run by its token and stops it."""
    bead = watch.assigned("reaped")
    agents.are("sleep 300", {"max_runtime": timedelta(minutes=10)})
    watch.dispatch()
    token = agents.token(bead)

    class Dies(BaseException):
        pass

    class Dying(Local):
        def stop(self, job: str, by: str, reason: str) -> Any:
            raise Dies

    with pytest.raises(Dies):
        watch.run(Scope(reap=True), 40 * MINUTE, lambda name: Dying(agents.target.settings))
    assert watch.status(bead) == "blocked" and alive(token)
    watch.reap(41 * MINUTE)
    assert not alive(token)


# -- commands --------------------


def configured(watch: Watch, folder: Path, script: str) -> None:
    program = folder / "agent"
    program.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    program.chmod(0o755)
    settings = f"""
settle = "0s"
[rules.agent]
target = "local"
[targets.local]
argv = ["{program}"]
stop_grace = "1s"
"""
    (watch.bd.path / "dolt_watch.toml").write_text(settings, "utf-8")


def command(watch: Watch, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a command with a separate state directory. Return its exit code and its output."""
    ran = watch.command(*arguments, env={"XDG_STATE_HOME": str(folder / "state")})
    return ran.code, ran.stdout + ran.stderr


def test_the_commands(watch: Watch, tmp_path: Path) -> None:
    bead = watch.assigned("by commands")
    configured(
        watch,
        tmp_path,
        'echo "working on $BEAD_ID in $BEADS_DIR"; printf "\\033[1mbold\\n"; exec sleep 300',
    )
    code, said = command(watch, tmp_path, "dispatch")
    assert code == 0 and f"dispatched {bead} as job" in said, said
    until(lambda: "bold" in command(watch, tmp_path, "logs", bead)[1])
    code, said = command(watch, tmp_path, "logs", bead)
    assert (code, said) == (0, f"working on {bead} in {watch.bd.path / '.beads'}\n\\x1b[1mbold\n")
    code, said = command(watch, tmp_path, "logs", bead, "--raw", "--attempt", "1")
    assert said.endswith("\x1b[1mbold\n")
    code, said = command(watch, tmp_path, "logs", bead, "--attempt", "2")
    assert code == 2 and "has no attempt 2" in said
    code, said = command(watch, tmp_path / "elsewhere", "logs", bead)
    assert code == 2 and "This machine has no output of the run" in said
    code, said = command(watch, tmp_path / "elsewhere", "stop", bead)
    assert code == 1 and "can't be ended from here" in said and watch.status(bead) == "in_progress"
    code, said = command(watch, tmp_path, "stop", bead, "--reason", "it edits the wrong files")
    assert (code, said) == (0, f"{bead}: stopped (stopped), and blocked\n")
    assert watch.status(bead) == "blocked"
    assert last(watch, bead).endswith(": it edits the wrong files")
    [(reason, detail)] = watch.sql(
        "SELECT reason, detail FROM watch_decision WHERE kind = 'manual-stop'"
    )
    assert reason == "it edits the wrong files" and '"by"' in detail
    token = watch.sql("SELECT token FROM watch_decision WHERE kind = 'claim'")[0][0]
    assert not alive(str(token))
    code, said = command(watch, tmp_path, "stop", bead)
    assert (code, said) == (0, f"{bead} has no attempt under way: nothing to do\n")
    code, said = command(watch, tmp_path, "retry", bead)
    assert code == 0 and watch.status(bead) == "open"


@pytest.mark.parametrize("status", ["closed", "blocked"])
def test_an_agent_whose_bead_left_its_rule_can_be_stopped(
    watch: Watch, tmp_path: Path, status: str
) -> None:
    """The bead keeps the status that the user gave it."""
    bead = watch.assigned("no longer needed")
    configured(watch, tmp_path, "exec sleep 300")
    assert command(watch, tmp_path, "dispatch")[0] == 0
    token = watch.sql("SELECT token FROM watch_decision WHERE kind = 'claim'")[0][0]
    watch.committed(f"UPDATE issues SET status = '{status}' WHERE id = '{bead}'")
    code, said = command(watch, tmp_path / "elsewhere", "stop", bead)
    nothing = f"{bead} has no attempt under way, and no run of it is alive here: nothing to do\n"
    assert (code, said) == (0, nothing) and alive(str(token))
    code, said = command(watch, tmp_path, "stop", bead, "--reason", "not needed")
    assert (code, said) == (0, f"{bead}: stopped (stopped)\n")
    assert not alive(str(token)) and watch.status(bead) == status
    assert watch.kinds(bead)[-1] == "manual-stop" and last(watch, bead).endswith(": not needed")
    assert command(watch, tmp_path, "stop", bead)[1].endswith("nothing to do\n")
    code, said = command(watch, tmp_path, "retry", "--all")
    assert (code, watch.status(bead)) == (0, status), said
    code, said = command(watch, tmp_path, "replay", "--verify")
    assert code == 0, said


def test_logs_are_followed_to_the_end(watch: Watch, tmp_path: Path) -> None:
    bead = watch.assigned("followed")
    configured(watch, tmp_path, "for i in 1 2 3; do echo $i; sleep 0.1; done")
    command(watch, tmp_path, "dispatch")
    assert command(watch, tmp_path, "logs", bead, "-f") == (0, "1\n2\n3\n")


def test_the_rule_of_an_attempt_that_is_gone_is_named(watch: Watch, tmp_path: Path) -> None:
    bead = watch.assigned("under another rule")
    configured(watch, tmp_path, "exit 0")
    command(watch, tmp_path, "dispatch")
    settings = watch.bd.path / "dolt_watch.toml"
    text = settings.read_text("utf-8")
    settings.write_text(text.replace("[rules.agent]", "[rules.renamed]"), "utf-8")
    code, said = command(watch, tmp_path, "logs", bead)
    assert code == 2 and "There is no rule 'agent', which made this attempt." in said
    assert "Add [rules.agent] with its target again" in said


def test_doctor_names_what_is_missing(watch: Watch, tmp_path: Path) -> None:
    configured(watch, tmp_path, "exit 0")
    (tmp_path / "agent").unlink()
    watch.assigned("waits")
    code, said = command(watch, tmp_path, "doctor")
    assert code == 1 and f"local: {tmp_path / 'agent'}: no such program, or not executable" in said
    code, said = command(watch, tmp_path, "dispatch")
    assert code == 1 and watch.sql("SELECT 1 FROM watch_decision WHERE kind = 'claim'") == []


def test_a_run_outlives_the_command_that_started_it(watch: Watch, tmp_path: Path) -> None:
    bead = watch.assigned("outlives")
    configured(watch, tmp_path, f'read x < {tmp_path}/gate; {watch.bd.program} close "$BEAD_ID"')
    os.mkfifo(tmp_path / "gate")
    code, said = command(watch, tmp_path, "dispatch")
    assert code == 0, said
    (tmp_path / "gate").write_text("go\n", "utf-8")
    command(watch, tmp_path, "logs", bead, "--follow")
    assert watch.status(bead) == "closed", command(watch, tmp_path, "logs", bead)
