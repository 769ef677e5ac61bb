"""Stops the runs of ended attempts, so that a blocked bead has no live agent.

A target may offer ``stop(job, by, reason)`` and ``live_tokens()``. A run is stopped right after the
entry that ended its attempt. If the worker dies in between, the next tick finds the run by its
token.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from dolt_watch.core.model import EntryKind, JobReport, LedgerEntry, State, Verdict
from dolt_watch.engines import Engine
from dolt_watch.log_events import LogEvent, event_fields

if TYPE_CHECKING:
    from dolt_watch.targets.protocol import Target

logger = logging.getLogger(__name__)

ENDS_RUN = frozenset(
    {
        EntryKind.REAP,
        EntryKind.REQUEUE,
        EntryKind.GIVE_UP,
        EntryKind.RETRY,
        EntryKind.MANUAL_RETRY,
        EntryKind.MANUAL_STOP,
    }
)
"""Entries after which no run of their attempt may live."""
_KINDS = ", ".join(f"'{kind.value}'" for kind in sorted(ENDS_RUN))
_ENDED_BY = (
    "SELECT bead_id, actor, reason FROM watch_decision WHERE token = ? AND kind IN"
    f" ({_KINDS}) ORDER BY version DESC LIMIT 1"
)

_HAD_ATTEMPTS = (
    "SELECT 1 FROM watch_decision WHERE bead_id = ? AND kind IN"
    f" ({_KINDS}, '{EntryKind.RENAMED.value}') LIMIT 1"
)
"""A renamed bead has its earlier attempts in the stream of its old id."""


class RunStopper:
    """Stops runs of the targets named in ``names``: those with ``stop_on_reap``."""

    def __init__(
        self, engine: Engine, targets: Callable[[str], Target], names: Collection[str]
    ) -> None:
        self.engine, self.targets, self.names = engine, targets, names
        self._listed: str | None = None
        """The tick in which the live runs were listed: ``saved`` of its checkpoint."""

    def after(self, entry: LedgerEntry, target: str) -> None:
        """Stop the run of an entry that ended its attempt. Does nothing if the run has ended."""
        if target in self.names and entry.kind in ENDS_RUN and entry.token:
            job = entry.job or entry.token
            if not self._stop(target, entry.bead, job, entry.actor, entry.reason):
                self._listed = None  # The end of the tick tries again.

    def leftovers(self, state: State, tick: str, claimed: str = "") -> None:
        """Stop live runs of this site whose attempt an earlier tick or another worker ended.

        A list of runs can be long, so it is read once a tick, before the first claim. It is read
        again before a bead with earlier attempts is claimed: none of its runs may live then.

        Args:
            state: The state at HEAD.
            tick: ``saved`` of the checkpoint. Each tick that does something saves a new one.
            claimed: The bead that is about to be claimed. '' at the end of a tick.
        """
        if tick == self._listed and not (claimed and self._had_attempts(claimed)):
            return
        self._listed = tick
        under_way = {bead.token for bead in state.beads.values() if bead.token}
        for name in self.names:
            live = getattr(self.targets(name), "live_tokens", None)
            tokens = sorted(set(live()) - under_way) if live is not None else []
            for token in tokens:
                for bead, actor, reason in self.engine.query(_ENDED_BY, (token,)):
                    self._stop(name, str(bead), token, str(actor), str(reason))

    def _had_attempts(self, bead: str) -> bool:
        """Return whether an attempt of the bead ended. The state forgets ended attempts."""
        return bool(self.engine.query(_HAD_ATTEMPTS, (bead,)))

    def _stop(self, name: str, bead: str, job: str, by: str, reason: str) -> bool:
        """Stop one run. Returns whether nothing remains to be done."""
        stop = getattr(self.targets(name), "stop", None)
        if stop is None:
            return True
        report: JobReport = stop(job, by, reason)
        if report.verdict is Verdict.UNKNOWN:
            words = f"the run of {bead} can't be stopped from here: {report.error}"
            logger.info(words, extra=event_fields(LogEvent.NOT_STOPPED, bead=bead))
        elif not report.dead:
            words = (
                f"warning: the run of {bead} could not be stopped:"
                f" {report.error or 'it still runs'}"
            )
            logger.warning(words, extra=event_fields(LogEvent.NOT_STOPPED, bead=bead))
        return report.dead
