"""The candidates: the beads about which a decision is possible now. Pure.

Only candidates are observed. The loop, read-only commands and a replay use the same function.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any, NamedTuple

from dolt_watch.core.decisions.circuit_breaker import OUTAGE, has_unrecorded_outage, outage_hold
from dolt_watch.core.decisions.policy import (
    ATTEMPTED,
    HOUR,
    IMMEDIATELY,
    RECHECK_INTERVAL,
    Candidates,
    Policy,
    Scope,
    active_pause,
    active_pauses,
    stale_at,
)
from dolt_watch.core.model import IN_FLIGHT, Bead, GateResult, HoldReason, Pause, Phase, Rule, State
from dolt_watch.core.rules.compiled_rule import CompiledRule
from dolt_watch.timestamps import format_span, iso


def with_queue_order(policy: Policy, rules: Sequence[CompiledRule]) -> Policy:
    """Return the policy with the direction of each ``order_by`` key of its rules."""
    return policy._replace(descending={rule.rule: rule.descending for rule in rules})


def select_candidates(
    state: State, policy: Policy, now: datetime, scope: Scope, skip: Collection[str] = ()
) -> Candidates:
    """Return the beads for which a decision is possible now.

    ``skip``: beads that this command has already attempted. A command attempts a bead once.
    """
    # One pass over all beads: a long queue is sorted by rule once, not once a rule.
    waiting: defaultdict[str, list[Bead]] = defaultdict(list)
    under_way: list[Bead] = []
    held: dict[str, HoldReason] = {}
    only_waits = Phase.WAITING
    for bead in state.beads.values():
        phase = bead.phase
        if phase is only_waits or (phase is Phase.BACKOFF and bead.matches):
            waiting[bead.rule].append(bead)
        elif phase in (Phase.QUARANTINED, Phase.HELD):
            held[bead.id] = HoldReason(phase.value, bead.reason)
        if bead.lost_note or bead.unwritten or (phase is not only_waits and phase in IN_FLIGHT):
            under_way.append(bead)
    # The queue of each rule. A rule without waiting beads is not asked, so a pause or an outage
    # that holds no bead makes nothing due.
    found = {
        rule.name: _of_rule(state, rule, waiting[rule.name], policy, now, skip)
        for rule in policy.rules
        if rule.name in waiting
    }
    for of_rule in found.values():
        held |= of_rule.held
    # Attempts under way come after the queues: they are the reaper's, or free a slot next time.
    attempts = _attempts(under_way, state, policy, now, scope) if under_way else _Attempts()
    unrecorded = state.outages and has_unrecorded_outage(state, policy)
    dispatch_due = earliest(
        IMMEDIATELY if unrecorded else None,
        attempts.dispatch_due,
        *(of_rule.due for of_rule in found.values()),
    )
    # A command observes only for the kinds of decision that it takes, but the next due time is
    # returned for both kinds.
    queues = {name: of_rule.queue for name, of_rule in found.items() if of_rule.queue}
    tries = dict.fromkeys(of_rule.tries for of_rule in found.values() if of_rule.tries)
    return Candidates(
        queues=queues if scope.dispatch else {},
        slots={name: of_rule.slots for name, of_rule in found.items()},
        stale=attempts.stale if scope.reap else (),
        jobs=attempts.jobs if scope.reap else (),
        unsettled=attempts.unsettled if scope.dispatch else (),
        unknown=attempts.unknown if scope.dispatch else (),
        tries=tuple(tries) if scope.dispatch else (),
        held=held,
        due={"dispatch": dispatch_due, "reap": attempts.reap_due},
        stops={name: of_rule.stop for name, of_rule in found.items() if of_rule.stop is not None},
        settles=any(of_rule.settles for of_rule in found.values()),
    )


class _RuleCandidates(NamedTuple):
    """The queue of one rule, and its held beads."""

    queue: tuple[Bead, ...]
    held: Mapping[str, HoldReason]
    slots: int
    stop: HoldReason | None
    tries: str
    """The target with an outage that is to be tried now, '' for none."""
    settles: bool
    due: datetime | None


def _of_rule(
    state: State,
    rule: Rule,
    waiting: Sequence[Bead],
    policy: Policy,
    now: datetime,
    skip: Collection[str],
) -> _RuleCandidates:
    slots, tries = free_slots(state, rule, policy, now), ""
    # The next try of an outage is due, so the outage holds no longer. Another gate may.
    outage = state.outages.get(rule.target)
    if outage and outage.next_at <= now and slots.stop and slots.stop.gate == OUTAGE:
        behind = free_slots(state, rule, policy, now, ignore_outage=True)
        stop = slots.stop if behind.stop is not None else None
        slots = Slots(behind.free, stop, earliest(slots.due, behind.due))
        tries = rule.target
    # The order of a queue that as a whole is held does not matter, and costs.
    ordered = waiting
    if slots.stop is None:
        ordered = in_queue_order(waiting, policy.descending.get(rule.name, ()))
    due, settles, queue = [slots.due], False, []
    held: dict[str, HoldReason] = {}
    settled, ahead = now - policy.settle, now + policy.settle
    for bead in ordered:
        # A bead's own reason is shown before the reason of its rule. While the rule is held, the
        # bead's own times don't wake the loop.
        since = bead.matched_at or bead.since
        own = None
        # Most beads of a long queue have settled, so no text is built for them.
        if settled < since <= ahead or bead.phase is Phase.BACKOFF:
            own = next((check for check in time_gates(bead, policy, now) if not check.ok), None)
        elif slots.stop is not None:
            held[bead.id] = slots.stop
            continue
        if own is not None and slots.stop is None:
            due.append(own.due)
            settles = settles or own.gate == "settle"
        hold = own.hold if own is not None else slots.stop
        if hold is None and bead.id in skip:
            hold = HoldReason(ATTEMPTED, "already attempted by this command")
            # Due for the next command. Nothing else may happen that would wake the loop.
            due.append(IMMEDIATELY)
        if hold is None:
            queue.append(bead)
        else:
            held[bead.id] = hold
    if queue:
        due.append(IMMEDIATELY)
    return _RuleCandidates(
        queue=tuple(queue),
        held=held,
        slots=slots.free,
        stop=slots.stop,
        tries=tries,
        settles=settles,
        due=earliest(*due),
    )


class Slots(NamedTuple):
    """The number of beads of a rule that may be dispatched now."""

    free: int
    stop: HoldReason | None = None
    """The hold of all beads of the rule. None if there is no such hold."""
    due: datetime | None = None
    """When time alone changes this. None: it doesn't."""


