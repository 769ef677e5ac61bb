"""Types of an entry's ``detail``: one for each kind of payload, with its JSON. Pure.

``detail`` stays JSON in the ledger, in ``LedgerEntry`` and in ``Decision``: the ledger is
append-only, users read it, and keys that this release does not know must be kept. Programs write
and read it through these types. ``recorded_inputs`` has the inputs of a decision.

Any database user can write to the ledger, so a value of another shape reads as missing. ``encode``
leaves out None and keeps the order of the fields. A part that is known later is merged into the
detail as a payload of its own (``{**detail, **Claimed(site=site).encode()}``). Times are ISO 8601
text in UTC.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, Self

from dolt_watch.core.model.ledger_entry import EntryEffects
from dolt_watch.core.model.reason_codes import CODES, ReasonCode
from dolt_watch.timestamps import parse_foreign


def _text(detail: Mapping[str, Any], name: str) -> str:
    value = detail.get(name)
    return value if isinstance(value, str) else ""


def _number(detail: Mapping[str, Any], name: str) -> int | None:
    value = detail.get(name)
    return value if isinstance(value, int) else None


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _present(detail: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in detail.items()
        if value is not None
    }


class Envelope(NamedTuple):
    """Every entry: the code of its reason, the program and host that wrote it, and what its own
    commit changed.
    """

    program: str = ""
    host: str = ""
    wrote: EntryEffects = EntryEffects()
    reason_code: ReasonCode | None = None
    """None in an entry from before the codes, and if there is no reason."""

    @classmethod
    def decode(cls, detail: Mapping[str, Any]) -> Self:
        code = CODES.get(str(detail.get("reason_code")))
        program, host = _text(detail, "program"), _text(detail, "host")
        wrote = detail.get("wrote")
        if not isinstance(wrote, dict):
            return cls(program, host, reason_code=code)
        cells, events = wrote.get("cells"), wrote.get("events")
        effects = EntryEffects(
            {
                name: (pair[0], pair[1])
                for name, pair in (cells.items() if isinstance(cells, dict) else ())
                if isinstance(pair, list) and len(pair) == 2
            },
            _text(wrote, "note"),
            tuple(event for event in events if isinstance(event, str))
            if isinstance(events, list)
            else (),
            wrote.get("events_in_history") is not False,
        )
        return cls(program, host, effects, code)

    def encode(self) -> dict[str, Any]:
        wrote = {
            "cells": dict(self.wrote.cells),
            "note": self.wrote.note,
            "events": list(self.wrote.events),
            "events_in_history": None if self.wrote.events_in_history else False,
        }
        return _present(
            {
                "reason_code": self.reason_code.value if self.reason_code is not None else None,
                "program": self.program,
                "host": self.host,
                "wrote": _present(wrote),
            }
        )


class Resend(NamedTuple):
    """A claim of a bead whose outcome was unknown: since when, and when it was claimed before."""

    since: datetime | None
    claimed: datetime | None

    def encode(self) -> dict[str, Any]:
        return {"resend": {"since": _iso(self.since), "claimed": _iso(self.claimed)}}


class Claimed(NamedTuple):
    """``claim``: the bead's place in the queue, the free slots at that time, and the deadline of
    its worker.
    """

    rank: tuple[Any, ...] | None = None
    """The values of the rule's ``order_by``. Not decoded."""
    place: int | None = None
    free: int | None = None
    slots_used: int | None = None
    """Claims planned before it for the same target, in the same plan."""
    deferred_note: str = ""
    """The claim's note, if it is written only after an answer after which an agent runs."""
    site: str = ""
    """The ID of the host and state directory. Only a worker there can settle the run."""
    deadline: datetime | None = None
    resend: Resend | None = None

    @classmethod
    def decode(cls, detail: Mapping[str, Any]) -> Self:
        again = detail.get("resend")
        resend = (
            Resend(parse_foreign(again.get("since")), parse_foreign(again.get("claimed")))
            if isinstance(again, dict)
            else None
        )
        return cls(
            place=_number(detail, "place"),
            free=_number(detail, "free"),
            slots_used=_number(detail, "slots_used"),
            deferred_note=_text(detail, "deferred_note"),
            site=_text(detail, "site"),
            deadline=parse_foreign(detail.get("deadline")),
            resend=resend,
        )

    def encode(self) -> dict[str, Any]:
        detail = {
            "rank": list(self.rank) if self.rank is not None else None,
            "place": self.place,
            "free": self.free,
            "slots_used": self.slots_used,
            "deferred_note": self.deferred_note or None,
            "site": self.site or None,
            "deadline": self.deadline,
        }
        return _present(detail) | (self.resend.encode() if self.resend is not None else {})

    @property
    def tries(self) -> bool:
        """Return whether the claim tries a target that was unhealthy."""
        return self.resend is not None or bool(self.deferred_note)


class Withheld(NamedTuple):
    """The note and status that an outcome entry could not write into the row during a migration of
    bd.
    """

    note: str
    status: str


