"""Runs of real processes: ends and leftovers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from dolt_watch.core.model import JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Busy, Refused
from dolt_watch.targets.local import processes, run_files, sweeping
from dolt_watch.testing.target_conformance import make_task
from tests.unit.targets.local.agents import (
    SETSID,
    alive,
    ended,
    flood,
    local,
    output,
    run,
    start,
    until,
)


def test_exit_0_is_completed_and_the_prompt_is_its_input(tmp_path: Path) -> None:
    target = local(tmp_path, "cat")
    report = run(target)
    assert (report.verdict, report.status_text, report.dead) == (
        Verdict.FINISHED,
        "completed",
        True,
    )
    assert not report.failed, "the reaper's rule decides"
    assert "Bead: bd-1" in output(target)
    assert "the query is named" in output(target)


def test_the_prompt_can_be_an_argument(tmp_path: Path) -> None:
    target = local(tmp_path, "", argv=("/bin/sh", "-c", 'cat; echo "$1"', "sh", "Do: {prompt}"))
    assert run(target).status_text == "completed"
    assert output(target).startswith("Do: You work on one bead"), "standard input was empty"


def test_a_failure_has_its_exit_code_and_its_last_lines(tmp_path: Path) -> None:
    report = run(local(tmp_path, "echo one; echo; echo two >&2; echo three; echo four; exit 3"))
    assert report.failed and report.has_ended
    assert (report.status_text, report.error) == ("failed", "exit code 3: two / three / four")


def test_a_signal_is_named(tmp_path: Path) -> None:
    report = run(local(tmp_path, "echo dying; kill -SEGV $$"))
    assert (report.status_text, report.error) == ("killed", "killed by signal 11 (SIGSEGV): dying")
    assert report.failed and report.has_ended


def test_control_characters_of_the_output_are_escaped(tmp_path: Path) -> None:
    report = run(local(tmp_path, r"printf '\033[31mred\007\n\377'; exit 1"))
    assert report.error == r"exit code 1: \x1b[31mred\x07 / �"


def test_a_timeout_kills_what_ignores_sigterm_forks_and_leaves_its_group(tmp_path: Path) -> None:
    script = f"""
    trap '' TERM
    (trap '' TERM; while :; do sleep 1; done) &
    {SETSID} sh -c 'trap "" TERM; while :; do sleep 1; done' &
    while :; do sleep 1; done
    """
    target = local(tmp_path, script, run_timeout=timedelta(seconds=0.4))
    report = run(target)
    assert (report.status_text, report.dead) == ("timeout", True)
    assert report.error == "it exceeded run_timeout (0.4s)"
    assert report.has_ended, "it is dead, so that a requeue is safe"
    assert not alive(target.token)


def test_what_an_agent_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    target = local(tmp_path, f"sleep 300 & {SETSID} sleep 300 & echo done")
    assert run(target).status_text == "completed"
    assert not alive(target.token)
    assert output(target) == "done\n"


def test_a_child_that_keeps_the_output_open_does_not_keep_the_run_open(tmp_path: Path) -> None:
    target = local(tmp_path, "env -i sleep 300 & exit 4")
    assert run(target).error == "exit code 4"


def test_an_agent_that_asks_ends(tmp_path: Path) -> None:
    """The agent has no terminal and an empty standard input, so it can't wait for a login."""
    script = (
        "cat >/dev/null; read answer </dev/tty && exit 0; read answer && exit 0; [ -t 0 ] || exit 9"
    )
    assert run(local(tmp_path, script)).error.startswith("exit code 9")


def test_its_output_is_bounded_and_the_end_is_kept(tmp_path: Path) -> None:
    script = f"{flood(30_000_000)}; echo the end; exit 1"
    target = local(tmp_path, script, log_size=1_000_000)
    report = run(target)
    folder = target.store.folder(target.token)
    sizes = [(folder / name).stat().st_size for name in ("log", "log.1")]
    assert sum(sizes) <= 1_000_000 and sizes[1] == 500_000
    assert output(target).endswith("the end\n")
    assert report.error.endswith("the end")
    record = run_files.read(folder / run_files.END)
    assert record and record["output_bytes"] == 30_000_008 and record["dropped_bytes"] == 0


