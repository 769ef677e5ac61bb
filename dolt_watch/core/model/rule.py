"""A rule: which beads, which target, which thresholds.

By itself, as settings are read on every idle tick and need nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

DEFAULT_WHEN = "assignee = 'agent' AND status = 'open' AND acceptance_criteria <> ''"
DEFAULT_ORDER_BY = "priority, updated_at"


@dataclass(frozen=True, slots=True)
class Rule:
    """Which beads go to which target, and when an agent counts as silent.

    The settings reference is generated from the docstrings below.
    """

    name: str
    when: str = DEFAULT_WHEN
    """One boolean SQL expression over the columns of ``issues``: which beads are dispatched."""
    running: str = ""
    """Which beads the reaper watches.

    Default: the conditions of ``when`` on ``assignee``, and ``status = 'in_progress'``.
    """
    order_by: str = DEFAULT_ORDER_BY
    """Queue order; equal keys go by id."""
    target: str = "beadboard"
    """Name of the ``[targets.NAME]`` table, or of a kind of target."""
    ready: bool = True
    """Leave out what ``bd ready`` leaves out: blocked, deferred or a child of such a bead,
    pinned, template, ephemeral.
    """
    max_in_flight: int = 1
    """How many of ours may be claimed, unknown or running at once.

    1: sequential, as the original was.
    """
    max_per_hour: int = 0
    """Ceiling on claims in any hour; 0: none."""
    stale_after: timedelta = timedelta(minutes=30)
    """Without a sign of life for longer (in whole minutes), the bead is reaped."""
    max_runtime: timedelta = timedelta(minutes=60)
    """Past this a silent bead is reaped even where the target still says that its job runs."""
    on_stale: str = "block"
    """'block' or 'requeue' (up to ``max_attempts``, then block).

    A second agent beside one that may still be at work is never begun: what its target calls
    running, timed out, completed or in error is blocked; one that tells nothing of its jobs, as
    BeadBoard, leaves it to the silence.
    """
    retry_after: timedelta = timedelta(minutes=2)
    """Pause before the second attempt; doubled each time, with jitter, up to a year."""
    max_attempts: int = 5
    """After so many failures the bead is quarantined until a person edits it."""
    unknown_after: timedelta = timedelta(minutes=10)
    """An unknown outcome without evidence is settled after this, as ``on_unknown`` says; where
    the service says that nothing runs, tried again.
    """
    on_unknown: str = "block"
    """'retry' or 'block': what an outcome comes to that is still unknown after
    ``unknown_after``. Default: 'retry' for a target whose agents announce themselves (beadboard,
    agent-service), so that their silence means that nothing runs; else 'block'.
    """
