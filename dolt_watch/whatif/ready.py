"""Readiness in the past: bd's own gates, asked of history at the last commit that could change them, and once for each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from dolt_watch.engines import Engine
from dolt_watch.engines.sql import chunks
from dolt_watch.gates import readiness
from dolt_watch.model import Hold
from dolt_watch.times import written

_CHUNK = 200


class Ready:
    """``begins``: the commit at which the history begins; ``marks``: date and commit of each later change that may make a bead ready."""

    def __init__(
        self, engine: Engine, columns: Collection[str], begins: str, marks: Sequence[tuple[datetime, str]]
    ) -> None:
        self.engine, self.columns = engine, columns
        self._dates = [at for at, _ in marks]
        self._commits = [begins, *(commit for _, commit in marks)]
        self._known: dict[tuple[str, str], tuple[Hold | None, datetime | None]] = {}
        """Bead and commit → what holds it, and until when if only time is to pass."""

    def holds(self, beads: Sequence[str], now: datetime) -> dict[str, Hold]:
        commit = self._commit(now)
        new = [bead for bead in beads if not self._stands(bead, commit, now)]
        if new:
            found = readiness(self.engine.query, new, self.columns, now, commit)
            until = self._deferred(list(found), commit, now)
            self._known |= {(bead, commit): (found.get(bead), until.get(bead)) for bead in new}
        held = {bead: self._known[bead, commit][0] for bead in beads}
        return {bead: hold for bead, hold in held.items() if hold is not None}

    def wakes(self, beads: Sequence[str], now: datetime) -> datetime | None:
        """When time alone, or a change in history, may let one of these go."""
        commit = self._commit(now)
        moments = [self._known[bead, commit][1] for bead in beads]
        place = bisect_right(self._dates, now)
        return min((at for at in (*moments, *self._dates[place : place + 1]) if at is not None), default=None)

    def _commit(self, now: datetime) -> str:
        return self._commits[bisect_right(self._dates, now)]

    def _stands(self, bead: str, commit: str, now: datetime) -> bool:
        known = self._known.get((bead, commit))
        return known is not None and (known[1] is None or known[1] > now)

    def _deferred(self, beads: Sequence[str], commit: str, now: datetime) -> Mapping[str, datetime]:
        if "defer_until" not in self.columns:
            return {}
        found: dict[str, datetime] = {}
        for chunk in chunks(beads, _CHUNK):
            marks = ", ".join("?" * len(chunk))
            sql = f"SELECT id, defer_until FROM issues AS OF '{commit}' WHERE id IN ({marks})"
            for bead, until in self.engine.query(sql, chunk):
                at = written(until)
                if at is not None and at > now:
                    found[bead] = at
        return found
