"""Histories whose schema changes, and checks that apply to all of them."""

from __future__ import annotations

import contextlib
from collections import Counter
from datetime import timedelta
from typing import Any

from dolt_watch.config import settings_hash
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model.target_answers import Answer
from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress, ServerAddress
from dolt_watch.history.reader import CommitEvents, first_commit
from dolt_watch.inspection import event_stream
from dolt_watch.inspection.why.decision_snapshot import snapshot_at
from dolt_watch.inspection.why.explanation import explain
from dolt_watch.replay.replayer import HistoryReplayer
from dolt_watch.replay.verification import VerificationResult, verify
from dolt_watch.targets.protocol import BeadTask
from tests.support.history import History, Scripted

MIGRATOR = "beads <beads@local>"

REKEY_DEPENDENCIES = (
    "ALTER TABLE dependencies ADD COLUMN id CHAR(36)",
    "ALTER TABLE dependencies ADD COLUMN depends_on_issue_id VARCHAR(255)",
    "ALTER TABLE dependencies ADD COLUMN depends_on_wisp_id VARCHAR(255)",
    "ALTER TABLE dependencies ADD COLUMN depends_on_external VARCHAR(255)",
    "UPDATE dependencies SET id = UUID(), depends_on_issue_id = depends_on_id",
    "ALTER TABLE dependencies DROP FOREIGN KEY fk_dep_issue",
    "ALTER TABLE dependencies DROP PRIMARY KEY",
    "ALTER TABLE dependencies ADD PRIMARY KEY (id)",
    "ALTER TABLE dependencies DROP COLUMN depends_on_id",
)
"""The changes of bd 1.0.5 to the key and the target of a dependency.

They need Dolt, because SQLite can't change a key.
"""


class Counting(Scripted):
    """A target that counts its requests."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: Counter[str] = Counter()

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        self.sent[task.bead] += 1
        return super().dispatch(task, token)


def tracker(address: ServerAddress | FileAddress, **settings: str) -> History:
    """Return a watched tracker with the shape of bd 1.0.2."""
    history = History(address, **{"max_in_flight": "3", **settings})
    history.target = Counting()
    return history


def sent(history: History) -> Counter[str]:
    assert isinstance(history.target, Counting)
    return history.target.sent


def ddl(history: History, *statements: str) -> None:
    """Change the schema, and commit nothing."""
    for statement in statements:
        history.engine.execute_ddl(statement)


def commit(history: History, message: str = "schema: apply migration") -> str:
    """Commit all uncommitted tables, as `bd dolt commit` does."""
    engine = history.engine
    dirty = sorted(_dirty(engine))
    # The change had no effect.
    if not dirty:
        return history.head()
    with engine.transaction() as tx:
        return tx.dolt_commit(dirty, message, MIGRATOR)


def _dirty(engine: Engine) -> set[str]:
    return {name for text in engine.dirty() for name in text.split(" -> ")}


def migrate(history: History, *statements: str) -> str:
    ddl(history, *statements)
    return commit(history)


def past(history: History) -> HistoryReplayer:
    policy = Policy(
        history.settings.rules,
        history.settings.settle,
        settings_hash=settings_hash(history.settings),
    )
    return HistoryReplayer(history.engine, policy, history.head())


def events(history: History) -> list[CommitEvents]:
    """Return all events, as the command `events` reads them."""
    engine, head = history.engine, history.head()
    return list(
        event_stream.read_events(
            engine, first_commit(engine, head).hash, head, history.settings.rules
        )
    )


def held(history: History, beads: int = 1) -> VerificationResult:
    """Check that each command reads the history, and that every decision is reproduced."""
    engine, head = history.engine, history.head()
    out = verify(past(history))
    assert out.differences == []
    assert not out.unverifiable, out.unverifiable
    events(history)
    for (bead,) in engine.query(
        "SELECT DISTINCT bead_id FROM watch_decision WHERE bead_id <> '' ORDER BY bead_id"
    )[:beads]:
        stands = snapshot_at(
            engine, past(history).current.policy, head, history.clock.moment, bead, None
        )
        explain(engine, bead, head, lambda stands=stands: stands)  # type: ignore[misc]
    history.what_if(run_time=timedelta(minutes=5))
    return out


@contextlib.contextmanager
def closing(history: History) -> Any:
    try:
        yield history
    finally:
        history.engine.close()
