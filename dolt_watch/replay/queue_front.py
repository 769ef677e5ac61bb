"""The waiting beads of each rule in the order of its queue, kept up to date commit by commit. Pure.

A decision of the past rests on the head of a queue. With a thousand waiting beads, sorting all of
them for each decision takes longer than reading the history.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from typing import Any

from dolt_watch.core.decisions.candidates import in_flight, queue_sort_key
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import GLOBAL, Bead, EventKind, Phase, State
from dolt_watch.replay.replayer import ReplayStep

FRONT = 30
"""Beads at the head of a queue that are kept, in addition to two for each free slot."""


class QueueFront:
    """Returns states without the beads that only wait, far back in the queue of a rule."""

    def __init__(self) -> None:
        self._known = False
        self._projection: object = None
        self._ways: Mapping[str, Sequence[bool]] = {}
        self._queues: dict[str, list[tuple[Any, str]]] = {}
        self._places: dict[str, tuple[str, Any]] = {}
        """Waiting bead → its rule and its sort key."""
        self._others: set[str] = set()
        """Beads that are always kept."""

    def follow(self, step: ReplayStep) -> None:
        """Apply the changes of one commit."""
        all_of_them = step.projection is not self._projection or any(
            event.bead == GLOBAL or event.what is EventKind.RENAMED for event in step.events
        )
        self._projection = step.projection
        if all_of_them or not self._known:
            self._known = False  # sorted again when a decision needs it
            return
        for event in step.events:
            self._put(event.bead, step.projection.beads.get(event.bead))

    def of(self, state: State, policy: Policy) -> State:
        """Return the state with the heads of the queues only."""
        if not self._known or self._ways != policy.descending:
            self._sort(state, policy)
        others = {id: state.beads[id] for id in self._others if id in state.beads}
        rest, kept = state._replace(beads=others), set(others)
        for name, queue in self._queues.items():
            rule = policy.rule(name)
            free = max(0, rule.max_in_flight - len(in_flight(rest, rule))) if rule else 0
            kept.update(id for _, id in queue[: 2 * free + FRONT])
        # In the order of the whole state: of two decisions that are due at once, the first is made.
        return state._replace(beads={id: bead for id, bead in state.beads.items() if id in kept})

    def _sort(self, state: State, policy: Policy) -> None:
        self._known, self._ways = True, policy.descending
        self._queues, self._places, self._others = {}, {}, set()
        for id, bead in state.beads.items():
            if _only_waits(bead):
                key = queue_sort_key(bead.rank, self._ways.get(bead.rule, ()), id)
                self._queues.setdefault(bead.rule, []).append((key, id))
                self._places[id] = (bead.rule, key)
            else:
                self._others.add(id)
        for queue in self._queues.values():
            queue.sort(key=_key)

    def _put(self, id: str, bead: Bead | None) -> None:
        self._others.discard(id)
        place = self._places.pop(id, None)
        if place is not None:
            rule, key = place
            queue = self._queues[rule]
            del queue[bisect_left(queue, key, key=_key)]
        if bead is None:
            return
        if not _only_waits(bead):
            self._others.add(id)
            return
        key = queue_sort_key(bead.rank, self._ways.get(bead.rule, ()), id)
        insort(self._queues.setdefault(bead.rule, []), (key, id), key=_key)
        self._places[id] = (bead.rule, key)


def _key(one: tuple[Any, str]) -> Any:
    return one[0]


def _only_waits(bead: Bead) -> bool:
    """Return whether only its place in the queue decides about the bead."""
    return bead.phase is Phase.WAITING and not (bead.lost_note or bead.unwritten)
