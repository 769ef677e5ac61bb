"""A recorded history for tests: the real loop over beads' real tables.

The test's clock dates the commits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dolt_watch.cli.composition import identity, ledger
from dolt_watch.config import Settings, load, settings_hash
from dolt_watch.core.decisions.policy import Policy, Scope
from dolt_watch.core.model import GLOBAL, Capacity, Decision, EntryKind, JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer
from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress, ServerAddress
from dolt_watch.engines.dolt.engine import DoltEngine
from dolt_watch.engines.doltlite.engine import DoltLiteEngine
from dolt_watch.replay.replayer import HistoryReplayer
from dolt_watch.replay.simulation.what_if import WhatIfRequest, WhatIfResult, run_what_if
from dolt_watch.targets.protocol import BeadTask, Target
from tests.support.beads import create_tracker
from tests.support.lines import build

DAY = datetime(2026, 4, 18, tzinfo=UTC)
PEOPLE = "planner <planner@x>"


def clock(text: str) -> datetime:
    """Return the time of '10:02' or '10:02:30' on the day of the history."""
    hours, minutes, *seconds = (int(part) for part in text.split(":"))
    return DAY + timedelta(hours=hours, minutes=minutes, seconds=seconds[0] if seconds else 0)


Deeds = dict[str, Any]
"""Actions of users and agents: 'HH:MM:SS' → a function of the history."""


class Now:
    """A clock with a fixed time. Sleeping advances it."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self, database: datetime) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)

    @property
    def date(self) -> str:
        return self.moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Scripted:
    """A target with an answer for each bead from the test. By default, it accepts."""

    name, timeout = "beadboard", 30.0

    def __init__(self) -> None:
        self.says: dict[str, list[Answer]] = {}
        self.verdicts: dict[str, JobReport] = {}
        self.free = Capacity(None)

    def capacity(self) -> Capacity:
        return self.free

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        answers = self.says.get(task.bead)
        return answers.pop(0) if answers else Accepted(f"job-{task.bead}")

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        return self.verdicts.get(job, JobReport(Verdict.UNKNOWN))

    def close(self) -> None:
        return None


def dated(address: ServerAddress | FileAddress, now: Now) -> Engine:
    """Return an engine whose commits have the clock's date."""
    if isinstance(address, FileAddress):

        class Dated(DoltLiteEngine):
            def execute_sqlite(self, sql: str, params: Sequence[Any] = ()) -> Any:
                if sql.startswith("SELECT dolt_commit("):
                    sql, params = f"{sql[:-1]}, '--date', ?)", (*params, now.date)
                return super().execute_sqlite(sql, params)

        return Dated(address.path, create=True)
    engine = DoltEngine(address)
    send = engine._link.send

    def sent(sql: str, params: Sequence[Any] = (), **more: Any) -> Any:
        if sql.startswith("CALL DOLT_COMMIT("):
            sql, params = f"{sql[:-1]}, '--date', ?)", (*params, now.date)
        return send(sql, params, **more)

    engine._link.send = sent  # type: ignore[method-assign]
    return engine


