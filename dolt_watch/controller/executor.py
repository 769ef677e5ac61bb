"""The protocol of an executor: it carries out what the planner decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from dolt_watch.checkpoint.poll import PollResult
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.controller.tick_result import Next
from dolt_watch.core.decisions.policy import Plan
from dolt_watch.core.model import (
    Decision,
    State,
)
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.engines import Commit
from dolt_watch.ledger.decision_context import DecisionContext
from dolt_watch.ledger.writer import Written


class Executor(Protocol):
    """Who acts on a plan: for real, or telling what would be done."""

    def execute(self, plan: Plan, context: DecisionContext) -> Written | Next:
        """Carry out the first decision, and return the last entry that it wrote.

        ``Next.DONE``: nothing was written, and the tick ends. Raises Conflict.
        """
        ...

    def adopt(self, look: PollResult, tables: Sequence[str], beads: Sequence[str]) -> bool:
        """Commit what others left uncommitted in these tables.

        False: left alone. Raises NothingToCommit where nobody can commit them.
        """
        ...

    def record_rebuild(
        self,
        context: DecisionContext,
        why: ReasonCode,
        missing: Sequence[Decision],
        held: Sequence[str],
    ) -> State | Next:
        """Record that the state was rebuilt.

        ``missing``: live attempts that history lost; ``held``: beads that only a resume may let
        go. ``Next.AGAIN``: one entry was written, and comes back with the next poll. Else the
        state as it would be after all of them. Raises Conflict.
        """
        ...

    def record_reprocess(self, context: DecisionContext, commit: Commit, by: str) -> None:
        """Everything after the commit is folded again: said in history. Raises Conflict."""
        ...

    def save(self, store: StateStore, look: PollResult, *more: Any) -> None: ...
