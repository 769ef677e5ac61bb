"""Whether a target can be reached: its circuit breaker, and its rest after busy answers. Pure.

An outage begins with a failed ``capacity()`` or with a dispatch without an answer. While it
lasts no bead is claimed for the target, but for one at a time that tries it, where
``capacity()`` cannot tell that the outage is over. What the target did wrong never counts
against a bead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson

from dolt_watch.core.decisions.policy import Candidates, Observations, Policy
from dolt_watch.core.decisions.reap_policy import held_by_lease
from dolt_watch.core.model import (
    EMPTY,
    GLOBAL,
    Bead,
    Capacity,
    Decision,
    EntryKind,
    HoldReason,
    Outage,
    Phase,
    Rule,
    State,
    entry_payloads,
)
from dolt_watch.core.model.observations import Health
from dolt_watch.core.model.reason_codes import ReasonCode

OUTAGE = "outage"
"""The gate."""
FIRST_TRY, LAST_TRY = timedelta(seconds=30), timedelta(minutes=10)
"""The pause before the first try, doubled with each that fails, and the longest one."""
FIRST_REST, LAST_REST = timedelta(seconds=30), timedelta(minutes=15)
"""The same for a target that is busy."""
SHOWN = 100
"""Characters of the reason that a hold shows."""


def health_of(state: State, target: str, bead: str, now: datetime, note: str = "") -> Health:
    outage = state.outages.get(target)
    return Health(
        _busy(state, target, now),
        outage.tries if outage is not None else 0,
        outage is not None and bead in outage.noted,
        note,
    )


def _busy(state: State, target: str, now: datetime) -> int:
    """Not after a pause as long as the longest rest: what it said so long ago does not matter."""
    rest = state.cooldowns.get(target)
    return state.busy.get(target, 0) if rest is not None and now < rest + LAST_REST else 0


def is_unhealthy(state: State, target: str, now: datetime) -> bool:
    """Is it likely that a dispatch comes to nothing? Then the claim's note waits for the answer."""
    return target in state.outages or _busy(state, target, now) > 0


def doubled(first: timedelta, last: timedelta, number: int, jitter: float) -> timedelta:
    """``number``: from 1. ``jitter`` from 0 to 1 adds up to a quarter, never past ``last``."""
    doubled: timedelta = first * 2 ** (min(number, 20) - 1) * (1 + jitter / 4)
    return min(doubled, last)


def try_pause(tries: int, jitter: float) -> timedelta:
    """Before the next try, after so many that failed."""
    return doubled(FIRST_TRY, LAST_TRY, tries, jitter)


def busy_pause(busy: int, asked: float | None) -> timedelta:
    """After so many busy answers in a row.

    ``asked``: seconds that the target itself asked for; fewer are not taken.
    """
    return max(doubled(FIRST_REST, LAST_REST, busy, 0.0), timedelta(seconds=asked or 0.0))


# -- deciding --------------------


def outage_hold(target: str, outage: Outage, now: datetime) -> HoldReason:
    """What a bead waits for while it lasts."""
    since, again = _clock(outage.since, now), _clock(outage.next_at, now)
    why = short_reason(outage.why)
    return HoldReason(
        OUTAGE, f"target {target} is unreachable since {since} ({why}); next try at {again}"
    )


def short_reason(why: str) -> str:
    """'HTTP 502: {"error":"fetch failed"}' as 'HTTP 502 fetch failed'."""
    head, colon, body = why.partition(": ")
    if colon and head.startswith("HTTP "):
        try:
            said = orjson.loads(body)
        except ValueError:
            said = None
        error = said.get("error") if isinstance(said, dict) else None
        if isinstance(error, str):
            why = f"{head} {error}"
    return why if len(why) <= SHOWN else f"{why[:SHOWN]}…"


def _clock(moment: datetime, now: datetime) -> str:
    """UTC, with its date where that is not today's."""
    return moment.strftime("%H:%M" if moment.date() == now.date() else "%Y-%m-%d %H:%M")


def targets_of(policy: Policy) -> dict[str, None]:
    """Every target that a rule names, once, in the order of the rules."""
    return dict.fromkeys(rule.target for rule in policy.rules)


def has_unrecorded_outage(state: State, policy: Policy) -> bool:
    """Is there an outage whose beginning or end is known and has no entry yet?"""
    names = targets_of(policy)
    return any(
        name in names and (not one.recorded or one.answered) for name, one in state.outages.items()
    )