@pytest.mark.parametrize("name", ["missing", "not-executable", "no-interpreter"])
def test_a_program_that_cannot_start_is_refused_and_down_before(tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    if name != "missing":
        program.write_text("#!/no/such/interpreter\n", "utf-8")
        program.chmod(0o755 if name == "no-interpreter" else 0o644)
    target = local(tmp_path, "", argv=(str(program),))
    capacity = target.capacity()
    if name != "no-interpreter":  # only an attempt can find this error
        assert capacity.down and str(program) in capacity.why
    answer = target.dispatch(make_task(), target.token)
    assert isinstance(answer, Refused) and "could not be started" in answer.why
    assert answer.unreachable == "target", "it counts against no bead"
    assert ended(target, target.token).started is False
    until(lambda: not alive(target.token))
    assert target.capacity().down and str(program) in target.capacity().why


def test_a_program_that_could_not_be_started_is_tried_after_a_pause(tmp_path: Path) -> None:
    ahead = 0.0
    program = tmp_path / "agent"
    program.write_text("#!/no/such/interpreter\n", "utf-8")
    program.chmod(0o755)
    target = local(tmp_path, "", argv=(str(program),), now=lambda: time.time() + ahead)
    assert isinstance(target.dispatch(make_task(), target.token), Refused)
    assert target.capacity().why.startswith(f"the last run could not be started: {program}")
    until(lambda: not alive(target.token))
    ahead = 61.0
    assert (target.capacity().down, target.capacity().slots) == (False, 1)
    assert isinstance(target.dispatch(make_task(), f"{target.token}2"), Refused)
    ahead = 119.0
    assert target.capacity().down, "the pause doubles"
    program.write_text("#!/bin/sh\n", "utf-8")
    assert run(target, f"{target.token}3").status_text == "completed"
    assert (target.capacity().down, target.capacity().slots) == (False, 2)


@pytest.mark.parametrize("name", ["./agent", "folder"])
def test_a_relative_program_is_one_of_the_working_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    target = local(tmp_path, "", argv=(name,), directory=None, beads_dir=tmp_path / ".beads")
    assert target.capacity().down and f"{name}: no such program" in target.capacity().why
    (tmp_path / "agent").write_text("#!/bin/sh\necho hi\n", "utf-8")
    (tmp_path / "agent").chmod(0o755)
    target = local(tmp_path, "", argv=("./agent",), directory=None, beads_dir=tmp_path / ".beads")
    assert not target.capacity().down
    assert run(target).status_text == "completed" and output(target) == "hi\n"


def test_a_prompt_that_no_argument_can_hold_is_refused_for_good(tmp_path: Path) -> None:
    target = local(tmp_path, "", argv=("/bin/echo", "{prompt}"))
    answer = target.dispatch(make_task(description="x" * 200_000), target.token)
    assert isinstance(answer, Refused) and answer.permanent
    assert "an argument has at most 131071; without {prompt} it is standard input" in answer.why
    assert not target.store.folder(target.token).exists()


def test_arguments_that_are_too_long_together_are_the_bead_s_own_fault(tmp_path: Path) -> None:
    """Each argument fits by itself. The kernel refuses them together, and the runner reports it."""
    target = local(tmp_path, "", argv=("/bin/echo", *["{prompt}"] * 80))
    answer = target.dispatch(make_task(description="x" * 120_000), target.token)
    assert isinstance(answer, Refused) and "Argument list too long" in answer.why
    assert answer.unreachable == "" and not target.capacity().down


def test_a_token_starts_once(tmp_path: Path) -> None:
    target = local(tmp_path, "echo x >> ran")
    run(target)
    assert isinstance(target.dispatch(make_task(), target.token), Accepted)
    assert (tmp_path / "ran").read_text() == "x\n"


def test_its_environment_is_an_allow_list(tmp_path: Path) -> None:
    target = local(tmp_path, "env", env=("CI=1", "GIVEN"), beads_dir=tmp_path / ".beads")
    target._environ = {
        "PATH": os.environ["PATH"],
        "HOME": "/h",
        "LC_TIME": "C",
        "GIVEN": "yes",
        "SSH_AUTH_SOCK": "/s",
        "DOLT_WATCH_PASSWORD": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "PYTHONPATH": "/p",
    }
    run(target)
    found = dict(line.partition("=")[::2] for line in output(target).splitlines())
    found = {
        name: value for name, value in found.items() if name not in ("PWD", "OLDPWD", "SHLVL", "_")
    }
    assert found == {
        "PATH": os.environ["PATH"],
        "HOME": "/h",
        "LC_TIME": "C",
        "GIVEN": "yes",
        "CI": "1",
        "TERM": "dumb",
        "BEAD_ID": "bd-1",
        "BEADS_ACTOR": "agent",
        "BEADS_DIR": str(tmp_path / ".beads"),
        "DOLT_WATCH_TOKEN": target.token,
    }


# -- slots --------------------


def test_slots_are_counted_and_given_back(tmp_path: Path) -> None:
    target = local(tmp_path, "read x < gate")
    os.mkfifo(tmp_path / "gate")
    assert (target.capacity().slots, target.capacity().idle) == (2, False)
    start(target, target.token)
    start(target, "token-2")
    assert target.capacity().slots == 0
    answer = target.dispatch(make_task(), "token-3")
    assert isinstance(answer, Busy) and answer.why == "2 of 2 slots are taken"
    assert not target.store.folder("token-3").exists(), "a busy answer leaves nothing"
    target.stop(target.token, "me", "enough")
    assert target.capacity().slots == 1
    target.stop("token-2", "me", "enough")


def test_slots_of_another_target_are_its_own(tmp_path: Path) -> None:
    one, other = local(tmp_path, "sleep 300"), local(tmp_path, "sleep 300")
    other.name = "other"
    start(one, one.token)
    assert (one.capacity().slots, other.capacity().slots) == (1, 2)
    one.stop(one.token, "me", "enough")


@pytest.mark.parametrize("character", ["x", "\N{GRINNING FACE}", "\x01", "\n", '"', "\\"])
def test_whatever_the_reason_contains_the_run_is_stopped(tmp_path: Path, character: str) -> None:
    target = local(tmp_path, "sleep 300")
    start(target, target.token)
    report = target.stop(target.token, character * 300, character * 600)
    assert report.dead and report.status_text == "stopped", report
    assert not alive(target.token)


def test_a_file_of_the_user_among_the_runs_does_no_harm(tmp_path: Path) -> None:
    target = local(tmp_path, "exit 0")
    run(target)
    (target.store.runs / "notes of ann").mkdir()
    (target.store.runs / "notes").write_text("x", "utf-8")
    (target.store.active / "a copy").write_text('{"target": "me"}', "utf-8")
    assert target.capacity().slots == 2
    assert list(target.leftovers()) == []
    assert sweeping.sweep(target.store, target._now() + 100.0, 1.0) == [target.token]


# -- death of the runner, reboot, deletion --------------------


def test_a_killed_runner_takes_its_agent_along_and_is_lost(tmp_path: Path) -> None:
    target = local(tmp_path, f"({SETSID} sleep 300 &) ; sleep 300")
    start(target, target.token)
    until(lambda: len(alive(target.token)) >= 4)
    started = run_files.read(target.store.folder(target.token) / run_files.STARTED)
    assert started
    os.kill(started["runner"]["pid"], signal.SIGKILL)
    report = ended(target, target.token)
    assert (report.verdict, report.status_text, report.error) == (
        Verdict.LOST,
        "lost",
        "its runner was killed",
    )
    assert report.dead and report.failed and report.has_ended
    assert not alive(target.token)
    assert target.verdict(target.token, None) == report, "the verdict is recorded"


def test_a_killed_runner_takes_processes_with_another_environment_along(tmp_path: Path) -> None:
    target = local(tmp_path, "env -i sh -c 'echo $$ > pid; exec sleep 300' & sleep 300")
    start(target, target.token)
    pid = int(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip()))
    started = run_files.read(target.store.folder(target.token) / run_files.STARTED)
    assert started
    os.kill(started["runner"]["pid"], signal.SIGKILL)
    assert ended(target, target.token).dead
    assert not processes.start_time(pid)


