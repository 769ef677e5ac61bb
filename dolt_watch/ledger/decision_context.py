"""The frozen input of a decision: the value that a plan is made on and its transaction checks
again.
"""

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
    """Everything that a plan was made on. The handler and the ledger read it and change nothing."""

    poll: PollResult
    state: State
    now: datetime
    feed_query: FeedQuery
    ready: frozenset[str]
    """Names of the rules whose beads must be ready in bd's sense. A claim checks it again."""

    @property
    def observed(self) -> str:
        """Hash of the HEAD that was decided on."""
        return self.poll.head

    @property
    def fence(self) -> str:
        """Value of the fence that was decided on."""
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
        """The shape of beads' tables."""
        return self.feed_query.schema
