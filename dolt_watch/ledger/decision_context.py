"""The fixed input of one decision. The plan is made on it, and the transaction checks it again."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from dolt_watch.beads.feed_query import FeedQuery
from dolt_watch.checkpoint.poll import PollResult
from dolt_watch.core.model import EMPTY, State
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
    compiled: Mapping[str, CompiledRule]
    """The rules of ``feed_query`` by name."""
    committed: Mapping[str, str] = EMPTY
    """Table → its hash in the working set, for tables without uncommitted changes at the poll. A
    transaction that finds the same hash reads the rows of ``poll.head``: schema and readiness are
    as observed.
    """
    unversioned_readiness: frozenset[str] = frozenset()
    """Beads whose readiness also depends on rows outside of history."""