def plan_outage_changes(
    state: State, policy: Policy, now: datetime, outside: Observations
) -> Iterator[Decision]:
    """The outages that begin or end now."""
    for name in targets_of(policy):
        outage, capacity = state.outages.get(name), outside.capacity.get(name)
        if outage is None:
            if capacity is not None and capacity.down:
                again = now + try_pause(1, outside.jitter)
                yield _begins(name, Outage(now, capacity.why, "capacity", again), state)
        elif not outage.recorded:
            yield _begins(name, outage, state)
        elif outage.answered or _ends(outage, capacity):
            by = "dispatch" if outage.answered else "health"
            detail = entry_payloads.OutageChange(name, outage.since, by=by).encode()
            yield Decision(
                kind=EntryKind.RECOVERED,
                bead=GLOBAL,
                rule="",
                attempt=0,
                cause=state.commit,
                reason="it answers again",
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
    """Does the target's answer prove that what could not be reached can be?"""
    if capacity is None or capacity.down:
        return False
    return outage.part == "capacity" or capacity.proof in (outage.part, "both")


def is_doubtful(outage: Outage | None, capacity: Capacity | None, now: datetime) -> bool:
    """May only a dispatch tell whether it is over, and may one be tried now?"""
    if outage is None or not outage.recorded or outage.answered or outage.next_at > now:
        return False
    return capacity is not None and not capacity.down and not _ends(outage, capacity)


class Probe(NamedTuple):
    """The one bead that tries a target whose outage may be over."""

    bead: str = ""
    resend: bool = False
    """Its outcome is unknown, and it may be sent again."""


def select_probes(
    state: State, policy: Policy, now: datetime, asked: Candidates, outside: Observations
) -> Mapping[str, Probe]:
    """Target → who tries it, for each that may be tried by a dispatch now."""
    if not state.outages:
        return EMPTY
    found = {}
    for name in targets_of(policy):
        if is_doubtful(state.outages.get(name), outside.capacity.get(name), now):
            found[name] = _probe(name, state, policy, now, asked, outside)
    return found


def _probe(
    target: str,
    state: State,
    policy: Policy,
    now: datetime,
    asked: Candidates,
    outside: Observations,
) -> Probe:
    """A bead whose outcome is unknown goes before all others, and is waited for; then one that
    tried it before.
    """
    rules = {rule.name: rule for rule in policy.rules if rule.target == target}
    under_way = [bead for bead in state.beads.values() if bead.rule in rules and bead.token]
    again = [
        bead
        for bead in under_way
        # A target that can tell whether a token runs is asked that instead.
        if bead.phase is Phase.UNKNOWN
        and rules[bead.rule].on_unknown == "retry"
        and bead.id not in outside.verdicts
    ]
    if again:
        silent = [bead for bead in asked.unknown if bead in again]
        ready = [
            bead for bead in silent if held_by_lease(bead, rules[bead.rule], outside, now) is None
        ]
        return Probe(ready[0].id, resend=True) if ready else Probe()
    if any(bead.phase is Phase.CLAIMED for bead in under_way):
        return Probe()  # somebody is trying it
    queue = [
        bead.id
        for name in rules
        for bead in asked.queues.get(name, ())
        if bead.id not in outside.holds
    ]
    noted = state.outages[target].noted
    return Probe(min(queue, key=lambda bead: bead not in noted, default=""))


def plan_resend(bead: Bead, rule: Rule) -> Decision:
    """A bead whose outcome is unknown is claimed again: its row stays as the first claim left
    it.
    """
    detail = entry_payloads.Resend(bead.since, bead.sent_at).encode()
    return Decision(
        kind=EntryKind.CLAIM,
        bead=bead.id,
        rule=rule.name,
        attempt=bead.attempt,
        cause=bead.cause,
        detail=detail,
    )


def postpone_tries(
    state: State, policy: Policy, now: datetime, asked: Candidates, outside: Observations
) -> State | None:
    """After tries that history does not hold: by ``capacity()``, or none was possible.

    None: nothing was tried.
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
    """When the first of the beads whose outcome is unknown may be sent again."""
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
    """With the tries that a decision was made on, where history does not hold them."""
    known = {name: value for name, value in recorded.items() if name in state.outages}
    if not known:
        return state
    moved = {
        name: state.outages[name]._replace(tries=tries, next_at=at)
        for name, (tries, at) in known.items()
    }
    return state._replace(outages={**state.outages, **moved})
