"""Execution of a user's decision about one bead: ``retry``, ``release``, ``stop``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dolt_watch.controller.state_reader import StateReader
from dolt_watch.core.decisions.manual_actions import BLOCKED_BY_US, Answer, Found, blocks
from dolt_watch.core.model import Decision, LedgerEntry
from dolt_watch.engines import Engine
from dolt_watch.errors import Conflict, MergeInProgress
from dolt_watch.ledger.codec import ENTRY_COLUMNS, decode_entry
from dolt_watch.ledger.writer import OUTCOME_TIMEOUT_SECONDS, LedgerWriter

TRIES = 40
"""Number of consecutive conflicts with other workers after which the action fails."""


@dataclass(frozen=True)
class ManualActions:
    """Executes a user's decisions. ``reader`` and ``ledger`` must use the same database."""

    reader: StateReader
    ledger: LedgerWriter

    def do(self, bead: str, decide: Callable[[Found], Answer]) -> Answer:
        """Read the state, decide and write. Repeat after a conflict.

        Waits up to a minute for the end of a merge. Raises Conflict.
        """
        tries, waited = 0, 0.0
        while True:
            try:
                return self._once(bead, decide)
            except Conflict as error:
                merging = isinstance(error, MergeInProgress)
                if (waited >= OUTCOME_TIMEOUT_SECONDS) if merging else (tries >= TRIES):
                    error.with_fix("Run the command again.")
                    raise
                tries += not merging
                pause = 1.0 if merging else min(0.05 * tries, 0.5)
                self.ledger.clock.sleep(pause)
                waited += pause if merging else 0.0

    def _once(self, bead: str, decide: Callable[[Found], Answer]) -> Answer:
        context = self.reader.decision_context()
        engine, head = self.ledger.engine, context.poll.head
        rows = engine.query(f"SELECT status FROM issues AS OF '{head}' WHERE id = ?", (bead,))
        status = str(rows[0][0]) if rows else None
        last = last_entry(engine, bead)
        found = Found(bead, context.state.beads.get(bead), status, last, head, context.now)
        answer = decide(found)
        if isinstance(answer, Decision):
            self.ledger.append_decision(context, answer)
        return answer


def last_entry(engine: Engine, bead: str) -> LedgerEntry | None:
    """Return the last entry of a bead's stream."""
    columns = ", ".join(ENTRY_COLUMNS)
    rows = engine.query(
        f"SELECT {columns} FROM watch_decision WHERE bead_id = ? ORDER BY version DESC LIMIT 1",
        (bead,),
    )
    return decode_entry(rows[0]) if rows else None


def blocked_by_us(engine: Engine) -> list[tuple[str, str]]:
    """Return the beads that dolt_watch blocked and that are unchanged since, each with its rule."""
    columns = ", ".join(f"d.{name}" for name in ENTRY_COLUMNS)
    kinds = ", ".join(f"'{kind.value}'" for kind in sorted(BLOCKED_BY_US))
    rows = engine.query(
        f"SELECT {columns} FROM watch_decision d JOIN (SELECT bead_id, MAX(version) AS last FROM"
        " watch_decision GROUP BY bead_id) m ON m.bead_id = d.bead_id AND m.last = d.version"
        f" JOIN issues i ON i.id = d.bead_id WHERE d.kind IN ({kinds}) AND i.status = 'blocked'"
        " ORDER BY d.bead_id"
    )
    return [
        (one.bead, one.rule) for one in map(decode_entry, rows) if one is not None and blocks(one)
    ]
