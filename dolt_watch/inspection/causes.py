"""Causes of failures: reasons of ledger entries without the parts that differ from one bead to
the next. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dolt_watch.core.model import EntryKind, LedgerEntry, entry_payloads
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.sanitize import sanitize

KINDS = {
    EntryKind.FAILED: "failed",
    EntryKind.RETRY: "failed",
    EntryKind.STOPPED: "failed",
    EntryKind.QUARANTINED: "quarantined",
    EntryKind.REAP: "reaped",
    EntryKind.REQUEUE: "reaped",
    EntryKind.GIVE_UP: "blocked",
    EntryKind.UNKNOWN: "unknown",
    EntryKind.OVERDUE: "unknown",
}
"""Kinds of entries that report a failure → the word by which the page counts them."""
LONGEST = 200
"""Characters of a cause."""

_JSON = re.compile(r"\{.*\}\s*$", re.S)
_TOKEN = re.compile(r"[A-Za-z0-9][\w.\-]*[A-Za-z0-9]")
_RULES = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.I), "<uuid>"),
    (re.compile(r"\b(?=[a-v0-9]*\d)(?=[a-v0-9]*[a-v])[a-v0-9]{12,}\b"), "<hash>"),
    (re.compile(r"(?<![\w.])(\d+(\.\d+)?(ms|s|m|h|d))+(?!\w)"), "<duration>"),
    (re.compile(r"(?<![\w.:-])\d{4,}(?![\w.])"), "<number>"),
)
"""Parts that differ between failures of one cause, in this order. Short numbers stay:
status and exit codes are causes."""


@dataclass
class Cause:
    """One cause, and the failures that it explains."""

    text: str
    kinds: Counter[str] = field(default_factory=Counter)
    beads: set[str] = field(default_factory=set)
    last: datetime | None = None

    @property
    def number(self) -> int:
        return self.kinds.total()

    def count(self, kinds: Counter[str], beads: Collection[str], at: datetime | None) -> None:
        """Add failures of these kinds and beads, the last of them at this time."""
        self.kinds.update(kinds)
        self.beads.update(beads)
        if at is not None and (self.last is None or at > self.last):
            self.last = at


def group_causes(
    entries: Iterable[LedgerEntry], beads: Collection[str], since: datetime, limit: int = 12
) -> list[Cause]:
    """Return the causes of failures since a time, the most frequent first.

    Args:
        entries: The ledger's entries.
        beads: IDs that are left out of reasons.
        since: Older entries are not counted.
        limit: Maximum number of causes. The rest are counted as 'Other causes'.
    """
    found: dict[str, Cause] = {}
    for entry in entries:
        if entry.kind in KINDS and entry.at >= since:
            text = cause_of(entry, beads)
            cause = found.setdefault(text, Cause(text))
            cause.count(Counter([KINDS[entry.kind]]), {entry.bead}, entry.at)
    ordered = sorted(found.values(), key=lambda one: (-one.number, one.text))
    if len(ordered) > limit:
        rest = Cause("Other causes")
        for one in ordered[limit - 1 :]:
            rest.count(one.kinds, one.beads, one.last)
        ordered = [*ordered[: limit - 1], rest]
    return ordered


def cause_of(entry: LedgerEntry, beads: Collection[str]) -> str:
    """Return the entry's reason without IDs, times, durations and numbers.

    Reasons that contain a sum of minutes are recognized by their code.
    """
    if entry.reason_code is ReasonCode.NO_PROGRESS:
        return "No sign of life"
    if ended := entry_payloads.Reaped.decode(entry.detail).ended:
        return f"The job ended: {sanitize(ended, 60)}"
    if entry.kind is EntryKind.GIVE_UP:
        return "The outcome is still unknown"
    text = without_ids(error_text(entry.reason), beads, entry.job, entry.bead)
    return sanitize(text[:1].upper() + text[1:], LONGEST) if text else "No reason given"


def error_text(reason: str) -> str:
    """Return the reason with the JSON body at its end, if any, replaced by the body's own error."""
    body = _JSON.search(reason)
    if body is None:
        return reason
    # Late: few reasons contain JSON.
    import orjson

    try:
        value: Any = orjson.loads(body[0])
    except orjson.JSONDecodeError:
        return reason
    for key in ("error", "message", "detail", "title"):
        inner = value.get(key)
        if isinstance(inner, dict):
            inner = inner.get("message")
        if isinstance(inner, str) and inner:
            return reason[: body.start()] + inner
    return reason


def without_ids(text: str, beads: Collection[str], job: str = "", own: str = "") -> str:
    """Return the text with IDs of beads and of the job, times and numbers replaced.

    Args:
        text: A reason.
        beads: IDs of all beads.
        job: ID of the job, if any.
        own: One more ID of a bead.
    """

    def replaced(found: re.Match[str]) -> str:
        word = found[0]
        return "<id>" if word == own or word in beads else "<job>" if word == job else word

    text = _TOKEN.sub(replaced, text)
    for pattern, mark in _RULES:
        text = pattern.sub(mark, text)
    return text.strip()