def free_slots(
    state: State, rule: Rule, policy: Policy, now: datetime, *, ignore_outage: bool = False
) -> Slots:
    """Return how many more beads of a rule may be dispatched, and the hold that stops all of them.

    ``ignore_outage``: a bead is to try the target.
    """
    due: datetime | None = None
    for check in rule_gates(state, rule, policy, now):
        due = earliest(due, check.due)
        if not check.ok and not (ignore_outage and check.gate == OUTAGE):
            return Slots(0, check.hold, due)
    free = rule.max_in_flight - len(in_flight(state, rule))
    if rule.max_per_hour:
        free = min(free, rule.max_per_hour - len(last_hour(state, rule, now)))
    return Slots(free, due=due)


def rule_gates(state: State, rule: Rule, policy: Policy, now: datetime) -> Iterator[GateResult]:
    """Yield the gates that apply to all beads of a rule, in a fixed order.

    ``free_slots`` stops at the first gate that holds.
    """
    # A user's pause comes first.
    pause = active_pause(state, rule.name, now) if state.pauses else None
    yield GateResult(
        "paused",
        pause is None,
        f"paused by {pause.by}: {pause.reason}" if pause else "not paused",
        pause.until if pause else None,
    )
    stopped = state.halted_rules.get(rule.name) == policy.settings_hash and bool(
        policy.settings_hash
    )
    reported = (
        "its target rejected the credential or is gone (see the log); fix it, then"
        " run `dolt_watch resume`"
    )
    # Due at once: nothing can be dispatched, but every tick reports the rule until a user fixes it.
    yield GateResult(
        "stopped",
        not stopped,
        reported if stopped else "not stopped",
        IMMEDIATELY if stopped else None,
    )
    # The target's state comes next.
    outage = state.outages.get(rule.target)
    if outage is not None:
        why = outage_hold(rule.target, outage).why
        yield GateResult(OUTAGE, False, why, outage.next_at)
    else:
        yield GateResult(OUTAGE, True, "no outage of the target")
    resting = state.cooldowns.get(rule.target)
    if resting is not None and resting > now:
        why = f"target {rule.target} is cooling down until {iso(resting)}"
        yield GateResult("resting", False, why, resting)
    else:
        yield GateResult("resting", True, "the target is not cooling down")
    # The rule's own ceilings come last: other beads of the rule fill them.
    flying = in_flight(state, rule)
    names = ": " + ", ".join(f"{bead.id} ({bead.phase})" for bead in flying[:3]) if flying else ""
    # More than the limit run after a user lowered it.
    used, limit = len(flying), rule.max_in_flight
    use = f"{used} in flight, limit {limit}" if used > limit else f"{used} of {limit} in flight"
    yield GateResult("max_in_flight", used < limit, f"{use}{names}")
    if rule.max_per_hour:
        recent = last_hour(state, rule, now)
        full = len(recent) >= rule.max_per_hour
        yield GateResult(
            "max_per_hour",
            not full,
            f"{len(recent)} claims in the last hour, max_per_hour is {rule.max_per_hour}",
            min(recent) + HOUR if full else None,
        )


