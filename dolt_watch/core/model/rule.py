"""A rule: its beads, its target and its thresholds.

The module is separate because an idle tick reads the settings and imports nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

DEFAULT_WHEN = "assignee = 'agent' AND status = 'open' AND acceptance_criteria <> ''"
DEFAULT_ORDER_BY = "priority, updated_at"


@dataclass(frozen=True, slots=True)
class Rule:
    """Selects beads, names their target, and sets the thresholds.

    The settings reference is generated from the docstrings below.
    """

    name: str
    when: str = DEFAULT_WHEN
    """One boolean SQL expression over the columns of ``issues``. Beads for which it is true are
    dispatched. Default: beads that are open, assigned to `agent` and have acceptance criteria, as
    in the original dispatcher.
    """
    running: str = ""
    """One boolean SQL expression. Selects the beads that the reaper watches. Default: the
    conditions of ``when`` on ``assignee``, and ``status = 'in_progress'``.
    """
    order_by: str = DEFAULT_ORDER_BY
    """Order of the queue: columns, each with an optional DESC. Beads with equal keys are sorted by
    id. Default: the most important first, then the one unchanged for longest.
    """
    target: str = "beadboard"
    """Name of the table ``[targets.NAME]``, or a kind of target."""
    ready: bool = True
    """Dispatch only beads that ``bd ready`` lists. Excluded are blocked and deferred beads, their
    children, and pinned, template and ephemeral beads.
    """
    max_in_flight: int = 1
    """Maximum number of attempts of this rule that are claimed, unknown or running at the same
    time. Default 1: one bead after the other, as in the original dispatcher.
    """
    max_per_hour: int = 0
    """Maximum number of claims in any hour. 0, the default: no limit."""
    stale_after: timedelta = timedelta(minutes=30)
    """A bead without a sign of life for longer is reaped. Counted in whole minutes. Default 30m, as
    in the original reaper.
    """
    max_runtime: timedelta = timedelta(minutes=60)
    """After this time without a sign of life, a bead is reaped even if the target reports that its
    job runs. Default: twice the default of ``stale_after``.
    """
    on_stale: str = "block"
    """How the reaper ends the attempt of a stale bead: 'block', or 'requeue' up to ``max_attempts``
    and then block. Default 'block', as in the original reaper.

    'requeue' applies only if the agent has stopped. If the target reports the job as running, timed
    out, completed or in error, and can't prove that it is dead, the bead is blocked instead.
    Targets that report nothing about their jobs, such as BeadBoard, are assumed to have stopped.
    """
    retry_after: timedelta = timedelta(minutes=2)
    """Pause before the second attempt. Doubled with each further attempt, with jitter, up to a
    year. Default 2m, the interval of the original dispatcher.
    """
    max_attempts: int = 5
    """Number of failed attempts after which the bead is quarantined until a user edits it. Default
    5: half an hour of retries with the default of ``retry_after``.
    """
    unknown_after: timedelta = timedelta(minutes=10)
    """Time after which an unknown outcome without evidence is settled by ``on_unknown``. If the
    service reports that nothing runs, the bead is tried again. Default 10m: agents that announce
    themselves do so within two minutes.
    """
    on_unknown: str = "block"
    """How an outcome is settled that is still unknown after ``unknown_after``: 'retry' or 'block'.
    Default: 'retry' for targets whose agents announce themselves (beadboard, agent-service),
    because their silence means that nothing runs; 'block' for other targets.
    """
