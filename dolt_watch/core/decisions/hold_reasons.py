"""The reason why each waiting bead waits, taken from the plan that the loop executes. Pure.

``status``, ``why``, the report page, the log and dry runs all show the result of ``reasons``. A
bead's own reason comes first. A hold of all beads of a rule is shown once, for the rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dolt_watch.core.decisions.candidates import in_queue_order
from dolt_watch.core.decisions.policy import ATTEMPTED, Candidates, Plan, Policy
from dolt_watch.core.model import EMPTY, Bead, EntryKind, HoldReason, Phase, State


class Reason(NamedTuple):
    """The reason why one bead waits."""

    rule: str
    own: HoldReason | None
    """The hold of this bead alone. None if the bead only waits for its turn."""
    place: int = 0
    """The bead's place among the beads of its rule that wait for their turn, from 1. 0 if the bead
    is in no queue (quarantined, held).
    """
    length: int = 0
    """Number of beads of the rule that wait for their turn."""
    goes: bool = False
    """The next dispatch takes the bead."""

    @property
    def why(self) -> str:
        """Return the reason as text."""
        if self.own is not None:
            return self.own.why or self.own.gate
        return f"place {self.place} of {self.length} in the queue"


class Reasons(NamedTuple):
    """The reasons of all waiting beads."""

    rules: Mapping[str, HoldReason] = EMPTY
    """Rule → the hold of all its beads that have no hold of their own."""
    beads: Mapping[str, Reason] = EMPTY


def queued(state: State, policy: Policy) -> dict[str, list[Bead]]:
    """Return for each rule its waiting beads in queue order, held ones included."""
    queues: dict[str, list[Bead]] = {rule.name: [] for rule in policy.rules}
    for bead in state.beads.values():
        waits = bead.phase is Phase.WAITING or (bead.phase is Phase.BACKOFF and bead.matches)
        if waits and bead.rule in queues:
            queues[bead.rule].append(bead)
    return {
        name: in_queue_order(queue, policy.descending.get(name, ()))
        for name, queue in queues.items()
    }


def in_line(state: State, policy: Policy, candidates: Candidates) -> dict[str, tuple[Bead, ...]]:
    """Return for each rule the beads that history alone does not hold, in queue order.

    The gates of these beads (readiness, uncommitted rows) decide whether they only wait for their
    turn.
    """
    shared = candidates.stops
    return {
        rule: tuple(
            bead for bead in queue if candidates.held.get(bead.id) in (None, shared.get(rule))
        )
        for rule, queue in queued(state, policy).items()
    }


def reasons(state: State, policy: Policy, plan: Plan) -> Reasons:
    """Return the reasons of all waiting beads.

    ``plan`` must be made from this state and policy.
    """
    goes = {one.bead for one in plan.decisions if one.kind is EntryKind.CLAIM}
    found: dict[str, Reason] = {}
    for rule, queue in queued(state, policy).items():
        owns = [own_reason(plan, rule, bead.id) for bead in queue]
        length = sum(own is None for own in owns)
        place = 1
        for bead, own in zip(queue, owns, strict=True):
            found[bead.id] = Reason(rule, own, place, length, bead.id in goes)
            place += own is None
    for bead in state.beads.values():
        hold = plan.holds.get(bead.id)
        if hold is not None and bead.phase in (Phase.QUARANTINED, Phase.HELD):
            found[bead.id] = Reason(bead.rule, hold)
    return Reasons({rule: holds[0] for rule, holds in plan.rules.items() if holds}, found)


def own_reason(plan: Plan, rule: str, bead: str) -> HoldReason | None:
    """Return the hold of this bead alone, as far as the plan knows.

    A bead that this command has already attempted waits for its turn in the next command.
    """
    hold = plan.holds.get(bead)
    shared = hold is not None and (hold in plan.rules.get(rule, ()) or hold.gate == ATTEMPTED)
    return None if shared else hold


def rule_words(rule: str, hold: HoldReason, waiting: int) -> str:
    """Return the hold of a whole rule as text.

    ``waiting``: number of beads that wait for their turn.
    """
    beads = f"{waiting} bead{'' if waiting == 1 else 's'} in its queue"
    return f"rule {rule}: {hold.why or hold.gate} ({beads})"
