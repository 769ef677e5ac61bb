"""Notifications: decisions that went wrong, told to a webhook at least once.

What is not told yet stands beside the cursor, saved with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

from dolt_watch.core.model import LedgerEntry
from dolt_watch.errors import SettingsError
from dolt_watch.log_events import LogEvent, log_condition

logger = logging.getLogger(__name__)

TYPE = "dev.dolt-watch.decision"
TIMEOUT = 5.0
"""Seconds that telling may hold up a tick. Where it fails once, the rest waits for another tick."""
RETRY_INTERVAL = timedelta(minutes=1)
MAX_QUEUED = 500
"""That wait. Older ones are dropped then, with a warning: the ledger has them."""


class Receiver(Protocol):
    """What a webhook can do besides dispatching."""

    def deliver(self, id: str, told: Mapping[str, Any], timeout: float) -> Any: ...


def build_notice(entry: LedgerEntry) -> dict[str, Any]:
    """What is told of an entry.

    Its ``id`` is the same each time: the receiver deduplicates by it.
    """
    return {
        "id": f"{entry.bead}:{entry.version}:{int(entry.at.timestamp() * 1e6)}",
        "bead": entry.bead,
        "version": entry.version,
        "kind": entry.kind.value,
        "attempt": entry.attempt,
        "rule": entry.rule,
        "job": entry.job,
        "reason": entry.reason,
        "decided_at": entry.at.isoformat(),
    }


class Notifier:
    """``receiver``: opened when the first notice is there."""

    def __init__(self, receiver: Callable[[], Receiver]) -> None:
        self.receiver = receiver

    def _say(self, words: str) -> None:
        log_condition(logger, logging.WARNING, f"warning: {words}", LogEvent.NOTICE)

    def flush(self, waiting: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Tell what waits; what could not be told."""
        # The queue is bounded: the newest notices are kept.
        rest = list(waiting[-MAX_QUEUED:])
        if len(waiting) > MAX_QUEUED:
            self._say(
                f"{len(waiting) - MAX_QUEUED} notices were given up: nobody took them; the ledger"
                " has their decisions"
            )
        # In order, and each is removed only after the receiver took it.
        while rest:
            notice = rest[0]
            told = {
                "type": TYPE,
                "subject": notice["bead"],
                "data": {k: v for k, v in notice.items() if k != "id"},
            }
            try:
                receiver = self.receiver()
            except SettingsError as error:  # what was decided stands, whoever hears of it
                where = f" ({error.where})" if error.where else ""
                self._say(f"{len(rest)} notices wait, nobody can be told: {error.message}{where}")
                break
            # 410 ends all deliveries; another failure keeps this notice and those behind it.
            exchange = receiver.deliver(str(notice["id"]), told, TIMEOUT)
            if exchange.failure is None and exchange.status == 410:
                self._say(
                    f"whoever hears of decisions is gone (HTTP 410): {len(rest)} notices were"
                    " given up"
                )
                return []
            if (
                exchange.failure is not None
                or exchange.status is None
                or not 200 <= exchange.status < 300
            ):
                self._say(f"{len(rest)} notices wait, nobody took the first: {exchange.summary}")
                break
            rest.pop(0)
        return rest