def test_a_session_whose_leader_lives_is_another_one() -> None:
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as process:
        assert processes.in_session(process.pid) == set()
        process.kill()


def test_after_a_reboot_it_is_lost(tmp_path: Path) -> None:
    target = local(tmp_path, "exit 0")
    run(target)
    folder = target.store.folder(target.token)
    (folder / run_files.END).unlink()
    started = json.loads((folder / run_files.STARTED).read_text())
    (folder / run_files.STARTED).write_text(json.dumps({**started, "boot": "another"}))
    report = target.verdict(target.token, None)
    assert (report.verdict, report.error, report.dead) == (
        Verdict.LOST,
        "the host was restarted",
        True,
    )


def test_after_a_restart_of_its_container_another_session_with_its_number_lives(
    tmp_path: Path,
) -> None:
    target = local(tmp_path, "exit 0")
    run(target)
    folder = target.store.folder(target.token)
    (folder / run_files.END).unlink()
    started = json.loads((folder / run_files.STARTED).read_text())
    assert started["init"] == processes.start_time(1) != ""
    script = "import os; print(os.getpid(), flush=True); os.fork() or os.execlp('sleep', 'x', '9')"
    leader = subprocess.Popen(
        [sys.executable, "-c", script], start_new_session=True, stdout=subprocess.PIPE
    )
    with leader:
        assert leader.stdout is not None
        session = int(leader.stdout.readline())
    [other] = until(lambda: processes.in_session(session))
    try:
        changed = {**started, "session": session, "init": "1"}
        (folder / run_files.STARTED).write_text(json.dumps(changed))
        report = target.verdict(target.token, None)
        why = "its container was restarted"
        assert (report.verdict, report.error, report.dead) == (Verdict.LOST, why, True)
        assert processes.start_time(other), "it is not of this run"
    finally:
        os.kill(other, signal.SIGKILL)