class History:
    """A history that a test creates step by step.

    ``at`` sets the clock, users and agents act, and ``ticks`` runs the real loop.
    """

    def __init__(
        self, address: ServerAddress | FileAddress, begins: str = "9:00", **settings: str
    ) -> None:
        self.address, self.clock = address, Now(clock(begins))
        self.settings = self.set_to(**settings)
        self.engine = dated(address, self.clock)
        author = identity(self.settings).author
        create_tracker(self.engine, author, dated=self.clock.date)
        self.target = Scripted()
        self.lines: list[str] = []
        self._events = 0

    def set_to(self, **settings: str) -> Settings:
        """Return settings like those of --set. A key is 'settle' or a key of 'rules.agent'."""
        url = self.address.url
        pairs = [
            f"{'' if key == 'settle' else 'rules.agent.'}{key}={value}"
            for key, value in settings.items()
        ]
        return load({"database": url, "set": ("settle=2s", *pairs)}, {}, None)

    # -- users and agents --------------------

    def at(self, text: str) -> History:
        self.clock.moment = clock(text)
        return self

    def write(self, *statements: tuple[str, tuple[Any, ...]], by: str = PEOPLE) -> str:
        with self.engine.transaction() as tx:
            for sql, params in statements:
                tx.execute(sql, params)
            return tx.dolt_commit(
                ["issues", "comments", "dependencies", "watch_decision"], "by hand", by
            )

    def new(self, *beads: str, **cells: Any) -> None:
        """Create beads that match the default rule."""
        row = {
            "title": "t",
            "description": "",
            "design": "",
            "acceptance_criteria": "it works",
            "notes": "",
            "assignee": "agent",
            "priority": 2,
        }
        row |= {"created_at": self.clock.moment, "updated_at": self.clock.moment, **cells}
        for bead in beads:
            marks = ", ".join("?" * (len(row) + 1))
            self.write(
                (
                    f"INSERT INTO issues (id, {', '.join(row)}) VALUES ({marks})",
                    (bead, *row.values()),
                )
            )

    def set(self, bead: str, **cells: Any) -> None:
        cells |= {"updated_at": self.clock.moment}
        sets = ", ".join(f"{name} = ?" for name in cells)
        self.write((f"UPDATE issues SET {sets} WHERE id = ?", (*cells.values(), bead)))

    def comment(self, bead: str) -> None:
        self._events += 1
        self.write(
            (
                (
                    "INSERT INTO comments (id, issue_id, author, text, created_at) VALUES (?, ?,"
                    " 'agent', 'on it', ?)"
                ),
                (f"c{self._events}", bead, self.clock.moment),
            )
        )

    def pause(self, reason: str) -> None:
        self._say(Decision(EntryKind.PAUSE, GLOBAL, "", 0, "", reason=reason))

    def resume(self) -> None:
        self._say(Decision(EntryKind.RESUME, GLOBAL, "", 0, ""))

    def _say(self, decision: Decision) -> None:
        ledger(self.engine, self.settings, self.clock).record(decision)

    def tick(self, **settings: str) -> None:
        chosen = self.set_to(**settings) if settings else self.settings
        target: Target = self.target
        loop = build(self.engine, chosen, lambda name: target, self.clock, self.lines.append)
        loop.tick(Scope(dispatch=True, reap=True))

    def play(
        self,
        ends: str,
        agents: Mapping[str, Callable[[History], None]],
        every: timedelta = timedelta(minutes=2),
    ) -> None:
        """Tick from now until ``ends``.

        An action at the time of a tick happens before it. The last commit has no meaning, but it
        extends the history to its end.

        Args:
            agents: 'HH:MM:SS' → the action at that time.
        """
        deeds = sorted(
            (clock(when), number, deed) for number, (when, deed) in enumerate(agents.items())
        )
        tick = self.clock.moment
        while tick <= clock(ends):
            while deeds and deeds[0][0] <= tick:
                self.clock.moment = deeds[0][0]
                deeds.pop(0)[2](self)
            self.clock.moment = tick
            self.tick()
            tick += every
        for when, _, deed in deeds:
            self.clock.moment = when
            deed(self)
        self.at(ends).new("the-end", assignee="")

    # -- replay with other settings --------------------

    def head(self) -> str:
        return str(self.engine.query("SELECT HASHOF('HEAD')")[0][0])

    def past(self) -> HistoryReplayer:
        """Return the whole history under the recorded settings."""
        policy = Policy(
            self.settings.rules, self.settings.settle, settings_hash=settings_hash(self.settings)
        )
        return HistoryReplayer(self.engine, policy, self.head())

    def what_if(
        self,
        every: timedelta = timedelta(minutes=2),
        run_time: timedelta | None = None,
        begins: str | None = None,
        when: str = "",
        **settings: str,
    ) -> WhatIfResult:
        """Replay under the given settings and defaults, or without any under the recorded ones."""
        chosen = self.set_to(**settings) if settings else self.settings
        if when:
            chosen = replace(chosen, rules=(replace(chosen.rules[0], when=when),))
        policy = Policy(chosen.rules, chosen.settle, settings_hash=settings_hash(chosen))
        past = HistoryReplayer(self.engine, policy, self.head())
        first, last = begins or past.first_replayable_commit(), self.engine.commit_of(past.until)
        assert first is not None and last is not None
        commit = self.engine.commit_of(first)
        assert commit is not None
        return run_what_if(past, WhatIfRequest(policy, every, commit, last, run_time))
