"""The recorded inputs of a decision (``detail.given``), and their JSON. Pure.

Any database user can write to the ledger, so a value of another shape reads as not recorded.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

from dolt_watch.core.model.bead import EMPTY
from dolt_watch.core.model.ledger_entry import LedgerEntry
from dolt_watch.core.model.observations import Capacity, Health, JobReport, Lease, Verdict
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.timestamps import parse_foreign


class RecordedInputs(NamedTuple):
    """The inputs of a decision that history doesn't contain.

    A replay computes everything else.

    - ``now``: the time of the decision.
    - ``scope``: the kinds of decision of the command, ``dispatch`` or ``reap`` or both.
    - ``acts``: true if only a user's act frees an attempt (decision page 0015). Older entries lack
      it.
    - ``made``: the commit at which the state was last rebuilt.
    - ``poll``: the interval of the `run` that decided, in seconds. Only a what-if uses it.
    - ``passed``: beads that were left out for a reason that only this command or the working set
      knew.
    - ``readiness``: the version of the readiness rule. Entries without it use version 1.
    - ``capacity``: target → free slots, whether the target reported that it is idle, the reason.
    - ``verdicts``: bead → the target's verdict on its job, the target's own word, its error text,
      and an object with ``dead``, ``started``, ``limited``, ``resets_at``, ``active_at``, ``job``,
      ``failed_at_start``, ``target_failed`` if the target knows more.
    - ``leases``: bead → holder, last heartbeat and expiry of its lease (of stale beads and beads of
      unknown outcome).
    - ``answer``: the target's answer (outcome entries only).
    - ``jitter``: from 0 to 1, the random part of the pause before the next attempt or try (outcome
      entries and outages only).
    - ``outages``: target → failed tries in its outage, and when the next try was due.
    - ``health``: busy answers in a row, failed tries, whether the bead's notes mention the outage,
      and the deferred note of the claim (outcome entries only).
    """

    now: datetime | None = None
    """None: the decision can't be computed again."""
    scope: tuple[str, ...] | None = None
    """'dispatch', 'reap'; None in an outcome, which is decided by an answer."""
    made: str = ""
    acts: bool = False
    """Whether only a user's act frees an attempt."""
    readiness: int | None = None
    """Version of the readiness rule; None if no readiness was asked for."""
    poll: timedelta | None = None
    """Interval of the `run` that decided; None if a one-shot command did, or an older program."""
    passed: Mapping[str, str] = EMPTY
    """Bead → the gate that only this command or the working set knew."""
    capacity: Mapping[str, Capacity] = EMPTY
    verdicts: Mapping[str, JobReport] = EMPTY
    leases: Mapping[str, Lease] = EMPTY
    outages: Mapping[str, tuple[int, datetime]] = EMPTY
    """Target → failed tries, and when the next try was due."""
    jitter: float | None = None
    answer: Mapping[str, Any] | None = None
    """As ``encode_answer`` returns it."""
    health: Health | None = None
    """None: the program that recorded the entry did not track its target's health."""

    @classmethod
    def decode(cls, detail: Mapping[str, Any]) -> Self:
        given = detail.get("given")
        if not isinstance(given, dict):
            return cls()
        scope, made, answer = given.get("scope"), given.get("made"), given.get("answer")
        jitter, ready = given.get("jitter"), given.get("readiness")
        return cls(
            now=_now(given.get("now")),
            scope=tuple(one for one in scope if isinstance(one, str))
            if isinstance(scope, list | tuple)
            else None,
            made=made if isinstance(made, str) else "",
            acts=given.get("acts") is True,
            readiness=ready if isinstance(ready, int) else None,
            poll=_poll(given.get("poll")),
            passed={bead: gate for bead, gate in _items(given, "passed") if isinstance(gate, str)},
            capacity=dict(_capacity(given)),
            verdicts=dict(_verdicts(given)),
            leases=dict(_leases(given)),
            outages=dict(_outages(given)),
            jitter=float(jitter) if isinstance(jitter, int | float) and 0 <= jitter <= 1 else None,
            answer=answer if isinstance(answer, dict) else None,
            health=_health(given.get("health")),
        )

    def encode(self) -> dict[str, Any]:
        """Return the part of an entry's detail. Unknown and empty values are left out."""
        given: dict[str, Any] = {
            "now": self.now.isoformat() if self.now is not None else None,
            "scope": list(self.scope) if self.scope is not None else None,
            "made": self.made,
            "acts": self.acts or None,
            "readiness": self.readiness,
            "poll": self.poll.total_seconds() if self.poll is not None else None,
            "passed": dict(self.passed) or None,
            "capacity": {
                name: [one.slots, one.idle, one.why]
                + ([one.down, one.proof] if one.down or one.proof else [])
                for name, one in self.capacity.items()
            }
            or None,
            "verdicts": {bead: _verdict_as(one) for bead, one in self.verdicts.items()} or None,
            "leases": {bead: _lease_as(one) for bead, one in self.leases.items()} or None,
            "outages": {name: [tries, at.isoformat()] for name, (tries, at) in self.outages.items()}
            or None,
            "jitter": self.jitter,
            "answer": self.answer,
            "health": list(self.health) if self.health is not None else None,
        }
        return {"given": {name: value for name, value in given.items() if value is not None}}


def _verdict_as(one: JobReport) -> list[Any]:
    """Return a verdict as it is recorded. Default values are left out."""
    values: list[Any] = [one.verdict.value, one.status_text, one.error]
    known = {
        name: value
        for name, value in one._asdict().items()
        if value != JobReport._field_defaults.get(name)
    }
    more = {name: _moment_as(known[name]) for name in _MORE if name in known}
    return [*values, more] if more else values