class Ended(NamedTuple):
    """The end of an attempt: ``failed``, ``unknown``, ``busy``, ``retry``, ``overdue`` …."""

    since: datetime | None = None
    """Since when the outcome was unknown."""
    deadline: datetime | None = None
    """``overdue``: the claim's, which passed."""
    until: datetime | None = None
    """The target is left alone until then."""
    retry_at: datetime | None = None
    target: str = ""
    """The target, if its health was or is in question."""
    unreachable: str = ""
    """The part that could not be reached: 'target' or 'service'."""
    tries: int | None = None
    """Failed tries in the outage, including this one."""
    next_try: datetime | None = None
    busy: int | None = None
    """Consecutive busy answers, including this one."""
    ended: str | None = None
    """The target's word for how the job ended. None if the target was not asked."""
    uncounted: bool = False
    """The attempt does not count against the bead."""
    uncounted_claim: datetime | None = None
    """Time of the claim that does not count for ``max_per_hour``."""
    withheld: Withheld | None = None

    @classmethod
    def decode(cls, detail: Mapping[str, Any]) -> Self:
        unreachable, ended = detail.get("unreachable"), detail.get("ended")
        withheld = detail.get("withheld")
        return cls(
            since=parse_foreign(detail.get("since")),
            deadline=parse_foreign(detail.get("deadline")),
            until=parse_foreign(detail.get("until")),
            retry_at=parse_foreign(detail.get("retry_at")),
            target=_text(detail, "target"),
            unreachable=str(unreachable) if unreachable else "",
            tries=_number(detail, "tries"),
            next_try=parse_foreign(detail.get("next_try")),
            busy=_number(detail, "busy"),
            ended=ended if isinstance(ended, str) else None,
            uncounted=bool(detail.get("uncounted")),
            uncounted_claim=parse_foreign(detail.get("uncounted_claim")),
            withheld=Withheld(_text(withheld, "note"), _text(withheld, "status"))
            if isinstance(withheld, dict)
            else None,
        )

    def encode(self) -> dict[str, Any]:
        return _present(
            {
                "since": self.since,
                "deadline": self.deadline,
                "until": self.until,
                "retry_at": self.retry_at,
                "target": self.target or None,
                "unreachable": self.unreachable or None,
                "tries": self.tries,
                "next_try": self.next_try,
                "busy": self.busy,
                "ended": self.ended,
                "uncounted": self.uncounted or None,
                "uncounted_claim": self.uncounted_claim,
                "withheld": self.withheld._asdict() if self.withheld is not None else None,
            }
        )


class LastSign(NamedTuple):
    """A sign of life: what it was, by which actor, in which commit."""

    what: str
    who: str
    commit: str


LONGEST_SILENCE = 10**8
"""Seconds. ``stale_after`` is at most a year, and adding a longer time could overflow."""


class Reaped(NamedTuple):
    """``reap`` and ``requeue``: the last sign of life, the silence since then, and how the job
    ended.
    """

    last_sign: datetime | None = None
    sign: LastSign | None = None
    """None: there was none since the attempt began."""
    idle_seconds: int = 0
    stale_after_seconds: int | None = None
    uncounted: bool = False
    """``requeue``: the target was at fault, so the attempt does not count."""
    uncounted_claim: datetime | None = None
    retry_at: datetime | None = None
    """``requeue``: when the bead is due again."""
    ended: str = ""
    """The target's word for how the job ended. '' if silence alone is the reason."""

    @classmethod
    def decode(cls, detail: Mapping[str, Any]) -> Self:
        sign, ended = detail.get("sign"), detail.get("ended")
        threshold = _number(detail, "stale_after_seconds")
        return cls(
            last_sign=parse_foreign(detail.get("last_sign")),
            sign=LastSign(_text(sign, "what"), _text(sign, "who"), _text(sign, "commit"))
            if isinstance(sign, dict) and _text(sign, "what")
            else None,
            idle_seconds=_number(detail, "idle_seconds") or 0,
            stale_after_seconds=threshold
            if threshold is not None and 0 <= threshold <= LONGEST_SILENCE
            else None,
            uncounted=bool(detail.get("uncounted")),
            uncounted_claim=parse_foreign(detail.get("uncounted_claim")),
            retry_at=parse_foreign(detail.get("retry_at")),
            ended=str(ended) if ended else "",
        )

    def encode(self) -> dict[str, Any]:
        detail = {
            "last_sign": _iso(self.last_sign),
            "sign": self.sign._asdict() if self.sign is not None else None,
            "idle_seconds": self.idle_seconds,
            "stale_after_seconds": self.stale_after_seconds,
        }
        more = {
            "uncounted": self.uncounted or None,
            "uncounted_claim": self.uncounted_claim,
            "retry_at": self.retry_at,
            "ended": self.ended or None,
        }
        return {**detail, **_present(more)}


