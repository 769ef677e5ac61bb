"""The fixed input of one decision. The plan is made on it, and the transaction checks it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from dolt_watch.beads.feed_query import FeedQuery
from dolt_watch.beads.schema import TrackerSchema
from dolt_watch.checkpoint.poll import PollResult
from dolt_watch.core.model import State
from dolt_watch.core.rules.compiled_rule import CompiledRule


class DecisionContext(NamedTuple):
    """The input of a plan. The executor and the ledger read it and change nothing."""

    poll: PollResult
    state: State
    now: datetime
    feed_query: FeedQuery
    ready: frozenset[str]
    """Names of the rules whose beads must be ready by the rule of `bd ready`. A claim checks that
    again.
    """

    @property
    def observed(self) -> str:
        """Hash of the HEAD of the decision."""
        return self.poll.head

    @property
    def fence(self) -> str:
        """Value of the fence of the decision."""
        return self.poll.fence

    @property
    def compiled(self) -> Mapping[str, CompiledRule]:
        """The compiled rules by name."""
        return {one.rule: one for one in self.feed_query.rules}

    @property
    def columns(self) -> Sequence[str]:
        """Columns of `issues`."""
        return self.feed_query.columns

    @property
    def schema(self) -> TrackerSchema:
        """The shape of bd's tables."""
        return self.feed_query.schema
