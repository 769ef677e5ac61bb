"""The run of a simulated dispatch, recorded or assumed, and its immediate outcome. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from dolt_watch.core.decisions.settlement import settle
from dolt_watch.core.model import (
    CLOSED,
    ActivitySignal,
    Bead,
    Decision,
    Event,
    EventKind,
    Rule,
    entry_payloads,
)
from dolt_watch.core.model.observations import Health
from dolt_watch.core.model.recorded_inputs import RecordedInputs, decode_answer
from dolt_watch.core.model.target_answers import Accepted
from dolt_watch.errors import SettingsError
from dolt_watch.replay.simulation.recorded_timeline import AgentRun, ExternalAction
from dolt_watch.replay.simulation.row_views import RowView

DEADLINE = timedelta(minutes=1)
"""Deadline of a claim whose run is assumed: it is settled at once."""
ALIVE = 2
"""Signs of life of an assumed run in each ``stale_after``."""


class RunAllocator:
    """Assigns runs to dispatches. ``run_time``: duration of an assumed run; None: not known."""

    def __init__(
        self, recorded: Mapping[str, Sequence[AgentRun]], run_time: timedelta | None
    ) -> None:
        self._left = {bead: list(runs) for bead, runs in recorded.items()}
        self.run_time = run_time
        self.entered: dict[str, int] = {}
        """Bead → index of the recorded change that made it match."""
        self.assumed: list[str] = []
        """Beads with assumed runs, one item for each run."""

    def next(self, bead: str) -> AgentRun | None:
        """Return the bead's next recorded run that was not over before the bead matched."""
        runs = self._left.get(bead, [])
        while runs and runs[0].over and runs[0].last < self.entered.get(bead, 0):
            runs.pop(0)
        return runs.pop(0) if runs else None

    def tries(self, bead: str) -> bool:
        """Return whether its next recorded run tried a target with an outage."""
        run = next(iter(self._left.get(bead, ())), None)
        return (
            run is not None
            and run.claim is not None
            and entry_payloads.Claimed.decode(run.claim.detail).tries
        )

    def synthesize_run(self, bead: str, rule: Rule, view: RowView, now: datetime) -> AgentRun:
        """Return an assumed run: never silent, and closed after ``run_time``.

        Raises:
            SettingsError: The duration is not known.
        """
        if self.run_time is None:
            raise SettingsError(
                f"{bead} is dispatched in the simulation only, and no recorded run shows how"
                " long a run takes.",
                where="replay",
                fix="Specify a duration: --run-time 20m",
            )
        self.assumed.append(bead)
        run = AgentRun(bead=bead, token="", begun=now, claim=None, last=0, assumed=True)
        step = max(rule.stale_after / ALIVE, timedelta(seconds=1))
        for number in range(1, int(self.run_time / step) + 1):
            at = now + number * step
            sign = ActivitySignal(at, "a sign of life, assumed", "its agent", "")
            run.acts.add(ExternalAction(0, at, Event(EventKind.SIGN, bead, "", at, sign=sign)))
        end = now + self.run_time
        closed = Event(
            EventKind.LEFT,
            bead,
            "",
            end,
            sign=ActivitySignal(end, "status", "its agent", ""),
            changed=("status",),
        )
        run.acts.add(ExternalAction(0, end, closed, view, CLOSED))
        return run


def span(run: AgentRun) -> timedelta:
    """Return the time from the claim to its deadline."""
    deadline = (
        entry_payloads.Claimed.decode(run.claim.detail).deadline if run.claim is not None else None
    )
    return deadline - run.begun if deadline is not None else DEADLINE


def report_of_run(
    run: AgentRun, attempt: Bead, rule: Rule, was: str, now: datetime, health: Health
) -> Decision | None:
    """Return the immediate outcome of a claim; None if none was recorded.

    Args:
        attempt: the bead as claimed.
        was: its status before the claim.
    """
    if run.assumed:
        return settle(Accepted("assumed"), attempt, rule, now, 0.0, health)
    entry = run.answer
    if entry is None:
        return None
    answer = decode_answer(entry)
    if answer is None:  # taken back before anything was sent
        taken = Decision(
            kind=entry.kind,
            bead=attempt.id,
            rule=rule.name,
            attempt=attempt.attempt,
            cause="",
            token=attempt.token,
            status=was,
        )
        return taken._replace(reason=entry.reason, reason_code=entry.reason_code)
    return settle(
        answer, attempt, rule, now, RecordedInputs.decode(entry.detail).jitter or 0.0, health
    )
