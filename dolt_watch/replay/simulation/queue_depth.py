"""How many beads waited and how many were under way, after each change: of one telling of the
history. Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from dolt_watch.core.model import IN_FLIGHT, Bead, Phase


class Depth(NamedTuple):
    at: datetime
    waiting: int
    under_way: int
    """Claimed, unknown or running, as in the report."""


class QueueDepthSeries:
    """``beads``: as they stand when it begins; ``rule``: only its beads are counted, '' for all."""

    def __init__(self, beads: Mapping[str, Bead], rule: str = "") -> None:
        self.rule = rule
        # By bead, and not by what an event says was before it: where state is made anew, nothing
        # says that.
        self._waiting: set[str] = set()
        self._under_way: set[str] = set()
        self._at, self._numbers = (
            array("d"),
            array("L"),
        )  # packed: 24 bytes a change, of which a long history has many
        for bead in beads.values():
            self._put(bead.id, bead)
        self._first = self._counts

    def record(self, at: datetime, id: str, bead: Bead | None) -> None:
        """A bead after an event; None: it is in no phase any more."""
        self._put(id, bead)
        self._note(at)

    def reset(self, at: datetime, beads: Mapping[str, Bead]) -> None:
        """All of them at once, after a decision about no bead: state was made anew, or some were
        let go.
        """
        self._waiting.clear()
        self._under_way.clear()
        for bead in beads.values():
            self._put(bead.id, bead)
        self._note(at)

    def since(self, begins: datetime) -> tuple[Depth, ...]:
        """In the order of time.

        Clocks differ: what bears an earlier date than ``begins`` is shown there.
        """
        times = (max(begins, datetime.fromtimestamp(at, UTC)) for at in self._at)
        changes = map(Depth, times, self._numbers[::2], self._numbers[1::2])
        return (Depth(begins, *self._first), *sorted(changes, key=lambda one: one.at))

    @property
    def _counts(self) -> tuple[int, int]:
        return len(self._waiting), len(self._under_way)

    def _put(self, id: str, bead: Bead | None) -> None:
        counted = bead is not None and self.rule in ("", bead.rule)
        for beads, here in (
            (self._waiting, counted and bead is not None and bead.phase is Phase.WAITING),
            (self._under_way, counted and bead is not None and bead.phase in IN_FLIGHT),
        ):
            if here:
                beads.add(id)
            else:
                beads.discard(id)

    def _note(self, at: datetime) -> None:
        """Only what changed is kept: a long history holds many commits that move no bead."""
        last = tuple(self._numbers[-2:]) or self._first
        if self._counts != last:
            self._at.append(at.timestamp())
            self._numbers.extend(self._counts)
