"""The problems that a person must resolve, each with its reason and the command that helps.

The page shows them first; ``status`` has the same beads and commands. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from dolt_watch.core.model import Phase
from dolt_watch.inspection.causes import error_text, without_ids
from dolt_watch.inspection.status import BeadStatus, Status

COMMANDS = {
    Phase.QUARANTINED: "dolt_watch retry {}",
    Phase.UNKNOWN: "dolt_watch retry {} --not-running",
    Phase.HELD: "dolt_watch retry {}",
}
"""Phases of beads that wait for a person → the command that takes their IDs."""
NAMED = 5
"""Maximum number of IDs in one command: a longer line is not copied at a glance."""


class Problem(NamedTuple):
    """One problem."""

    kind: str
    """'worker', 'merge', 'migration', 'unreachable', 'stopped', 'silent', or a phase of beads."""
    reason: str
    command: str = ""
    """'' if no command of dolt_watch resolves the problem."""
    since: datetime | None = None
    """None if the time is not known."""
    subject: str = ""
    """Name of the target or the rule."""
    beads: tuple[str, ...] = ()
    """IDs in the order of ``Status.beads``."""


def problems(status: Status) -> tuple[Problem, ...]:
    """Return the problems, the widest first: the worker, the database, targets, rules, beads."""
    return (*_of_everything(status), *_of_targets(status), *_of_beads(status))


def _of_everything(status: Status) -> Iterator[Problem]:
    worker = status.worker
    if worker is not None and worker.late:
        yield Problem("worker", worker.words, "dolt_watch run", worker.due_since)
    if status.merging:
        why = "a merge is unfinished: nothing is decided until it is committed or aborted"
        yield Problem("merge", why)
    if status.migrating:
        yield Problem("migration", "bd's schema migration is not committed", "bd dolt commit")


def _of_targets(status: Status) -> Iterator[Problem]:
    outages = status.state.outages
    for name, outage in sorted(outages.items()):
        yield Problem("unreachable", outage.why, "dolt_watch doctor", outage.since, name)
    for name, capacity in status.targets.items():
        if capacity.down and name not in outages:
            yield Problem("unreachable", capacity.why, "dolt_watch doctor", subject=name)
    for rule, why in sorted(status.state.halted_rules.items()):
        yield Problem("stopped", why, f"dolt_watch resume --rule {rule}", subject=rule)


def _of_beads(status: Status) -> Iterator[Problem]:
    """Yield one problem for all beads of one phase and one cause."""
    for phase, command in COMMANDS.items():
        causes: dict[str, list[BeadStatus]] = {}
        for bead in status.beads:
            if bead.phase == phase:
                cause = without_ids(error_text(bead.why), {bead.bead}, bead.job)
                causes.setdefault(cause, []).append(bead)
        for cause, beads in causes.items():
            reasons = {bead.why for bead in beads}
            yield Problem(
                kind=phase.value,
                reason=reasons.pop() if len(reasons) == 1 else cause,
                command=command.format(" ".join(bead.bead for bead in beads[:NAMED])),
                since=min(bead.since for bead in beads),
                beads=tuple(bead.bead for bead in beads),
            )
    overdue = status.worker.overdue if status.worker is not None else ()
    if overdue:
        why = "without a sign of life for longer than `stale_after`, and not reaped yet"
        yield Problem("silent", why, "dolt_watch reap", beads=tuple(overdue))
