"""The circuit breaker of a target, and its cooldown after busy answers. Pure.

An outage begins with a failed ``capacity()`` or with a dispatch that gets no answer. During an
outage no bead is claimed for the target. If ``capacity()`` can't show that the outage is over, one
bead at a time tries the target. A fault of the target never counts against a bead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson

from dolt_watch.core.decisions.policy import LAST_REST, Candidates, Observations, Policy
from dolt_watch.core.decisions.reap_policy import held_by_lease
from dolt_watch.core.model import (
    EMPTY,
    GLOBAL,
    Capacity,
    Decision,
    EntryKind,
    HoldReason,
    Outage,
    Phase,
    State,
    entry_payloads,
)
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.timestamps import iso

OUTAGE = "outage"
"""Name of the gate."""
FIRST_TRY, LAST_TRY = timedelta(seconds=30), timedelta(minutes=10)
"""Pause before the first try, and the longest pause. The pause doubles with each failed try."""
FIRST_REST = timedelta(seconds=30)
"""The same for a busy target, up to ``LAST_REST``."""
SHOWN = 100
"""Number of characters of the reason that a hold shows."""


def doubled(first: timedelta, last: timedelta, number: int, jitter: float) -> timedelta:
    """Return ``first``, doubled ``number`` - 1 times.

    Args:
        first: The first pause.
        last: Upper bound of the result.
        number: From 1.
        jitter: From 0 to 1. Adds up to a quarter.
    """
    doubled: timedelta = first * 2 ** (min(number, 20) - 1) * (1 + jitter / 4)
    return min(doubled, last)


def try_pause(tries: int, jitter: float) -> timedelta:
    """Return the pause after ``tries`` failed tries."""
    return doubled(FIRST_TRY, LAST_TRY, tries, jitter)


def busy_pause(busy: int, candidates: float | None) -> timedelta:
    """Return the cooldown after ``busy`` consecutive busy answers.

    Args:
        busy: From 1.
        asked: Seconds that the target named. A shorter time than the computed one is ignored.
    """
    return max(doubled(FIRST_REST, LAST_REST, busy, 0.0), timedelta(seconds=candidates or 0.0))


# -- deciding --------------------


def outage_hold(target: str, outage: Outage) -> HoldReason:
    """Return the hold of the beads that wait for the end of an outage."""
    why = short_reason(outage.why)
    return HoldReason(
        OUTAGE,
        f"target {target} has been unreachable since {iso(outage.since)} ({why}); next try at"
        f" {iso(outage.next_at)}",
    )


def short_reason(why: str) -> str:
    """Return 'HTTP 502: {"error":"fetch failed"}' as 'HTTP 502 fetch failed'."""
    head, colon, body = why.partition(": ")
    if colon and head.startswith("HTTP "):
        try:
            answer = orjson.loads(body)
        except ValueError:
            answer = None
        error = answer.get("error") if isinstance(answer, dict) else None
        if isinstance(error, str):
            why = f"{head} {error}"
    return why if len(why) <= SHOWN else f"{why[:SHOWN]}…"


def targets_of(policy: Policy) -> dict[str, None]:
    """Return each target that a rule names, in the order of the rules."""
    return dict.fromkeys(rule.target for rule in policy.rules)


def has_unrecorded_outage(state: State, policy: Policy) -> bool:
    """Return whether the start or the end of an outage is not recorded yet."""
    names = targets_of(policy)
    return any(
        name in names and (not one.recorded or one.answered) for name, one in state.outages.items()
    )


def plan_outage_changes(
    state: State, policy: Policy, now: datetime, outside: Observations
) -> Iterator[Decision]:
    """Yield the outages that begin or end now."""
    for name in targets_of(policy):
        outage, capacity = state.outages.get(name), outside.capacity.get(name)
        if outage is None and capacity is not None and capacity.down:
            again = now + try_pause(1, outside.jitter)
            yield _begins(name, Outage(now, capacity.why, "capacity", again), state)
        elif outage is not None and not outage.recorded:
            yield _begins(name, outage, state)
        elif outage is not None and (outage.answered or _ends(outage, capacity)):
            by = "dispatch" if outage.answered else "health"
            detail = entry_payloads.OutageChange(name, outage.since, by=by).encode()
            yield Decision(
                kind=EntryKind.RECOVERED,
                bead=GLOBAL,
                rule="",
                attempt=0,
                cause=state.commit,
                reason="the target can be reached again",
                reason_code=ReasonCode.TARGET_ANSWERS,
                detail=detail,
            )


def _begins(target: str, outage: Outage, state: State) -> Decision:
    detail = entry_payloads.OutageChange(target, outage.since, outage.part, outage.next_at).encode()
    return Decision(
        kind=EntryKind.OUTAGE,
        bead=GLOBAL,
        rule="",
        attempt=0,
        cause=state.commit,
        reason=outage.why,
        reason_code=ReasonCode.TARGET_UNREACHABLE,
        detail=detail,
    )


def _ends(outage: Outage, capacity: Capacity | None) -> bool:
    """Return whether the target's answer proves that the missing part can be reached again."""
    if capacity is None or capacity.down:
        return False
    return outage.part == "capacity" or capacity.proof in (outage.part, "both")