def _moment_as(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _lease_as(one: Lease) -> list[str]:
    return [one.holder, one.heartbeat.isoformat(), one.expires.isoformat()]


LONGEST_POLL = 86400.0
"""Seconds. A recorded interval that is longer is not one of a `run`."""

_MORE = (
    "dead",
    "started",
    "limited",
    "resets_at",
    "active_at",
    "job",
    "failed_at_start",
    "target_failed",
)
"""Fields of a verdict that only some targets know."""


EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""No decision is older. Subtracting from a time near the year 1 overflows."""
LONGEST_WAIT = 1e9
"""Seconds. Adding a longer pause to a time could overflow."""


def _now(value: Any) -> datetime | None:
    moment = parse_foreign(value)
    return moment if moment is not None and moment >= EARLIEST else None


def _poll(value: Any) -> timedelta | None:
    usual = isinstance(value, int | float) and 0 < value < LONGEST_POLL
    return timedelta(seconds=value) if usual else None


def _outages(given: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, datetime]]]:
    for target, value in _items(given, "outages"):
        match value:
            case [int() as tries, str() as text] if (at := parse_foreign(text)) is not None:
                yield target, (tries, at)


def _health(value: Any) -> Health | None:
    match value:
        case [int() as busy, int() as tries, noted, str() as note]:
            return Health(busy, tries, bool(noted), note)
    return None


def _capacity(given: Mapping[str, Any]) -> Iterator[tuple[str, Capacity]]:
    for target, value in _items(given, "capacity"):
        match value:
            case [int() | None as slots, idle, str() as why]:
                yield target, Capacity(slots, why, bool(idle))
            case [int() | None as slots, idle, str() as why, down, str() as proof]:
                yield target, Capacity(slots, why, bool(idle), bool(down), proof)


def _verdicts(given: Mapping[str, Any]) -> Iterator[tuple[str, JobReport]]:
    for bead, value in _items(given, "verdicts"):
        match value:
            case [str() as verdict, str() as word, str() as error]:
                with suppress(ValueError):
                    yield bead, JobReport(Verdict(verdict), word, error)
            case [str() as verdict, str() as word, str() as error, dict() as more]:
                with suppress(ValueError):
                    yield bead, _known(JobReport(Verdict(verdict), word, error), more)


def _known(report: JobReport, more: Mapping[str, Any]) -> JobReport:
    job = more.get("job")
    return report._replace(
        dead=more.get("dead") is True,
        started=more.get("started") is not False,
        limited=more.get("limited") is True,
        resets_at=parse_foreign(more.get("resets_at")),
        active_at=parse_foreign(more.get("active_at")),
        failed_at_start=more.get("failed_at_start") is True,
        target_failed=more.get("target_failed") is True,
        job=job if isinstance(job, str) else "",
    )


def _leases(given: Mapping[str, Any]) -> Iterator[tuple[str, Lease]]:
    for bead, value in _items(given, "leases"):
        match value:
            case [str() as holder, str() as heartbeat, str() as expires]:
                at, until = parse_foreign(heartbeat), parse_foreign(expires)
                if at is not None and until is not None:
                    yield bead, Lease(holder, at, until)


def _items(given: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    value = given.get(name, EMPTY)
    yield from value.items() if isinstance(value, dict) else ()


_ANSWER_KEYS = {
    "status": "status",
    "for_good": "permanent",
    "stops": "halts_rule",
    "retry_after": "retry_after",
    "unreachable": "unreachable",
    "not_found": "not_found",
}
"""Key in the ledger → attribute of the answer. Keys never change, because entries outlive names."""


def encode_answer(answer: Answer) -> dict[str, Any]:
    """Return the answer as the outcome entry's detail contains it.

    Its text and its job are in the entry's own columns.
    """
    kept = {key: getattr(answer, name, None) for key, name in _ANSWER_KEYS.items()}
    return {"is": type(answer).__name__.lower()} | {
        name: value for name, value in kept.items() if value
    }


def decode_answer(entry: LedgerEntry) -> Answer | None:
    """Return the answer that an entry was made from. None if the entry has none."""
    kept = RecordedInputs.decode(entry.detail).answer
    if kept is None:
        return None
    status = kept.get("status")
    match kept.get("is"):
        case "accepted":
            return Accepted(entry.job, status or 200)
        case "busy":
            return Busy(entry.reason, status, _wait(kept.get("retry_after")))
        case "refused":
            return Refused(
                entry.reason,
                status,
                bool(kept.get("for_good")),
                bool(kept.get("stops")),
                _part(kept),
                not_found=_not_found(entry, kept),
            )
        case "unknown":
            return Unknown(entry.reason, status, _part(kept))
    return None


def _not_found(entry: LedgerEntry, kept: Mapping[str, Any]) -> bool:
    """Return whether the target did not find the bead.

    An entry without a code says so only in its text.
    """
    coded = "reason_code" in entry.detail
    return bool(kept.get("not_found")) if coded else entry.reason_code is ReasonCode.BEAD_NOT_FOUND


def _wait(value: Any) -> float | None:
    usual = isinstance(value, int | float) and 0 <= value <= LONGEST_WAIT
    return value if usual else None


def _part(kept: Mapping[str, Any]) -> str:
    part = kept.get("unreachable")
    return part if isinstance(part, str) else ""