def test_a_claim_whose_runner_never_started_is_known_not_to_run(tmp_path: Path) -> None:
    target = local(tmp_path, "echo x >> ran")
    report = target.settle(target.token)
    assert (report.verdict, report.started, report.dead) == (Verdict.LOST, False, True)
    answer = target.dispatch(make_task(), target.token)
    assert isinstance(answer, Refused), "the tombstone holds"
    assert not (tmp_path / "ran").exists()


def test_a_deleted_folder_is_no_proof_while_a_process_runs(tmp_path: Path) -> None:
    target = local(tmp_path, "sleep 300")
    start(target, target.token)
    until((target.store.folder(target.token) / "log").exists)
    target.store.folder(target.token).rename(tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    report = target.settle(target.token)
    assert (
        report.verdict is Verdict.UNKNOWN
        and "its folder was deleted, but processes run" in report.error
    )
    assert not report.has_ended and not report.dead
    processes.kill_all(lambda: alive(target.token), 5.0)
    assert target.settle(target.token).started is False


def test_another_machine_knows_nothing(tmp_path: Path) -> None:
    here, there = (
        local(tmp_path / "a", "exit 0", directory=tmp_path),
        local(tmp_path / "b", "exit 0"),
    )
    run(here)
    report = there.verdict(here.token, None)
    assert report.verdict is Verdict.UNKNOWN and not report.has_ended
    assert here.site != there.site and here.site == local(tmp_path / "a", "").site


# -- stop --------------------


def test_stop_ends_the_whole_run_and_says_who(tmp_path: Path) -> None:
    target = local(tmp_path, f"trap '' TERM; ({SETSID} sleep 300 &); while :; do sleep 1; done")
    start(target, target.token)
    report = target.stop(target.token, "ada", "a bad idea")
    assert (report.status_text, report.error, report.dead) == (
        "stopped",
        "by ada: a bad idea",
        True,
    )
    assert not alive(target.token)
    assert target.stop(target.token, "bob", "again") == report, "it ended already"


def test_stop_ends_a_runner_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dolt_watch.targets.local.store.MARGIN_SECONDS", 0.2)
    target = local(tmp_path, "sleep 300")
    start(target, target.token)
    started = run_files.read(target.store.folder(target.token) / run_files.STARTED)
    assert started
    os.kill(started["runner"]["pid"], signal.SIGSTOP)
    report = target.stop(target.token, "ada", "it hangs")
    assert report.dead and report.verdict is Verdict.LOST
    assert not alive(target.token)


def test_stop_of_no_run_is_unknown(tmp_path: Path) -> None:
    target = local(tmp_path, "")
    assert target.stop("token-9", "me", "x").verdict is Verdict.UNKNOWN
    assert target.stop("../../etc", "me", "x").verdict is Verdict.UNKNOWN


def test_new_output_is_told_only_if_asked(tmp_path: Path) -> None:
    silent = local(tmp_path, "echo hi; sleep 300")
    start(silent, silent.token)
    until(lambda: output(silent))
    assert silent.verdict(silent.token, None) == JobReport(Verdict.RUNNING, "running")
    telling = local(tmp_path, "", output_is_life=True)
    written = (silent.store.folder(silent.token) / "log").stat().st_mtime
    active = telling.verdict(silent.token, None).active_at
    assert active is not None and active.timestamp() == pytest.approx(written)
    silent.stop(silent.token, "me", "enough")
