"""Notifications: failures are sent to a webhook at least once.

Unsent notices are saved next to the cursor.
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
"""Longest time in seconds for one notice in a tick. After a failure, the other notices wait for a
later tick.
"""
RETRY_INTERVAL = timedelta(minutes=1)
MAX_QUEUED = 500
"""Maximum number of queued notices. If the queue is full, the oldest are dropped and a warning is
logged. The ledger contains their decisions.
"""


class Receiver(Protocol):
    """The part of a webhook that sends notices."""

    def deliver(self, id: str, event: Mapping[str, Any], timeout: float) -> Any: ...


def build_notice(entry: LedgerEntry) -> dict[str, Any]:
    """Return the notice of an entry.

    Its ``id`` is always the same, so that the receiver can deduplicate.
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
    """Sends notices. ``receiver`` is opened with the first notice."""

    def __init__(self, receiver: Callable[[], Receiver]) -> None:
        self.receiver = receiver

    def _say(self, words: str) -> None:
        log_condition(logger, logging.WARNING, f"warning: {words}", LogEvent.NOTICE)

    def flush(self, waiting: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Send the waiting notices. Returns those that could not be sent."""
        # The queue is limited. The newest notices are kept.
        rest = list(waiting[-MAX_QUEUED:])
        if len(waiting) > MAX_QUEUED:
            self._say(
                f"{len(waiting) - MAX_QUEUED} notices were dropped because they could"
                " not be sent; the ledger contains their decisions"
            )
        # In order. Each is removed only after the receiver accepted it.
        while rest:
            notice = rest[0]
            event = {
                "type": TYPE,
                "subject": notice["bead"],
                "data": {k: v for k, v in notice.items() if k != "id"},
            }
            try:
                receiver = self.receiver()
            except SettingsError as error:  # A failure here doesn't affect decisions.
                where = f" ({error.where})" if error.where else ""
                self._say(
                    f"{len(rest)} notices wait, because the target can't be opened:"
                    f" {error.message}{where}"
                )
                break
            # 410 ends all deliveries. Another failure keeps this notice and those behind it.
            exchange = receiver.deliver(str(notice["id"]), event, TIMEOUT)
            if exchange.failure is None and exchange.status == 410:
                self._say(
                    f"the receiver of notices is gone (HTTP 410): {len(rest)} notices were dropped"
                )
                return []
            if (
                exchange.failure is not None
                or exchange.status is None
                or not 200 <= exchange.status < 300
            ):
                self._say(
                    f"{len(rest)} notices wait, because the receiver did not accept"
                    f" the first: {exchange.summary}"
                )
                break
            rest.pop(0)
        return rest