def is_doubtful(outage: Outage | None, capacity: Capacity | None, now: datetime) -> bool:
    """Return whether a dispatch may be tried now, and nothing else can end the outage."""
    if outage is None or not outage.recorded or outage.answered or outage.next_at > now:
        return False
    return capacity is not None and not capacity.down and not _ends(outage, capacity)


class Probe(NamedTuple):
    """The bead that tries a target whose outage may be over."""

    bead: str = ""
    resend: bool = False
    """The bead's outcome is unknown, and the bead may be sent again."""


def select_probes(
    state: State, policy: Policy, now: datetime, candidates: Candidates, outside: Observations
) -> Mapping[str, Probe]:
    """Return the probe of each target that may be tried by a dispatch now."""
    if not state.outages:
        return EMPTY
    found = {}
    for name in targets_of(policy):
        if is_doubtful(state.outages.get(name), outside.capacity.get(name), now):
            found[name] = _probe(name, state, policy, now, candidates, outside)
    return found


def _probe(
    target: str,
    state: State,
    policy: Policy,
    now: datetime,
    candidates: Candidates,
    outside: Observations,
) -> Probe:
    """Return the probe of one target.

    A bead of unknown outcome goes first, and the target waits for it. The next choice is a bead
    that tried the target before.
    """
    rules = {rule.name: rule for rule in policy.rules if rule.target == target}
    under_way = [bead for bead in state.beads.values() if bead.rule in rules and bead.token]
    again = [
        bead
        for bead in under_way
        # A target that can report whether a token runs is asked that instead.
        if bead.phase is Phase.UNKNOWN
        and rules[bead.rule].on_unknown == "retry"
        and bead.id not in outside.verdicts
    ]
    if again:
        silent = [bead for bead in candidates.unknown if bead in again]
        ready = [
            bead for bead in silent if held_by_lease(bead, rules[bead.rule], outside, now) is None
        ]
        return Probe(ready[0].id, resend=True) if ready else Probe()
    if any(bead.phase is Phase.CLAIMED for bead in under_way):
        return Probe()  # Another bead is trying the target.
    queue = [
        bead.id
        for name in rules
        for bead in candidates.queues.get(name, ())
        if bead.id not in outside.holds
    ]
    noted = state.outages[target].noted
    return Probe(min(queue, key=lambda bead: bead not in noted, default=""))


def postpone_tries(
    state: State, policy: Policy, now: datetime, candidates: Candidates, outside: Observations
) -> State | None:
    """Return the state after tries that history doesn't contain.

    Such a try asks ``capacity()``, or no bead could be sent.

    Returns:
        The state with the next tries, or None if nothing was tried.
    """
    moved = {}
    for name in targets_of(policy):
        outage, capacity = state.outages.get(name), outside.capacity.get(name)
        if outage is None or capacity is None or outage.next_at > now:
            continue
        tries = outage.tries + capacity.down
        at = now + try_pause(tries, outside.jitter)
        if not capacity.down:
            at = max(at, *_sendable(name, state, policy), at)
        moved[name] = outage._replace(tries=tries, next_at=at)
    return state._replace(outages={**state.outages, **moved}) if moved else None


def _sendable(target: str, state: State, policy: Policy) -> Sequence[datetime]:
    """Return when the first of the beads of unknown outcome may be sent again."""
    rules = {
        rule.name: rule
        for rule in policy.rules
        if rule.target == target and rule.on_unknown == "retry"
    }
    unknown = [
        bead for bead in state.beads.values() if bead.phase is Phase.UNKNOWN and bead.rule in rules
    ]
    moments = [bead.since + rules[bead.rule].unknown_after for bead in unknown]
    return [min(moments)] if moments else []


def with_recorded_tries(state: State, recorded: Mapping[str, tuple[int, datetime]]) -> State:
    """Return the state with the recorded tries of a decision, which history doesn't contain."""
    known = {name: value for name, value in recorded.items() if name in state.outages}
    if not known:
        return state
    moved = {
        name: state.outages[name]._replace(tries=tries, next_at=at)
        for name, (tries, at) in known.items()
    }
    return state._replace(outages={**state.outages, **moved})
