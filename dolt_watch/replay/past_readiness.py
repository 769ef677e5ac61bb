"""Readiness in the past: the rule of `bd ready`, read once at each commit that can change it.

History holds neither wisps nor a trustworthy `is_blocked`, so both are left out here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime

from dolt_watch.beads.readiness import readiness_at
from dolt_watch.core.model import HoldReason
from dolt_watch.replay.replayer import HistoryReplayer


class KnownReadiness:
    """Readiness of beads, each read once until a change or time alone can change it."""

    def __init__(self, replayer: HistoryReplayer) -> None:
        self.replayer = replayer
        self._known: dict[str, tuple[HoldReason | None, datetime | None]] = {}
        """Bead → hold or None, and the end of its deferral or None."""

    def clear(self) -> None:
        """Forget what is known: a commit can change it."""
        self._known.clear()

    def holds(self, beads: Sequence[str], now: datetime, commit: str) -> dict[str, HoldReason]:
        """Return why beads are not ready at a commit."""
        new = [bead for bead in beads if not self._is_known(bead, now)]
        if new:
            engine, schema = self.replayer.engine, self.replayer.schema
            found = readiness_at(engine, new, schema, now, commit)
            self._known |= {bead: (found.holds.get(bead), found.until.get(bead)) for bead in new}
        held = {bead: self._known[bead][0] for bead in beads}
        return {bead: hold for bead, hold in held.items() if hold is not None}

    def until(self, bead: str) -> datetime | None:
        """Return the end of the bead's deferral; None if it is not deferred."""
        return self._known[bead][1]

    def _is_known(self, bead: str, now: datetime) -> bool:
        return bead in self._known and ((until := self.until(bead)) is None or until > now)


class HistoricalReadiness:
    """Readiness at moments of a history, which must not run backwards.

    ``begins``: the commit at which the history begins. ``marks``: date and commit of each later
    change that may make a bead ready.
    """

    def __init__(
        self, replayer: HistoryReplayer, begins: str, marks: Sequence[tuple[datetime, str]]
    ) -> None:
        self._dates = [at for at, _ in marks]
        self._commits = [begins, *(commit for _, commit in marks)]
        self._place = 0
        self._known = KnownReadiness(replayer)

    def holds(self, beads: Sequence[str], now: datetime) -> dict[str, HoldReason]:
        """Return why beads are not ready at that moment."""
        place = bisect_right(self._dates, now)
        if place != self._place:
            self._known.clear()
        self._place = place
        return self._known.holds(beads, now, self._commits[place])

    def next_change_at(self, beads: Sequence[str], now: datetime) -> datetime | None:
        """Return when time alone, or a change in history, may make one of these ready."""
        place = bisect_right(self._dates, now)
        moments = [*map(self._known.until, beads), *self._dates[place : place + 1]]
        return min((at for at in moments if at is not None), default=None)
