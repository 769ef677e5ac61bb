"""Numbers of waiting beads and of beads in flight, after each change of one history. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from dolt_watch.core.model import IN_FLIGHT, Bead, Phase
from dolt_watch.stats import QueueDepth, QueueDepthSeries


class QueueDepthRecorder:
    """Counts beads.

    Args:
        beads: those at the beginning.
        rule: only beads of this rule; '' for all.
    """

    def __init__(self, beads: Mapping[str, Bead], rule: str = "") -> None:
        self.rule = rule
        # By bead, not by the state before an event: a rebuild of the state has no such events.
        self._waiting: set[str] = set()
        self._under_way: set[str] = set()
        for bead in beads.values():
            self._put(bead.id, bead)
        self._series = QueueDepthSeries(len(self._waiting), len(self._under_way))

    def record(self, at: datetime, id: str, bead: Bead | None) -> None:
        """Record a bead after an event; None if it has no phase."""
        self._put(id, bead)
        self._series.add(at, len(self._waiting), len(self._under_way))

    def reset(self, at: datetime, beads: Mapping[str, Bead]) -> None:
        """Record all beads, after a decision that is about no bead, such as a resume."""
        self._waiting.clear()
        self._under_way.clear()
        for bead in beads.values():
            self._put(bead.id, bead)
        self._series.add(at, len(self._waiting), len(self._under_way))

    def since(self, begins: datetime) -> tuple[QueueDepth, ...]:
        """Return the counts since a time, as ``QueueDepthSeries.since`` does."""
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
