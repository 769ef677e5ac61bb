"""bd commands during dispatches.

The commands succeed, and the time between an answer and its entry is short.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from dolt_watch.engines.dolt.connection import DoltConnection
from dolt_watch.engines.dolt.engine import DoltTransaction
from tests.acceptance.conftest import Watch, rows_of
from tests.acceptance.conftest import watch as _watch
from tests.faults import racing
from tests.faults.racing import AT_ONCE, changes_of_issues, racers
from tests.support.beads import Workspace, standin
from tests.support.matrix import few_or_many

watch, tally = _watch, racing.tally


def other_beads(bd: Workspace, beads: list[str], number: int) -> list[list[str]]:
    """Return the commands of one user, on beads without an attempt."""
    bead = beads[number % len(beads)]
    return [
        ["update", bead, "--priority", str(number % 4)],
        ["note", bead, f"note {number}"],
        ["comment", bead, f"comment {number}"],
        ["create", f"more {number}", "--silent"],
        ["close", beads[number]],
    ]


def beside(watch: Watch, tally: list[str], beads: int, rounds: int) -> None:
    """Run at least ``rounds`` rounds of bd commands, until the worker has dispatched a bead."""
    theirs = [watch.bd.create(f"theirs {number}") for number in range(rounds)]
    ours = [f"bd-x{number:03}" for number in range(beads)]
    watch.committed(rows_of(ours))
    failed: list[str] = []
    commands = 0
    with racers(1, watch.bd.url, watch.board.url, *AT_ONCE) as [worker]:
        worker.go()
        for number in range(100):
            if number >= rounds and watch.sent():
                break
            if number >= rounds:
                theirs.append(watch.bd.create(f"theirs {number}"))
            for command in other_beads(watch.bd, theirs, number):
                done = watch.bd.attempt(*command)
                commands += 1
                if done.returncode:
                    failed.append(f"bd {' '.join(command)}: {done.stderr or done.stdout}")
        in_time = len(watch.sent())
        answer = worker.done()
    assert (answer.code, answer.error, failed) == (0, "", [])
    assert Counter(watch.sent()) == Counter(ours)
    assert in_time > 0
    for number, bead in enumerate(theirs):
        assert watch.sql("SELECT status, notes FROM issues WHERE id = %s", bead) == [
            ("closed", f"note {number}")
        ]
    tally.append(
        f"bd     {commands} bd commands on other beads beside {in_time} of {beads} dispatches: none"
        f" failed, {answer.conflicts} conflicts of dolt_watch"
    )


@pytest.mark.parametrize("beads", few_or_many(8, 16))
def test_bd_on_other_beads_never_fails_because_of_us(
    watch: Watch, tally: list[str], beads: int
) -> None:
    beside(watch, tally, beads=beads, rounds=2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_bd_on_other_beads_many_times(watch: Watch, tally: list[str]) -> None:
    beside(watch, tally, beads=300, rounds=40)


# -- on the same bead --------------------

COMMANDS: tuple[Callable[[str, str], list[str]], ...] = (
    lambda bead, word: ["note", bead, word],
    lambda bead, word: ["update", bead, "--priority", str(len(word) % 4)],
    lambda bead, word: ["comment", bead, word],
)


def same_bead(watch: Watch, tally: list[str], rounds: int) -> tuple[Counter[str], Counter[str]]:
    """Run one bd command during a claim and its outcome, and two bd commands at once.

    Return the results of bd's commands.
    """
    chance = random.Random(7)
    against_us, against_bd = Counter[str](), Counter[str]()
    with (
        racers(1, watch.bd.url, watch.board.url, *AT_ONCE) as [worker],
        ThreadPoolExecutor(2) as people,
    ):
        for number in range(rounds):
            command = COMMANDS[number % len(COMMANDS)]
            watch.committed(rows_of([f"bd-o{number}"]))
            person = people.submit(watch.bd.attempt, *command(f"bd-o{number}", f"word {number}"))
            # Spread the race over the time that bd needs to reach its write.
            time.sleep(chance.uniform(0, 0.12))
            worker.go()
            answer = worker.done()
            assert (answer.code, answer.error, answer.dispatched) == (0, "", 1)
            against_us[said(person.result())] += 1

            watch.committed(rows_of([f"bd-p{number}"], "NULL"))
            first = people.submit(watch.bd.attempt, *command(f"bd-p{number}", f"first {number}"))
            time.sleep(chance.uniform(0, 0.04))
            second = people.submit(watch.bd.attempt, *command(f"bd-p{number}", f"seconds {number}"))
            against_bd.update([said(first.result()), said(second.result())])
            # Commit rows that bd left uncommitted now, and not in the next race.
            worker.go()
            worker.done()
    ours = [f"bd-o{number}" for number in range(rounds)]
    assert Counter(watch.sent()) == Counter(ours)
    for bead in ours:
        assert [kind for kind in watch.kinds(bead) if kind != "note"] == ["claim", "dispatched"]
    tally.append(
        f"bd     same bead, {rounds} rounds: against dolt_watch {dict(against_us)}, against bd"
        f" {dict(against_bd)} (two a round)"
    )
    return against_us, against_bd


def said(done: Any) -> str:
    if done.returncode == 0:
        return "ok"
    assert "1213" in done.stderr + done.stdout, done.stderr + done.stdout
    return "1213"


@pytest.mark.parametrize("times", few_or_many(1, 2))
def test_bd_on_the_same_bead(watch: Watch, tally: list[str], times: int) -> None:
    same_bead(watch, tally, times * len(COMMANDS))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_bd_on_the_same_bead_fails_no_more_often_than_against_bd(
    watch: Watch, tally: list[str]
) -> None:
    us, bd = same_bead(watch, tally, 90)
    assert us["1213"] / us.total() <= bd["1213"] / bd.total()


# -- between the answer and its record --------------------


BD_STARTS = 0.15
"""Seconds that a real bd needs from its start to its write. The stand-in needs a fifth of that,
because it is a fork.
"""


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def recorded(watch: Watch, tally: list[str], monkeypatch: pytest.MonkeyPatch, beads: int) -> None:
    """Record the statements between the target's answer and the transaction of the report.

    The agent's first act is a note.
    """
    wire: list[tuple[float, str]] = []
    answers: list[float] = []
    send = DoltConnection.send

    def heard(link: DoltConnection, sql: str, *more: Any, **named: Any) -> Any:
        wire.append((time.monotonic(), sql))
        return send(link, sql, *more, **named)

    def note(bead: str, text: str) -> Any:
        if standin():
            time.sleep(BD_STARTS)
        return watch.bd.attempt("note", bead, text)

    def agent(bead: str, job: str) -> None:
        notes.append(people.submit(note, bead, f"claimed by agent {job}"))
        answers.append(time.monotonic())

    monkeypatch.setattr(DoltConnection, "send", heard)
    watch.board.on_accept = agent
    watch.change(rules=tuple(replace(rule, max_in_flight=beads) for rule in watch.settings.rules))
    spans, failed = [], 0
    with ThreadPoolExecutor(1) as people:
        for number in range(beads):
            notes: list[Future[Any]] = []
            since = watch.committed(rows_of([f"bd-t{number}"]))
            assert watch.dispatch()[0].dispatched == 1
            failed += said(notes[0].result()) != "ok"
            began, first = next((at, sql) for at, sql in wire if at > answers[-1])
            assert first == "START TRANSACTION"
            spans.append((began - answers[-1]) * 1000)
            texts = [text for (text,) in changes_of_issues(watch.engine, since, "to_notes")]
            ours = next(place for place, text in enumerate(texts) if "dispatched: job=" in text)
            theirs = next(
                (place for place, text in enumerate(texts) if "claimed by agent" in text),
                len(texts),
            )
            assert ours < theirs
    p50, p95 = (sorted(spans)[min(beads - 1, int(share * beads))] for share in (0.5, 0.95))
    tally.append(
        f"report {beads} answers: its transaction begins {p50:.1f} ms (p50), {p95:.1f} ms (p95)"
        f" after the answer; the agent's own note at once: {failed} failed"
    )


def test_the_report_begins_right_after_the_answer(
    watch: Watch, tally: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(watch, tally, monkeypatch, 6)


@pytest.mark.slow
def test_the_report_begins_right_after_each_of_many(
    watch: Watch, tally: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(watch, tally, monkeypatch, 60)


ANSWERS: dict[str, tuple[int | str, Any]] = {
    "dispatched": (200, {"job_id": "0123456789ab"}),
    "failed": (500, ""),
    "unknown": ("break-after-accept", ""),
    "busy": (409, {"error": "Agent is busy"}),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_at_most_two_transactions_touch_the_bead(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    bead = watch.assigned("counted")
    watch.board.answer_next(*ANSWERS[answer])
    writes: list[str] = []
    write = DoltTransaction.write

    def counted(transaction: DoltTransaction, sql: str, *more: Any, **named: Any) -> None:
        if re.search(r"(?i)^\s*(UPDATE|INSERT INTO|REPLACE INTO|DELETE FROM)\s+`?issues\b", sql):
            writes.append(sql)
        write(transaction, sql, *more, **named)

    monkeypatch.setattr(DoltTransaction, "write", counted)
    watch.dispatch()
    assert watch.kinds(bead) == ["claim", answer]
    assert len(writes) == 2
