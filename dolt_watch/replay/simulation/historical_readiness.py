"""Readiness in the past: the rule of `bd ready`, read once at each commit that can change it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime

from dolt_watch.beads.readiness import readiness_at
from dolt_watch.beads.schema import TrackerSchema
from dolt_watch.core.model import HoldReason
from dolt_watch.engines import Engine


class HistoricalReadiness:
    """Readiness at any moment of a history.

    ``schema``: the shape of the tables as they are now. ``begins``: the commit at which the
    history begins. ``marks``: date and commit of each later change that may make a bead ready.

    History holds neither wisps nor a trustworthy `is_blocked`, so both are left out here.
    """

    def __init__(
        self,
        engine: Engine,
        schema: TrackerSchema,
        begins: str,
        marks: Sequence[tuple[datetime, str]],
    ) -> None:
        self.engine, self.schema = engine, schema
        self._dates = [at for at, _ in marks]
        self._commits = [begins, *(commit for _, commit in marks)]
        self._known: dict[tuple[str, str], tuple[HoldReason | None, datetime | None]] = {}
        """Bead and commit → what holds it, and when a deferral that holds it ends."""

    def holds(self, beads: Sequence[str], now: datetime) -> dict[str, HoldReason]:
        """Return why beads are not ready at that moment."""
        commit = self._commit(now)
        new = [bead for bead in beads if not self._still_holds(bead, commit, now)]
        if new:
            found = readiness_at(self.engine, new, self.schema, now, commit)
            self._known |= {
                (bead, commit): (found.holds.get(bead), found.until.get(bead)) for bead in new
            }
        held = {bead: self._known[bead, commit][0] for bead in beads}
        return {bead: hold for bead, hold in held.items() if hold is not None}

    def next_change_at(self, beads: Sequence[str], now: datetime) -> datetime | None:
        """Return when time alone, or a change in history, may make one of these ready."""
        commit = self._commit(now)
        moments = [self._known[bead, commit][1] for bead in beads]
        place = bisect_right(self._dates, now)
        return min(
            (at for at in (*moments, *self._dates[place : place + 1]) if at is not None),
            default=None,
        )

    def _commit(self, now: datetime) -> str:
        return self._commits[bisect_right(self._dates, now)]

    def _still_holds(self, bead: str, commit: str, now: datetime) -> bool:
        known = self._known.get((bead, commit))
        return known is not None and (known[1] is None or known[1] > now)
