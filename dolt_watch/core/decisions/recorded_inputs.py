"""The recorded inputs of a decision (``detail.given``): how they are written and read. Pure.

``made`` is read where history is applied again (``replay.replayer``), ``answer`` where answers are
decoded (``core.decisions.settlement``). Any database user can write to the ledger, so a value of
another shape reads as not recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from dolt_watch.core.decisions.circuit_breaker import Health
from dolt_watch.core.decisions.policy import (
    ATTEMPTED,
    UNCOMMITTED,
    UNVERSIONED,
    Observations,
    Scope,
)
from dolt_watch.core.model import (
    EMPTY,
    Capacity,
    HoldReason,
    JobReport,
    Lease,
    LedgerEntry,
    State,
    Verdict,
)
from dolt_watch.timestamps import parse_foreign

READINESS = 2
"""Version of the readiness rule (`dolt_watch.beads.readiness`).

Version 1 is kept for `replay --verify`.
"""

UNRECORDED = (ATTEMPTED, UNCOMMITTED, UNVERSIONED)
"""Gates whose beads are recorded, because history doesn't contain what the gates saw."""


def record_inputs(
    state: State,
    now: datetime,
    scope: Scope,
    holds: Mapping[str, HoldReason],
    outside: Observations,
    poll: timedelta | None = None,
) -> dict[str, Any]:
    """Return the inputs of a decision that history doesn't contain.

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
    passed = {bead: hold.gate for bead, hold in holds.items() if hold.gate in UNRECORDED}
    capacity = {name: _capacity_as(one) for name, one in outside.capacity.items()}
    verdicts = {bead: _verdict_as(one) for bead, one in outside.verdicts.items()}
    leases = {
        bead: [one.holder, one.heartbeat.isoformat(), one.expires.isoformat()]
        for bead, one in outside.leases.items()
    }
    tries = {name: [one.tries, one.next_at.isoformat()] for name, one in state.outages.items()}
    given = {
        "passed": passed,
        "capacity": capacity,
        "verdicts": verdicts,
        "leases": leases,
        "outages": tries,
    }
    always = {"now": now.isoformat(), "scope": list(scope.kinds), "made": state.made, "acts": True}
    ready = {"readiness": READINESS} if scope.dispatch else {}
    every = {"poll": poll.total_seconds()} if poll is not None else {}
    return always | ready | every | {name: value for name, value in given.items() if value}


def _capacity_as(one: Capacity) -> list[Any]:
    told: list[Any] = [one.slots, one.idle, one.why]
    return [*told, one.down, one.proof] if one.down or one.proof else told


def _verdict_as(one: JobReport) -> list[Any]:
    """Return a verdict as it is recorded. Default values are left out."""
    told: list[Any] = [one.verdict.value, one.status_text, one.error]
    known = {
        name: value
        for name, value in one._asdict().items()
        if value != JobReport._field_defaults.get(name)
    }
    more = {name: _moment_as(known[name]) for name in _MORE if name in known}
    return [*told, more] if more else told


def _moment_as(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


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


class RecordedInputs(NamedTuple):
    """The recorded inputs.

    ``now`` is ``None`` if they lack a time, so that the decision can't be computed again.
    """

    now: datetime | None
    scope: Scope
    passed: Mapping[str, str]
    """Bead → the gate that only this command or the working set knew."""
    capacity: Mapping[str, Capacity]
    verdicts: Mapping[str, JobReport]
    leases: Mapping[str, Lease]
    jitter: float
    readiness: int
    """The version of the readiness rule."""
    acts: bool
    """Whether only a user's act frees an attempt."""
    outages: Mapping[str, tuple[int, datetime]] = EMPTY
    """Target → failed tries, and when the next try was due."""
    health: Health | None = None
    """None: the program that recorded the entry did not track its target's health."""
    poll: timedelta | None = None
    """Interval of the `run` that decided; None if a one-shot command did, or an older program."""


def read_inputs(entry: LedgerEntry) -> RecordedInputs:
    given = entry.given
    scope, jitter, ready = given.get("scope"), given.get("jitter"), given.get("readiness")
    kinds = scope if isinstance(scope, list) else ()
    return RecordedInputs(
        now=parse_foreign(given.get("now")),
        scope=Scope(dispatch="dispatch" in kinds, reap="reap" in kinds),
        passed={bead: gate for bead, gate in _items(given, "passed") if isinstance(gate, str)},
        capacity=dict(_capacity(given)),
        verdicts=dict(_verdicts(given)),
        leases=dict(_leases(given)),
        jitter=float(jitter) if isinstance(jitter, int | float) else 0.0,
        readiness=ready if isinstance(ready, int) else 1,
        acts=given.get("acts") is True,
        outages=dict(_outages(given)),
        health=_health(given.get("health")),
        poll=_poll(given.get("poll")),
    )


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


def leases_of(given: object) -> dict[str, Lease]:
    """Return the leases that a decision depends on, from ``detail.given``."""
    return dict(_leases(given)) if isinstance(given, dict) else {}


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
