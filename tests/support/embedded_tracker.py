"""A tracker and a watcher in one process, on DoltLite, with the real engine, loop and ledger.

The target is an object with scripted answers.
"""

from __future__ import annotations

from collections import deque
from copy import copy, deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from dolt_watch.config import Settings, settings_hash
from dolt_watch.config.model import Notify
from dolt_watch.controller.tick_result import TickResult
from dolt_watch.core.decisions.policy import Policy, Scope
from dolt_watch.core.model import Capacity, JobReport, Verdict
from dolt_watch.core.model.rule import Rule
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress
from dolt_watch.replay.replayer import HistoryReplayer
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.settings import BeadBoardSettings
from tests.support.beads import create_tracker
from tests.support.clocks import ShiftedClock
from tests.support.lines import build
from tests.support.templates import fill

AUTHOR = "dolt-watch <dolt-watch@test>"


class Answering:
    """A target that accepts each bead unless ``answers`` contains another answer."""

    name, timeout = "beadboard", 30.0

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.free = Capacity(1)
        self.sent: list[str] = []
        self.tokens: list[str] = []

    def capacity(self) -> Capacity:
        return self.free

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        self.sent.append(task.bead)
        self.tokens.append(token)
        return self.answers.popleft() if self.answers else Accepted(f"job{len(self.sent)}")

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        return JobReport(Verdict.UNKNOWN)

    def close(self) -> None: ...


_DAYS: dict[str, Light] = {}


def gone_wrong(engine: Engine, **rule: Any) -> Light:
    """Fill an empty database with a tracker after ``goes_wrong``, and return that tracker.

    Each process creates it once, and then copies it. Its commits can be as old as the process.
    It suits only tests that don't compare them with the current time.
    """
    name = f"gone wrong {engine.name} {sorted(rule.items())}"

    def make() -> None:
        _DAYS[name] = Light(engine, **rule)
        _DAYS[name].goes_wrong()

    fill(engine, name, make)
    mine = copy(_DAYS[name])
    mine.engine, mine.target = engine, deepcopy(mine.target)
    mine.lines, mine.receivers = list(mine.lines), dict(mine.receivers)
    return mine


class Light:
    """A tracker with a loop. ``tick`` runs at the database's time plus ``at``."""

    def __init__(self, engine: Engine, path: str = "", shape: str = "1.0.2", **rule: Any) -> None:
        """Create the tracker.

        Args:
            shape: Shape of beads' tables, named by the release of bd that creates them.
        """
        create_tracker(engine, AUTHOR, shape)
        self.engine, self.target = engine, Answering()
        self.settings = Settings(
            FileAddress(path),
            rules=(Rule("agent", **rule),),
            targets={"beadboard": BeadBoardSettings("beadboard")},
        )
        self.lines: list[str] = []
        self.receivers: dict[str, Any] = {}

    def listen(self, receiver: Any) -> None:
        """Send notices of failed decisions to the receiver."""
        self.receivers["ops"] = receiver
        self.settings = replace(self.settings, notify=Notify("ops"))

    def change(self, **rule: Any) -> None:
        self.settings = replace(self.settings, rules=(replace(self.settings.rules[0], **rule),))

    def tick(
        self, at: timedelta = timedelta(minutes=1), *, dispatch: bool = True, reap: bool = True
    ) -> TickResult:
        loop = build(
            self.engine,
            self.settings,
            lambda name: self.receivers.get(name, self.target),
            ShiftedClock(at),
            self.lines.append,
        )
        return loop.tick(Scope(dispatch=dispatch, reap=reap))

    def sql(self, *texts: str, author: str = "ann <ann@test>") -> str:
        """Run statements as another writer, and commit them. Return the commit hash."""
        with self.engine.transaction() as tx:
            for text in texts:
                tx.execute(text)
            tables = [
                "issues",
                "events",
                "comments",
                "labels",
                "dependencies",
                "watch_decision",
                "watch_settings",
            ]
            return tx.dolt_commit(tables, "by hand", author)

    def assign(self, *beads: str, priority: int = 2) -> str:
        rows = ", ".join(
            f"('{bead}', 't', '', '', 'must', '', 'agent', {priority})" for bead in beads
        )
        columns = "id, title, description, design, acceptance_criteria, notes, assignee, priority"
        return self.sql(f"INSERT INTO issues ({columns}) VALUES {rows}")

    def goes_wrong(self) -> None:
        """Run a day with three beads, two at a time.

        One succeeds. One fails, gets a busy answer, and is reaped. One stays silent.
        """
        self.target.free = Capacity(2)
        self.assign("bd-b", priority=1)
        self.assign("bd-a", "bd-c")
        self.target.answers.extend([Refused("HTTP 500: boom", 500), Unknown("no answer")])
        self.tick()
        self.sql("UPDATE issues SET status = 'closed' WHERE id = 'bd-c'")
        self.target.answers.append(Busy("HTTP 409: {}", 409))
        self.tick(timedelta(minutes=9))
        self.tick(timedelta(minutes=30))
        self.tick(timedelta(hours=2))

    def head(self) -> str:
        return str(self.engine.query("SELECT HASHOF('HEAD')")[0][0])

    def row(self, bead: str, *columns: str) -> tuple[Any, ...]:
        return self.engine.query(f"SELECT {', '.join(columns)} FROM issues WHERE id = ?", (bead,))[
            0
        ]

    def kinds(self, bead: str) -> list[str]:
        rows = self.engine.query(
            "SELECT kind FROM watch_decision WHERE bead_id = ? ORDER BY version", (bead,)
        )
        return [row[0] for row in rows]

    def past(self, until: str | None = None) -> HistoryReplayer:
        hash = settings_hash(self.settings)
        policy = Policy(self.settings.rules, self.settings.settle, settings_hash=hash)
        return HistoryReplayer(self.engine, policy, until or self.head())
