"""The protocol of an executor, which carries out a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from dolt_watch.checkpoint.poll import PollResult
    from dolt_watch.checkpoint.state_store import StateStore
    from dolt_watch.controller.tick_result import Next
    from dolt_watch.core.decisions.policy import Plan
    from dolt_watch.core.model import Decision, State
    from dolt_watch.core.model.reason_codes import ReasonCode
    from dolt_watch.engines import Commit
    from dolt_watch.ledger.decision_context import DecisionContext
    from dolt_watch.ledger.writer import Written


class Executor(Protocol):
    """Carries out a plan: for real, or as a dry run."""

    def execute(self, plan: Plan, context: DecisionContext) -> Written | Next:
        """Carry out the first decision, and return the last entry that it wrote.

        Returns ``Next.DONE`` if nothing was written and the tick ends. Raises Conflict.
        """
        ...

    def adopt(self, poll: PollResult, tables: Sequence[str], beads: Sequence[str]) -> bool:
        """Commit the uncommitted changes of other writers in these tables.

        Returns:
            False if they are left alone.

        Raises:
            NothingToCommit: They can't be committed.
        """
        ...

    def record_rebuild(
        self,
        context: DecisionContext,
        why: ReasonCode,
        missing: Sequence[Decision],
        held: Sequence[str],
    ) -> State | Written:
        """Record that the state was rebuilt.

        Args:
            context: The context with the rebuilt state.
            why: The reason.
            missing: Live attempts that history lost.
            held: Beads that wait for a resume.

        Returns:
            The entry that was written, which comes back with the next poll. Without one, the state
            as it would be after all entries.

        Raises:
            Conflict: Another writer was first.
        """
        ...

    def record_reprocess(self, context: DecisionContext, commit: Commit, by: str) -> None:
        """Record that everything after the commit is applied again. Raises Conflict."""
        ...

    def save(self, store: StateStore, poll: PollResult, *more: Any) -> None: ...
