"""The inputs that all checks share: settings, connections, and the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from dolt_watch.checkpoint.poll import Poller, PollResult
from dolt_watch.config import Settings
from dolt_watch.controller.context import StateSurvey
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import Capacity
from dolt_watch.engines import Engine


@dataclass
class DoctorContext:
    """The inputs of the checks. Each is read once, when it is first needed."""

    settings: Settings
    engine: Engine
    policy: Policy
    rule_hashes: Mapping[str, str]
    read_survey: Callable[[], StateSurvey]
    machine: Callable[[], datetime]
    """This machine's clock."""
    capacity: Callable[[str], Capacity] = lambda name: Capacity(None)
    """Returns the capacity of a target now."""

    @cached_property
    def survey(self) -> StateSurvey:
        """The state at HEAD, and why each bead waits."""
        return self.read_survey()

    @cached_property
    def poll(self) -> PollResult:
        return Poller(self.engine).poll()