def in_flight(state: State, rule: Rule) -> list[Bead]:
    """Return the beads that occupy slots of the rule."""
    return [
        bead
        for bead in state.beads.values()
        if bead.token and bead.rule == rule.name and bead.phase in IN_FLIGHT
    ]


def last_hour(state: State, rule: Rule, now: datetime) -> list[datetime]:
    return [at for at in state.claims.get(rule.name, ()) if now - at < HOUR]


def time_gates(bead: Bead, policy: Policy, now: datetime) -> Iterator[GateResult]:
    """Yield the gates of one waiting bead that only depend on time."""
    if bead.phase is Phase.BACKOFF and bead.retry_at is not None:
        waits = bead.retry_at > now
        yield GateResult(
            "backoff",
            not waits,
            f"attempt {bead.attempt} failed ({bead.reason}); next attempt at {iso(bead.retry_at)}",
            bead.retry_at if waits else None,
        )
    since = bead.matched_at or bead.since
    settled, settle_by = since + policy.settle, now + policy.settle
    # The change came from a clone whose clock is ahead. The bead would wait until that date.
    if since > settle_by:
        yield GateResult(
            "settle", True, f"changed at {iso(since)}, which is in the future: a clock is wrong"
        )
        return
    if settled > now:
        why = f"changed at {iso(since)}; settles at {iso(settled)}"
        yield GateResult("settle", False, why, settled)
    else:
        yield GateResult("settle", True, f"changed {format_span(now - since)} ago")


class _Attempts(NamedTuple):
    """The attempts under way about which a decision is possible, and the next due times."""

    stale: tuple[Bead, ...] = ()
    """Running beads without a sign of life for too long."""
    jobs: tuple[Bead, ...] = ()
    """The other running beads that have a job."""
    unsettled: tuple[Bead, ...] = ()
    """All attempts of unknown outcome."""
    unknown: tuple[Bead, ...] = ()
    """Attempts of unknown outcome past ``unknown_after``."""
    dispatch_due: datetime | None = None
    reap_due: datetime | None = None


