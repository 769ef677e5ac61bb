"""The inputs that all checks share: settings, connections, and the state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cached_property

from dolt_watch.checkpoint.poll import Poller, PollResult
from dolt_watch.config import Settings
from dolt_watch.controller.context import StateSurvey
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import Capacity
from dolt_watch.engines import Engine
from dolt_watch.errors import DoltWatchError
from dolt_watch.inspection.doctor.findings import Finding, failed


class DoctorContext:
    """The inputs of the checks. Each is read once, when it is first needed."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        policy: Policy,
        rule_hashes: Mapping[str, str],
        survey: Callable[[], StateSurvey],
        machine: Callable[[], datetime],
        capacity: Callable[[str], Capacity] = lambda name: Capacity(None),
    ) -> None:
        self.settings, self.engine, self.policy, self.rule_hashes = (
            settings,
            engine,
            policy,
            rule_hashes,
        )
        self.machine = machine
        """This machine's clock."""
        self.capacity = capacity
        """Returns the capacity of a target now."""
        self._survey = survey

    @cached_property
    def survey(self) -> StateSurvey:
        """The state at HEAD, and why each bead waits."""
        return self._survey()

    @cached_property
    def poll(self) -> PollResult:
        return Poller(self.engine).poll()


Check = Callable[[DoctorContext], Iterator[Finding]]


def run_checks(checks: Mapping[str, Check], case: DoctorContext) -> Iterator[Finding]:
    """Yield the findings of each check. An error is a finding too, and ends only its check."""
    for name, check in checks.items():
        try:
            yield from check(case)
        except DoltWatchError as error:
            yield failed(name, error)
