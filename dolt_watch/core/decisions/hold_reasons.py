"""Why each waiting bead waits, from the plan that the loop itself acts on. Pure.

``status``, ``why``, the page, the log and a dry run all say what ``reasons`` says.
A bead's own reason comes first; what holds all beads of a rule is said once, for the rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dolt_watch.core.decisions.policy import ATTEMPTED, Candidates, Plan, Policy
from dolt_watch.core.model import EMPTY, Bead, EntryKind, HoldReason, Phase, State
from dolt_watch.core.rules.compiled_rule import queue_sort_key


class Reason(NamedTuple):
    """Why one bead waits."""

    rule: str
    own: HoldReason | None
    """What holds this bead by itself; None where it only waits for its turn."""
    place: int = 0
    """Beads of its rule that go before it, and one; 0 for a bead in no queue (quarantined,
    held).
    """
    length: int = 0
    """Beads of its rule that only wait for their turn."""
    goes: bool = False
    """The next dispatch takes it."""

    @property
    def why(self) -> str:
        """In words."""
        if self.own is not None:
            return self.own.why or self.own.gate
        return f"place {self.place} of {self.length} in the queue"


class Reasons(NamedTuple):
    """Of all beads that wait."""

    rules: Mapping[str, HoldReason] = EMPTY
    """Rule → what holds all of its beads that have no reason of their own."""
    beads: Mapping[str, Reason] = EMPTY


def queued(state: State, policy: Policy) -> dict[str, list[Bead]]:
    """Rule → its waiting beads in the order of the queue, whatever holds them."""
    queues: dict[str, list[Bead]] = {rule.name: [] for rule in policy.rules}
    for bead in state.beads.values():
        waits = bead.phase is Phase.WAITING or (bead.phase is Phase.BACKOFF and bead.matches)
        if waits and bead.rule in queues:
            queues[bead.rule].append(bead)
    for name, queue in queues.items():
        direction = policy.descending.get(name, ())
        queue.sort(key=lambda bead, way=direction: queue_sort_key(bead.rank, way, bead.id))  # type: ignore[misc]
    return queues


def in_line(state: State, policy: Policy, asked: Candidates) -> dict[str, tuple[Bead, ...]]:
    """Rule → the beads that history by itself does not hold, in the order of the queue.

    Their gates (readiness, uncommitted rows) decide whether they only wait for their turn.
    """
    shared = asked.stops
    return {
        rule: tuple(bead for bead in queue if asked.held.get(bead.id) in (None, shared.get(rule)))
        for rule, queue in queued(state, policy).items()
    }


def reasons(state: State, policy: Policy, plan: Plan) -> Reasons:
    """``plan``: made of this state under this policy."""
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
    """What holds this bead by itself, as far as the plan knows.

    A bead that this command has attempted already waits for its turn in the next one.
    """
    hold = plan.holds.get(bead)
    shared = hold is not None and (hold in plan.rules.get(rule, ()) or hold.gate == ATTEMPTED)
    return None if shared else hold


def rule_words(rule: str, hold: HoldReason, waiting: int) -> str:
    """What holds a rule as a whole, in words; ``waiting``: beads that only wait for their turn."""
    beads = f"{waiting} bead{'' if waiting == 1 else 's'} in its queue"
    return f"rule {rule}: {hold.why or hold.gate} ({beads})"
