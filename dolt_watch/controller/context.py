"""The result of a survey of the tracker."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from dolt_watch.beads.feed_query import FeedQuery
from dolt_watch.checkpoint.poll import PollResult
from dolt_watch.core.decisions.planner import make_plan
from dolt_watch.core.decisions.policy import Candidates, Observations, Plan, Policy, Scope
from dolt_watch.core.model import (
    Capacity,
    State,
)


class StateSurvey(NamedTuple):
    """The state at HEAD, and the plan for it."""

    poll: PollResult
    state: State
    now: datetime
    plan: Plan
    merging: bool
    policy: Policy
    candidates: Candidates
    feed_query: FeedQuery
    outside: Observations = Observations()
    """The gates of every bead in the queues, also of those beyond the free slots."""
    lag: timedelta = timedelta()
    """Age of the oldest commit that is not applied to any saved state. 0 if there is no such
    commit.
    """

    def under(self, capacity: Mapping[str, Capacity]) -> Plan:
        """Return the dispatcher's plan for these capacities. A target that is down accepts
        nothing.
        """
        known = {name: one._replace(slots=0) if one.down else one for name, one in capacity.items()}
        outside, scope = self.outside._replace(capacity=known), Scope(dispatch=True)
        return make_plan(self.state, self.policy, self.now, scope, self.candidates, outside)
