"""Local runs while dispatchers, runners and agents are killed at each of their effects.

No token runs twice, each gets a verdict, and no process survives its token.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import uuid
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.core.model import JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused
from dolt_watch.targets.local import launching, run_files
from dolt_watch.testing.target_conformance import make_task
from tests.unit.targets.local.agents import SETSID, alive, ended, local, run, start, until

AGENT = 'echo "$DOLT_WATCH_TOKEN" >> ran; sleep 0.05; exit 1'
EFFECTS = ("open", "os.", "fcntl.", "subprocess.", "tempfile.", "shutil.")
"""Audit events of the interpreter: opened files, locks, renames, new processes."""
KILLED_RUNNER = """
import os, runpy, signal, sys
count, at = 0, {at}
def hook(event, arguments):
    global count
    if not event.startswith({effects}) or os.getpid() == first:
        return
    if arguments and str(arguments[0]).startswith("/proc"):
        return  # it polls: no effect, and no end
    count += 1
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)
first = os.getpid()
sys.argv[0] = {runner!r}
sys.addaudithook(hook)
runpy.run_path({runner!r}, run_name="__main__")
"""


def dispatch(folder: Path, token: str, at: int = 0, slots: int = 9) -> int:
    """Dispatch in a process that is killed at its Nth effect.

    Return the number of its effects, 0 if it was killed. With 0 as ``at``, the process isn't
    killed.
    """
    target = local(folder, AGENT, slots=slots)
    if (folder / "runner.py").exists():
        target.runner = folder / "runner.py"
    target._prompt.render(make_task(), "warm")  # Imports aren't effects.
    count = 0

    def kill_at(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event.startswith(EFFECTS):
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            sys.addaudithook(kill_at)
            target.dispatch(make_task(), token)
            os.write(tell, str(count).encode())
        finally:
            os._exit(0)
    os.close(tell)
    with os.fdopen(hear, "rb") as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return int(said or b"0")


def ran(folder: Path) -> Counter[str]:
    """Return the number of runs of each token."""
    file = folder / "ran"
    return Counter(file.read_text("utf-8").split()) if file.exists() else Counter()


def check(folder: Path, token: str) -> JobReport:
    """Settle a token, and check the promises about it."""
    target = local(folder, AGENT, slots=9)

    def over() -> JobReport | None:
        found = target.settle(token)
        return found if found.verdict is not Verdict.RUNNING else None

    report: JobReport = until(over)
    assert report.verdict is not Verdict.UNKNOWN and report.dead, report
    until(lambda: not alive(token))
    times = ran(folder)[token]
    assert times <= 1, "it ran twice"
    if not report.started:
        assert times == 0, "it ran, and its verdict is that it never started"
        assert isinstance(target.dispatch(make_task(), token), Refused), "nor will it ever"
        assert ran(folder)[token] == 0
    if report.status_text == "failed":
        assert times == 1
    return report


def sweep_dispatcher(folder: Path, step: int) -> set[str]:
    """Kill a dispatcher at each ``step``-th effect until one survives, and once at its last.

    Each run has ended before the next dispatch, which reads living runs, and so has more effects
    beside one.
    """
    words: set[str] = set()

    def kill(at: int) -> int:
        token = uuid.uuid4().hex
        effects = dispatch(folder, token, at)
        words.add(check(folder, token).status_text)
        return effects

    at = 1
    while not (effects := kill(at)):
        at += step
    assert effects > 15
    assert kill(effects) == 0
    target = local(folder, AGENT, slots=9)
    assert target.capacity().slots is not None
    assert len(target.store.live_tokens("me")) == 0
    return words


def sweep_runner(folder: Path, step: int, most: int = 400) -> set[str]:
    words: set[str] = set()
    for at in range(1, most, step):
        text = KILLED_RUNNER.format(
            at=at,
            effects=("open", "os.", "fcntl.", "subprocess.", "import"),
            runner=str(launching.RUNNER),
        )
        (folder / "runner.py").write_text(text, "utf-8")
        token = uuid.uuid4().hex
        dispatch(folder, token)
        report = check(folder, token)
        words.add(report.status_text)
        if report.status_text == "failed":  # It ended by itself.
            return words
    return words


def test_a_dispatcher_killed_at_some_effects(tmp_path: Path) -> None:
    assert sweep_dispatcher(tmp_path, 8) >= {"not started", "failed"}


def test_a_runner_killed_at_some_effects(tmp_path: Path) -> None:
    assert sweep_runner(tmp_path, 8) >= {"not started", "lost", "failed"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_dispatcher_killed_at_each_effect(tmp_path: Path) -> None:
    assert sweep_dispatcher(tmp_path, 1) >= {"not started", "failed"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_runner_killed_at_each_effect(tmp_path: Path) -> None:
    assert sweep_runner(tmp_path, 1) >= {"not started", "lost", "failed"}


def test_an_agent_that_is_killed(tmp_path: Path) -> None:
    target = local(tmp_path, f"({SETSID} sleep 300 &); exec sleep 300")
    start(target, target.token)
    agent = until(lambda: run_files.read(target.store.folder(target.token) / run_files.AGENT))
    os.kill(agent["pid"], signal.SIGKILL)
    assert ended(target, target.token).error == "killed by signal 9 (SIGKILL)"
    assert not alive(target.token)


def race(folder: Path, slots: int, tokens: list[str]) -> list[Answer]:
    """Dispatch all tokens at once, each in a separate worker."""
    barrier, answers = threading.Barrier(len(tokens)), []

    def worker(token: str) -> None:
        target = local(folder, "sleep 300", slots=slots)
        barrier.wait()
        answers.append(target.dispatch(make_task(), token))

    threads = [threading.Thread(target=worker, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_workers_that_race_for_the_last_slot(tmp_path: Path) -> None:
    tokens = [uuid.uuid4().hex for _ in range(6)]
    answers = race(tmp_path, 2, tokens)
    kinds = Counter(type(answer) for answer in answers)
    assert kinds == {Accepted: 2, Busy: 4}
    target = local(tmp_path, "", slots=2)
    assert target.capacity().slots == 0
    for token in tokens:
        target.stop(token, "me", "enough")
    assert target.capacity().slots == 2


def test_workers_that_race_with_one_token(tmp_path: Path) -> None:
    token = uuid.uuid4().hex
    answers = race(tmp_path, 9, [token] * 4)
    assert all(
        answer == Accepted(token, None) for answer in answers if isinstance(answer, Accepted)
    )
    target = local(tmp_path, "", slots=9)
    assert len(target.store.live_tokens("me")) == 1
    target.stop(token, "me", "enough")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_200_beads_over_8_slots_and_two_workers_with_kills(tmp_path: Path) -> None:
    """Two workers run at once, and some runners and agents are killed."""
    beads = [uuid.uuid4().hex for _ in range(200)]
    waiting, lock, most = list(beads), threading.Lock(), [0]
    chance = random.Random(7)

    def worker() -> None:
        target = local(tmp_path, AGENT, slots=8)
        while True:
            with lock:
                if not waiting:
                    return
                token = waiting.pop()
            while isinstance(target.dispatch(make_task(token), token), Busy):
                threading.Event().wait(0.05)
            most[0] = max(most[0], len(target.store.live_tokens("me")))
            if chance.random() < 0.2:
                folder = target.store.folder(token)
                name = chance.choice((run_files.STARTED, run_files.AGENT))
                found = run_files.read(folder / name) or {}
                pid = found.get("runner", found).get("pid")
                if pid:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue

    workers = [threading.Thread(target=worker) for _ in range(2)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    words = Counter(check(tmp_path, token).status_text for token in beads)
    assert sum(words.values()) == 200 and set(words) <= {"failed", "killed", "lost"}
    assert most[0] <= 8
    assert ran(tmp_path).most_common(1)[0][1] == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_gigabyte_of_output(tmp_path: Path) -> None:
    target = local(tmp_path, "yes | head -c 1000000000; exit 1", run_timeout=timedelta(minutes=4))
    start(target, target.token)
    folder = target.store.folder(target.token)

    def over() -> bool:
        return target.verdict(target.token, None).verdict is not Verdict.RUNNING

    while not over():
        assert (
            sum(
                (folder / name).stat().st_size
                for name in ("log", "log.1")
                if (folder / name).exists()
            )
            <= 10**7
        )
        threading.Event().wait(0.2)
    end = run_files.read(folder / run_files.END)
    assert end and end["output_bytes"] == 10**9


def test_a_run_after_a_crash_of_all_is_counted_right(tmp_path: Path) -> None:
    """A crash can leave a marker without a folder, and a folder without a name."""
    target = local(tmp_path, "exit 0", slots=1)
    target.store.prepare()
    (target.store.active / uuid.uuid4().hex).write_text('{"target": "me"}', "utf-8")
    (target.store.runs / ".new-abc").mkdir()
    assert target.capacity().slots == 1
    assert run(target).status_text == "completed"