def _attempts(
    under_way: Sequence[Bead], state: State, policy: Policy, now: datetime, scope: Scope
) -> _Attempts:
    """Return the beads that the reaper and the settlement look at, the oldest first."""
    stale, jobs, unsettled, unknown = [], [], [], []
    dispatch_due: list[datetime | None] = []
    reap_due: list[datetime | None] = []
    for bead in sorted(under_way, key=lambda bead: (bead.since, bead.id)):
        # These two need no rule: it may have left the settings.
        if bead.phase is Phase.CLAIMED:
            dispatch_due.append(bead.deadline)
        elif bead.lost_note or bead.unwritten:
            dispatch_due.append(IMMEDIATELY)
        if bead.phase is Phase.UNKNOWN and bead.token:
            unsettled.append(bead)
        rule = policy.rule(bead.rule)
        if rule is None:
            continue
        # An unknown outcome is settled by its target, or after a time without a sign of life.
        if bead.phase is Phase.UNKNOWN:
            outage = state.outages.get(rule.target)
            at = bead.since + rule.unknown_after
            at = at if outage is None else max(at, outage.next_at)
            if at <= now:
                unknown.append(bead)
                # The bead is settled in this tick, or held by a lease.
                at = now + RECHECK_INTERVAL if scope.dispatch else at
            if rule.target in policy.deduplicating:  # The target is asked at once, and then again.
                at = min(at, now + RECHECK_INTERVAL) if scope.dispatch else IMMEDIATELY
            dispatch_due.append(at)
        # A running bead is the reaper's once it is silent; its job may end before that.
        if bead.phase is Phase.RUNNING:
            pause = active_pause(state, rule.name, now, reaping=True) if state.pauses else None
            if pause is not None:
                reap_due.append(pause.until)
                continue
            at = stale_at(bead, rule)
            if at <= now:
                stale.append(bead)
                # The bead is reaped in this tick, or spared.
                at = now + RECHECK_INTERVAL if scope.reap else at
            elif bead.job:
                jobs.append(bead)
                if rule.target in policy.job_reporting_targets:
                    at = min(at, now + RECHECK_INTERVAL) if scope.reap else IMMEDIATELY
            reap_due.append(at)
    return _Attempts(
        stale=tuple(stale),
        jobs=tuple(jobs),
        unsettled=tuple(unsettled),
        unknown=tuple(unknown),
        dispatch_due=earliest(*dispatch_due),
        reap_due=earliest(*reap_due),
    )


def earliest(*moments: datetime | None) -> datetime | None:
    """Return the first of these times. None if there is no time."""
    return min((moment for moment in moments if moment is not None), default=None)


def orphaned_pauses(state: State, policy: Policy, now: datetime) -> list[Pause]:
    """Return the active pauses of rules that don't exist. They have no effect."""
    return [
        pause
        for pause in active_pauses(state, now)
        if pause.rule and policy.rule(pause.rule) is None
    ]


# -- queue order --------------------


class _Descending:
    """Reverses the order of a key."""

    __slots__ = ("key",)

    def __init__(self, key: tuple[int, Any]) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and self.key == other.key

    def __lt__(self, other: "_Descending") -> bool:
        return other.key < self.key

    __hash__ = None  # type: ignore[assignment]


def _comparable(value: Any) -> tuple[int, Any]:
    """Return a class and the value within that class.

    Values of different classes are never compared.
    """
    if isinstance(value, str):  # The type of nearly every key of a long queue comes first.
        return (3, value)
    if isinstance(value, int):
        return (1, value)
    if (
        value is None
        or (isinstance(value, float) and value != value)
        or (isinstance(value, Decimal) and value.is_nan())
    ):
        return (0, 0)  # NULL sorts first, as in MySQL.
    if isinstance(value, float | Decimal):
        return (1, value)
    if isinstance(value, timedelta):
        return (1, value.total_seconds())
    if isinstance(
        value, datetime
    ):  # A span, because shifting the first or last possible day to UTC would overflow.
        return (2, value.replace(tzinfo=None) - datetime.min - (value.utcoffset() or timedelta()))  # noqa: DTZ901
    if isinstance(value, date):
        return (2, timedelta(days=value.toordinal() - 1))
    if isinstance(value, bytes | bytearray):
        return (4, bytes(value))
    return (5, repr(value))


def in_queue_order(beads: Sequence[Bead], descending: Sequence[bool]) -> list[Bead]:
    """Return beads of one rule in the order of its queue."""
    types = {tuple(map(type, bead.rank)) for bead in beads}
    # Texts and integers compare as they are, which takes half of the time.
    if len(types) == 1 and {int, str}.issuperset(*types) and not any(descending):
        return sorted(beads, key=attrgetter("rank", "id"))
    return sorted(beads, key=lambda bead: queue_sort_key(bead.rank, descending, bead.id))


def queue_sort_key(rank: Sequence[Any], descending: Sequence[bool], bead: str) -> Any:
    """Return the sort key of a bead.

    NULLs come first in ascending and last in descending order, as in MySQL. Beads of equal rank are
    sorted by id.
    """
    keys: list[Any] = [_comparable(value) for value in rank]
    # Keys without a direction are ascending.
    for place, down in enumerate(descending[: len(keys)]):
        if down:
            keys[place] = _Descending(keys[place])
    return (keys, bead)
