"""The frozen input of a decision: the value that a plan is made on and its transaction checks
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from dolt_watch.beads.feed_query import FeedQuery
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
    compiled: Mapping[str, CompiledRule]
    """The rules of ``feed_query`` by name."""
