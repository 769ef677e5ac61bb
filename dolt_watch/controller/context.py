"""What a survey of the tracker returns."""

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
    """The state at HEAD and what would be decided on it."""

    look: PollResult
    state: State
    now: datetime
    plan: Plan
    merging: bool
    policy: Policy
    asked: Candidates
    lens: FeedQuery
    outside: Observations = Observations()
    """What the gates say of every bead in line, those behind the free slots too."""
    lag: timedelta = timedelta()
    """Age of the oldest commit that no saved state has; 0 where there is none."""

    def under(self, capacity: Mapping[str, Capacity]) -> Plan:
        """The dispatcher's plan, given what the targets say. One that is down takes nothing."""
        known = {name: one._replace(slots=0) if one.down else one for name, one in capacity.items()}
        outside, scope = self.outside._replace(capacity=known), Scope(dispatch=True)
        return make_plan(self.state, self.policy, self.now, scope, self.asked, outside)
