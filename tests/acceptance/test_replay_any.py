"""Random histories, replayed under their own settings, with the same decisions.

Each replay starts at the beginning of the history and in its middle.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from datetime import datetime

import pytest

from dolt_watch.core.model import EntryKind
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.engines.address import FileAddress
from dolt_watch.replay.simulation.attempt_log import AttemptLog
from tests.support.history import Deeds, History, clock

SETTINGS = (
    {},
    {"max_in_flight": "2"},
    {"on_stale": "requeue", "stale_after": "10m", "max_attempts": "2"},
    {"stale_after": "12m", "retry_after": "0s"},
)
DEEDS = (
    "close",
    "close",
    "comment",
    "comment",
    "open",
    "priority",
    "unassign",
    "assign",
    "start",
    "design",
)
BEADS = [f"b{number}" for number in range(8)]


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, pytest.param(3, marks=pytest.mark.matrix)])
def test_any_history(doltlite_path: FileAddress, seed: int) -> None:
    same_again(doltlite_path, seed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(100, 140))
def test_many_histories(doltlite_path: FileAddress, seed: int) -> None:
    same_again(doltlite_path, seed)


def same_again(path: FileAddress, seed: int) -> None:
    chance = random.Random(seed)
    history = History(path, **SETTINGS[seed % len(SETTINGS)])
    with contextlib.closing(history.engine):
        history.target.says = {bead: [answer(chance, bead) for _ in range(4)] for bead in BEADS}
        history.at("10:00").play("13:10", deeds(chance))
        commits = history.engine.commits(None, history.head())
        middle = [
            commit.hash for commit in commits if clock("10:20") <= commit.date < clock("11:40")
        ]
        for begins in (None, chance.choice(middle)):
            study = history.what_if(begins=begins)
            assert len(told(study.recorded)) > 3
            assert told(study.recorded) == told(study.simulated), f"seed {seed} from {begins}"
            assert [pair.difference for pair in study.pairs if pair.difference] == []


def told(journal: AttemptLog) -> list[tuple[datetime, str, EntryKind, int]]:
    """Return the records without notes of dolt_watch, because a simulation writes none."""
    found = (
        (one.at.replace(microsecond=0), one.bead, one.kind, one.attempt) for one in journal.records
    )
    return sorted(one for one in found if one[2] is not EntryKind.NOTE)


def answer(chance: random.Random, bead: str) -> Answer:
    choices: list[Answer] = [
        *[Accepted(f"job-{bead}")] * 3,
        Refused("HTTP 500: x", 500),
        Busy("busy", 409, chance.choice([None, 60, 200])),
        Unknown("time-out"),
        Refused("HTTP 400: no", 400, permanent=True),
    ]
    return chance.choice(choices)


def deeds(chance: random.Random) -> Deeds:
    """Return random changes for a history.

    No change happens within two seconds after a tick. That tick would wait for the change to settle
    and miss the changes in between.
    """
    found: Deeds = {}

    def put(second: int, bead: str, what: str) -> None:
        while (
            when := f"{10 + second // 3600}:{second // 60 % 60:02}:{second % 60:02}"
        ) in found or second % 120 < 3:
            second += 1
        found[when] = deed(chance, bead, what)

    for bead in BEADS:
        begins = chance.randint(0, 3600)
        put(begins, bead, "new")
        for _ in range(chance.randint(2, 8)):
            put(chance.randint(begins, 3 * 3600), bead, chance.choice(DEEDS))
    return found


def deed(chance: random.Random, bead: str, what: str) -> Callable[[History], None]:
    value = chance.randint(0, 4)

    def act(history: History) -> None:
        rows = history.engine.query("SELECT status, assignee FROM issues WHERE id = ?", (bead,))
        if not rows:
            history.new(bead, priority=value)
        elif what == "comment":
            history.comment(bead)
        else:
            status, assignee = rows[0]
            cells = {
                "close": {"status": "closed"},
                "open": {"status": "open"},
                "priority": {"priority": value},
                "unassign": {"assignee": ""},
                "assign": {"assignee": "agent"},
                "design": {"design": str(value)},
                "start": {"status": "in_progress"} if status == "open" else {},
            }.get(what, {})
            if cells and not cells.items() <= {"status": status, "assignee": assignee}.items():
                history.set(bead, **cells)

    return act