class Attempt(NamedTuple):
    """``restore`` and ``renamed``: an attempt from the saved state."""

    phase: str = ""
    since: datetime | None = None
    sent_at: datetime | None = None
    deadline: datetime | None = None
    retry_at: datetime | None = None
    why: str = ""
    """``renamed``: the reason of the last failure."""
    why_code: str | None = None
    """The code of ``why``. None in an entry without codes, and if there is no code."""
    renamed_from: str = ""

    @classmethod
    def decode(cls, detail: Mapping[str, Any]) -> Self:
        code = detail.get("why_code")
        return cls(
            phase=_text(detail, "phase"),
            since=parse_foreign(detail.get("since")),
            sent_at=parse_foreign(detail.get("sent_at")),
            deadline=parse_foreign(detail.get("deadline")),
            retry_at=parse_foreign(detail.get("retry_at")),
            why=_text(detail, "why"),
            why_code=str(code) if code is not None else None,
            renamed_from=_text(detail, "renamed_from"),
        )

    def encode(self) -> dict[str, Any]:
        """Return the JSON. A restored attempt has neither ``retry_at`` nor ``why``. A renamed one
        has both, even if they are empty.
        """
        detail = {
            "since": _iso(self.since),
            "sent_at": _iso(self.sent_at),
            "deadline": _iso(self.deadline),
        }
        if not self.renamed_from:
            return {**detail, "phase": self.phase}
        code = {"why_code": self.why_code} if self.why_code is not None else {}
        renamed = {"phase": self.phase, "why": self.why, **code, "renamed_from": self.renamed_from}
        return {**detail, "retry_at": _iso(self.retry_at), **renamed}


class OutageChange(NamedTuple):
    """``outage`` and ``recovered``: the target, since when, and the part that can't be reached."""

    target: str
    since: datetime | None = None
    part: str = ""
    """``outage``: 'target', 'service' or 'capacity'."""
    next_try: datetime | None = None
    """``outage``: when the target is tried again."""
    by: str = ""
    """``recovered``: whether a 'dispatch' or a 'health' check found the end."""

    @classmethod
    def decode(cls, detail: Mapping[str, Any]) -> Self:
        return cls(
            target=_text(detail, "target"),
            since=parse_foreign(detail.get("since")),
            part=_text(detail, "part"),
            next_try=parse_foreign(detail.get("next_try")),
            by=_text(detail, "by"),
        )

    def encode(self) -> dict[str, Any]:
        if self.by:
            return {"target": self.target, "since": _iso(self.since), "by": self.by}
        moments = {"since": _iso(self.since), "next_try": _iso(self.next_try)}
        return {"target": self.target, "part": self.part, **moments}


class Paused(NamedTuple):
    """``pause``: its end, whether it pauses reaping, and the user."""

    until: datetime | None = None
    reaping: bool = False
    by: str = ""

    @classmethod
    def decode(cls, detail: Mapping[str, Any]) -> Self:
        return cls(
            parse_foreign(detail.get("until")),
            bool(detail.get("reaping")),
            str(detail.get("by") or ""),
        )

    def encode(self) -> dict[str, Any]:
        return {"until": _iso(self.until), "reaping": self.reaping, "by": self.by}


class Resumed(NamedTuple):
    """``resume``: the person."""

    by: str

    @classmethod
    def decode(cls, detail: Mapping[str, Any]) -> Self:
        return cls(_text(detail, "by"))

    def encode(self) -> dict[str, Any]:
        return self._asdict()


class Remade(NamedTuple):
    """``resync``: the first and last commit, the number of beads, and those held until a resume."""

    from_commit: str = ""
    to_commit: str = ""
    beads: int = 0
    held: tuple[str, ...] = ()

    @classmethod
    def decode(cls, detail: Mapping[str, Any]) -> Self:
        held = detail.get("held")
        named = (
            tuple(one for one in held if isinstance(one, str))
            if isinstance(held, list | tuple)
            else ()
        )
        return cls(_text(detail, "from"), _text(detail, "to"), _number(detail, "beads") or 0, named)

    def encode(self) -> dict[str, Any]:
        return {
            "from": self.from_commit,
            "to": self.to_commit,
            "beads": self.beads,
            "held": list(self.held),
        }


class Reprocessed(NamedTuple):
    """``reprocess``: the commit after which changes are applied again, and the user."""

    from_commit: str
    by: str

    def encode(self) -> dict[str, Any]:
        return {"from": self.from_commit, "by": self.by}


class ByHand(NamedTuple):
    """``manual-retry``, ``manual-stop`` and ``manual-release``: the user, the phase before, and the
    status of the row before.
    """

    by: str
    was: str
    row: str | None

    @classmethod
    def decode(cls, detail: Mapping[str, Any]) -> Self:
        return cls(_text(detail, "by"), _text(detail, "was"), _text(detail, "row") or None)

    def encode(self) -> dict[str, Any]:
        return self._asdict()
