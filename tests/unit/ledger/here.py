"""A ledger on a tracker with one bead, and decisions for the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from dolt_watch.beads.feed_query import FeedQuery
from dolt_watch.beads.schema import tracker_schema
from dolt_watch.checkpoint.poll import PollResult
from dolt_watch.checkpoint.turns import Turns
from dolt_watch.clock import FixedClock
from dolt_watch.core.model import GLOBAL, Decision, EntryKind, Rule, State
from dolt_watch.core.rules.compiled_rule import compile_for
from dolt_watch.engines.address import FileAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import Conflict
from dolt_watch.ledger.codec import ENTRY_COLUMNS
from dolt_watch.ledger.decision_context import DecisionContext
from dolt_watch.ledger.writer import LedgerWriter, WriterIdentity, Written
from tests.support.servers import message

NOW = datetime(2026, 4, 18, 22, 35, 46, 123456, tzinfo=UTC)
RULE = Rule("agent", when="assignee = 'agent' AND status = 'open' AND owner <> 'nobody'")
NOTE = "auto-dispatcher claimed at 2026-04-18T22:35:46Z"
CLAIM = Decision(
    EntryKind.CLAIM,
    "bd-1",
    "agent",
    1,
    "c0",
    token="t",
    note=NOTE,
    status="in_progress",
    detail={"deadline": "2026-04-18T22:37:00+00:00", "place": 0},
)
SENT = Decision(
    EntryKind.DISPATCHED, "bd-1", "agent", 1, "c1", token="t", job="j7", note="dispatched: job=j7"
)
FAILED = Decision(
    EntryKind.FAILED,
    "bd-1",
    "agent",
    1,
    "c1",
    token="t",
    status="open",
    note="dispatch failed x",
    reason="x",
)
REAP = Decision(
    EntryKind.REAP,
    "bd-1",
    "agent",
    1,
    "c1",
    token="t",
    status="blocked",
    note="reaper: x",
    reason="silent",
)
PAUSE = Decision(EntryKind.PAUSE, GLOBAL, "", 0, "", reason="upgrade")


class Here:
    """A ledger and its tracker, in which bd-1 is open and assigned to the agent."""

    def __init__(self, address: FileAddress) -> None:
        self.engine = open_engine(address)
        self.clock = FixedClock(NOW)
        identity = WriterIdentity("here", "the-dispatcher", "the-reaper", "h1", "the settings")
        self.ledger = LedgerWriter(self.engine, identity, self.clock, Turns(self.engine))
        columns = self.engine.columns("issues")
        self.rules = {"agent": compile_for(RULE, columns, self.engine.dialect)}
        self.columns = list(columns)
        self.schema = tracker_schema(self.engine)
        self.ready: frozenset[str] = frozenset()
        self.issue("bd-1", title="t", assignee="agent", priority=2, owner="")

    def sql(self, *texts: str) -> None:
        with self.engine.transaction() as tx:
            for text in texts:
                tx.execute(text)
            tx.dolt_commit(["issues", "dependencies"], "by hand", "ann <ann@test>")

    def issue(self, id: str, **cells: Any) -> None:
        row = {
            "id": id,
            "description": "",
            "design": "",
            "acceptance_criteria": "",
            "notes": "",
        } | cells
        values = ", ".join(
            f"'{value}'" if isinstance(value, str) else str(value) for value in row.values()
        )
        self.sql(f"INSERT INTO issues ({', '.join(row)}) VALUES ({values})")

    def set(self, sets: str) -> None:
        self.sql(f"UPDATE issues SET {sets} WHERE id = 'bd-1'")

    def one(self, sql: str) -> Any:
        (row,) = self.engine.query(sql)
        return row[0] if len(row) == 1 else tuple(row)

    def head(self) -> str:
        return str(self.one("SELECT HASHOF('HEAD')"))

    def row(self, *names: str) -> Any:
        return self.one(f"SELECT {', '.join(names)} FROM issues WHERE id = 'bd-1'")

    def fence(self) -> str:
        return str(self.one("SELECT fence FROM watch_cursor"))

    def context(self, head: str | None = None, fence: str | None = None) -> DecisionContext:
        """Return a context with the current HEAD and fence, or with the given ones."""
        look = PollResult(head or self.head(), NOW, {}, "", fence or self.fence(), "", {}, {})
        lens = FeedQuery(list(self.rules.values()), self.columns, schema=self.schema)
        return DecisionContext(look, State(), NOW, lens, self.ready, self.rules)

    def decide(self, decision: Decision, valid: timedelta | None = None) -> Written:
        return self.ledger.append_decision(self.context(), decision, valid)

    def report(self, decision: Decision) -> Written:
        return self.ledger.append_outcome(self.context(), decision)

    def entries(self) -> list[tuple[Any, ...]]:
        """Return the rows of the ledger, with the last column as an object."""
        rows = self.engine.query(
            f"SELECT {', '.join(ENTRY_COLUMNS)} FROM watch_decision ORDER BY bead_id, version"
        )
        return [(*row[:-1], orjson.loads(row[-1])) for row in rows]

    def events(self) -> list[tuple[Any, ...]]:
        rows = self.engine.query(
            "SELECT id, issue_id, event_type, actor, old_value, new_value, created_at FROM events"
            " ORDER BY event_type"
        )
        return [(*row[:4], orjson.loads(row[4]), orjson.loads(row[5]), row[6]) for row in rows]

    def refuses(self, decision: Decision, why: str) -> None:
        """Check that the ledger refuses the decision and writes nothing."""
        before = (
            self.head(),
            self.fence(),
            self.entries(),
            self.events(),
            self.row("status", "notes"),
        )
        with pytest.raises(Conflict, match=why):
            self.decide(decision)
        assert (
            self.head(),
            self.fence(),
            self.entries(),
            self.events(),
            self.row("status", "notes"),
        ) == before
        assert self.engine.dirty() == frozenset()

    def message(self, written: Written) -> str:
        return message(self.engine, written.commit)
