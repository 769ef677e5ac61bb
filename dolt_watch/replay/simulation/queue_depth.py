"""Counts the beads that wait and those under way, after each change of one telling of the
history. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from dolt_watch.core.model import IN_FLIGHT, Bead, Phase
from dolt_watch.stats import QueueDepth, QueueDepthSeries


class QueueDepthRecorder:
    """``beads``: as they stand when it begins; ``rule``: only its beads are counted, '' for all."""

    def __init__(self, beads: Mapping[str, Bead], rule: str = "") -> None:
        self.rule = rule
        # By bead, and not by what an event says was before it: where state is made anew, nothing
        # says that.
        self._waiting: set[str] = set()
        self._under_way: set[str] = set()
        for bead in beads.values():
            self._put(bead.id, bead)
        self._series = QueueDepthSeries(len(self._waiting), len(self._under_way))

    def record(self, at: datetime, id: str, bead: Bead | None) -> None:
        """A bead after an event; None: it is in no phase any more."""
        self._put(id, bead)
        self._series.add(at, len(self._waiting), len(self._under_way))

    def reset(self, at: datetime, beads: Mapping[str, Bead]) -> None:
        """All of them at once, after a decision about no bead: state was made anew, or some were
        let go.
        """
        self._waiting.clear()
        self._under_way.clear()
        for bead in beads.values():
            self._put(bead.id, bead)
        self._series.add(at, len(self._waiting), len(self._under_way))

    def since(self, begins: datetime) -> tuple[QueueDepth, ...]:
        """As ``QueueDepthSeries.since``."""
        return self._series.since(begins)

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
