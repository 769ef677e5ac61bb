"""Clones of one tracker for the stateful test, with users who edit on each.

The clones are databases of one server, and sync through a remote. The allowed results are computed
from the list of operations alone, without code of the product. A second request for a bead needs a
user's commit that ended the attempt or freed the bead. The line of that commit must contain the
claim.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from dolt_watch.config import load
from dolt_watch.core.decisions.policy import Scope
from dolt_watch.engines import Engine
from dolt_watch.engines.connect import open_engine
from dolt_watch.engines.sql_text import split_statements
from dolt_watch.ledger.schema import migrate
from dolt_watch.targets.registry import TargetPool
from tests.faults.racing import AT_ONCE, ROOT
from tests.stubs.beadboard import BeadBoardStub
from tests.support.beads import SHAPES_FOLDER, create_tracker
from tests.support.clocks import ShiftedClock
from tests.support.lines import build
from tests.support.servers import Server

HERE, CLONES = "here", ("here", "there", "yonder")
BEADS = ("b0", "b1")
FREE = ("open", "agent", True)


@dataclass
class Clone:
    """One database, and the number of requests for each bead that its line of history contains."""

    database: str
    session: Any
    seen: Counter[str] = field(default_factory=Counter)

    def sql(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.session.cursor() as cursor:
            cursor.execute(text, values)
            return list(cursor.fetchall() or ())

    def row(self, bead: str) -> tuple[Any, ...] | None:
        rows = self.sql(
            "SELECT status, assignee, acceptance_criteria <> '' FROM issues WHERE id = %s", bead
        )
        return (rows[0][0], rows[0][1], bool(rows[0][2])) if rows else None


class Team:
    """Three clones. The watcher runs on the first."""

    def __init__(
        self, server: Server, template: Path, folder: Path, board: BeadBoardStub, shape: str
    ) -> None:
        self.server, self.board, self.counted = server, board, Counter[str]()
        shutil.copytree(template, folder)
        self.remote = f"file://{folder}"
        self.sent: Counter[str] = Counter()
        self.allowed: Counter[str] = Counter()
        self.remote_seen: Counter[str] = Counter()
        self.begins = len(board.dispatches)
        self.clones: dict[str, Clone] = {}
        with contextlib.closing(server.connect("")) as session, session.cursor() as cursor:
            for name in CLONES:
                database = server.unused().database
                cursor.execute("CALL DOLT_CLONE(%s, %s)", (self.remote, database))
                self.clones[name] = Clone(database, server.connect(database))
        for clone in self.clones.values():
            local_tables(clone, shape)
        url = server.address.url.rstrip("/") + "/" + self.clones[HERE].database
        self.settings = load(
            {"database": url, "set": (*AT_ONCE, "rules.agent.ready=false")},
            {"BEADBOARD_URL": board.url},
            ROOT,
        )
        self.engine: Engine = open_engine(self.settings.address)
        list(migrate(self.engine, "dolt-watch <dolt-watch@here>"))
        self.tick()

    def close(self) -> None:
        self.engine.close()
        for clone in self.clones.values():
            clone.session.close()
        with contextlib.closing(self.server.connect("")) as session, session.cursor() as cursor:
            for clone in self.clones.values():
                cursor.execute(f"DROP DATABASE `{clone.database}`")

    # -- users --------------------

    def commit(self, at: Clone) -> bool:
        if not at.sql("SELECT 1 FROM dolt_status LIMIT 1"):
            return False
        at.sql("CALL DOLT_COMMIT('-Am', 'by hand', '--author', 'ann <ann@team>')")
        return True

    def create(self, at: Clone, bead: str) -> None:
        if at.row(bead) is None:
            at.sql(
                "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes,"
                " assignee) VALUES (%s, 't', '', '', 'must', '', 'agent')",
                bead,
            )
            self.commit(at)

    def edit(self, at: Clone, bead: str, sets: str, *values: Any) -> None:
        """Edit a bead in one commit, as a user's command does."""
        before = at.row(bead)
        if before is None:
            return
        at.sql(
            f"UPDATE issues SET {sets}, updated_at = UTC_TIMESTAMP() WHERE id = %s", *values, bead
        )
        after = at.row(bead)
        if not self.commit(at) or after is None or self.sent[bead] == 0:
            return
        closed = after[0] == "closed" != before[0]
        ended = before[:2] == ("in_progress", "agent") != after[:2]
        freed = before != FREE == after
        if closed or ((ended or freed) and at.seen[bead] >= self.sent[bead]):
            self.allowed[bead] = max(self.allowed[bead], self.sent[bead] + 1)

    def older_row(self, at: Clone, bead: str, back: int) -> None:
        """Write the whole row of an older commit again, as an import does.

        The row has the old time of change or a new one.
        """
        if at.row(bead) is None:
            return
        rows = at.sql(
            "SELECT commit_hash FROM dolt_history_issues WHERE id = %s ORDER BY commit_date DESC"
            " LIMIT 12",
            bead,
        )
        hash = rows[min(back, len(rows) - 1)][0]
        old = at.sql(f"SELECT * FROM issues AS OF '{hash}' WHERE id = %s", bead)
        names = [name for (name, *_) in at.sql("SHOW COLUMNS FROM issues")]
        values = dict(zip(names, old[0], strict=True))
        sets = ", ".join(f"`{name}` = %s" for name in names if name != "id")
        at.sql(
            f"UPDATE issues SET {sets} WHERE id = %s",
            *(values[name] for name in names if name != "id"),
            bead,
        )
        if back % 2:
            at.sql("UPDATE issues SET updated_at = UTC_TIMESTAMP() WHERE id = %s", bead)
        self.counted["older rows"] += self.commit(at)

    def comment(self, at: Clone, bead: str) -> None:
        if at.row(bead) is not None:
            at.sql(
                "INSERT INTO comments (id, issue_id, author, text) VALUES (UUID(), %s, 'ann',"
                " 'hm')",
                bead,
            )
            self.commit(at)

    # -- syncing --------------------

    def push(self, at: Clone) -> None:
        with contextlib.suppress(Exception):  # The remote refuses if it has other commits.
            at.sql("CALL DOLT_PUSH('origin', 'main')")
            self.remote_seen = Counter(at.seen)
            self.counted["pushes"] += 1

    def pull(self, at: Clone, resolve: str, status: str) -> None:
        """Pull. Resolve a conflict with one side, the other, or by hand with another status."""
        at.sql("SET @@dolt_allow_commit_conflicts = 1")
        before = at.sql("SELECT HASHOF('HEAD')")
        at.sql("CALL DOLT_PULL('origin', 'main')")
        tables = [table for (table,) in at.sql("SELECT `table` FROM dolt_conflicts")]
        for table in tables:
            self.counted[f"conflicts {resolve}"] += 1
            at.sql(
                "CALL DOLT_CONFLICTS_RESOLVE(%s, %s)",
                "--theirs" if resolve == "theirs" else "--ours",
                table,
            )
            if resolve == "by hand" and table == "issues":
                at.sql("UPDATE issues SET status = %s WHERE assignee = 'agent'", status)
        if tables:
            at.sql("CALL DOLT_COMMIT('-Am', 'merge by hand', '--author', 'ann <ann@team>')")
        at.seen |= self.remote_seen
        self.counted["merges"] += before != at.sql("SELECT HASHOF('HEAD')")

    # -- the watcher --------------------

    def tick(self, later: int = 0) -> None:
        own = TargetPool(self.settings.targets)
        try:
            clock = ShiftedClock(timedelta(minutes=later))
            build(self.engine, self.settings, own, clock, lambda line: None).tick(
                Scope(dispatch=True)
            )
        finally:
            own.close()
        made = [request.json["taskId"] for request in self.board.dispatches[self.begins :]]
        sent = Counter(made)
        for bead, times in sent.items():
            if times > self.sent[bead]:
                assert times <= max(1, self.allowed[bead]), f"{bead} was sent {times} times"
                self.counted["sent"] += times - self.sent[bead]
                self.counted["sent again"] += times > 1
        self.sent = sent
        self.clones[HERE].seen = Counter(sent)


def local_tables(clone: Clone, shape: str) -> None:
    """Create the tables in ``dolt_ignore``, as bd does in each clone. A clone lacks them."""
    there = {name for (name,) in clone.sql("SHOW TABLES")}
    for sql in split_statements((SHAPES_FOLDER / f"{shape}.sql").read_text(encoding="utf-8")):
        made = re.match(r"CREATE TABLE (?:IF NOT EXISTS )?`?(\w+)`?", sql.strip())
        if made is not None and made[1] not in there:
            with clone.session.cursor() as cursor:
                cursor.execute(sql)


def template(server: Server, folder: Path, shape: str) -> None:
    """Create the remote for all histories: beads' tables of one shape, and the ledger."""
    folder.mkdir()
    address = server.fresh()
    engine = open_engine(address)
    create_tracker(engine, "dolt-watch <dolt-watch@here>", shape)
    engine.close()
    server.sql(
        f"CALL DOLT_REMOTE('add', 'origin', 'file://{folder}')",
        "CALL DOLT_PUSH('-u', 'origin', 'main')",
        database=address.database,
    )
    server.sql(f"DROP DATABASE `{address.database}`")
