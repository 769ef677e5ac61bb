"""A target's outages and busy answers in the state. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dolt_watch.core.model import (
    EntryKind,
    LedgerEntry,
    Outage,
    entry_payloads,
)


@dataclass(eq=False, repr=False)
class TargetOutages:
    """The targets' part of the projection."""

    outages: dict[str, Outage]
    busy: dict[str, int]

    def apply(self, entry: LedgerEntry, ended: entry_payloads.Ended) -> None:
        """Apply an entry of the ledger that names a target."""
        target, busy = ended.target, ended.busy
        if entry.kind is EntryKind.OUTAGE:
            self.outages[target] = self._begun(target, entry)
        elif entry.kind is EntryKind.RECOVERED:
            self.outages.pop(target, None)
        elif is_unreachable(entry):
            self._failed(target, entry, ended)
        elif entry.kind is not EntryKind.BUSY or busy is not None:
            self._answered(target)
            if busy is not None:
                self.busy[target] = busy

    def _begun(self, target: str, entry: LedgerEntry) -> Outage:
        known = self.outages.get(target)
        if known is not None:
            return known._replace(recorded=True)
        begun = entry_payloads.OutageChange.decode(entry.detail)
        since, part = begun.since or entry.at, begun.part
        return Outage(since, entry.reason, part, _next_try(entry), recorded=True)

    def _failed(self, target: str, entry: LedgerEntry, ended: entry_payloads.Ended) -> None:
        known = self.outages.get(target)
        tries = 1 if ended.tries is None else ended.tries
        if known is None:
            part = ended.unreachable
            known = Outage(
                since=entry.at, why=entry.reason, part=part, next_at=_next_try(entry), tries=tries
            )
        at, tries = max(known.next_at, _next_try(entry)), max(known.tries, tries)
        noted = known.noted if entry.bead in known.noted else (*known.noted, entry.bead)
        self.outages[target] = known._replace(next_at=at, tries=tries, noted=noted, answered=False)
        self.busy.pop(target, None)

    def _answered(self, target: str) -> None:
        self.busy.pop(target, None)
        known = self.outages.get(target)
        if known is not None:
            self.outages[target] = known._replace(answered=True)


def is_unreachable(entry: LedgerEntry) -> bool:
    """Return whether an outcome entry records that the target could not be reached."""
    return entry.kind in (EntryKind.FAILED, EntryKind.UNKNOWN) and bool(
        entry_payloads.Ended.decode(entry.detail).unreachable
    )


def _next_try(entry: LedgerEntry) -> datetime:
    return entry_payloads.Ended.decode(entry.detail).next_try or entry.at
