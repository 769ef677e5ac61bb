"""What should be done now: a function of the state, the clock, and what the outside world answered. Pure.

Two steps, so that the world is asked only what matters: ``questions`` says whose capacity, which gates and which verdicts would make a
difference, ``decide`` takes the answers. A replay gives recorded answers to the same two functions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dolt_watch.core.rules import rank_key
from dolt_watch.model import (
    BLOCKED,
    IN_FLIGHT,
    IN_PROGRESS,
    OPEN,
    Bead,
    Capacity,
    Decision,
    Hold,
    JobReport,
    Kind,
    Pause,
    Phase,
    Rule,
    State,
    Verdict,
)
from dolt_watch.times import iso, minutes

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
"""Due whatever the clock says, also one that was set back since."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which kinds of decision a command takes."""

    dispatch: bool = False
    reap: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind in ("dispatch", "reap") if getattr(self, kind))


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that decisions are made under."""

    rules: Sequence[Rule]
    settle: timedelta
    descending: Mapping[str, Sequence[bool]] = field(default_factory=dict)
    """Rule → direction of each ``order_by`` key."""
    settings_hash: str = ""

    def rule(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)


@dataclass(frozen=True, slots=True)
class Questions:
    """What must be known before deciding."""

    queues: Mapping[str, tuple[Bead, ...]] = field(default_factory=dict)
    """Rule → the waiting beads that may go now, first in the queue first: their gates decide."""
    slots: Mapping[str, int] = field(default_factory=dict)
    """Rule → how many more ``max_in_flight`` and ``max_per_hour`` allow."""
    stale: tuple[Bead, ...] = ()
    """Running beads without a sign of life for too long: asked for fresh signs, and the target for its verdict."""
    unknown: tuple[Bead, ...] = ()
    """Unknown attempts past ``unknown_after``: the service is asked whether it is idle."""
    held: Mapping[str, Hold] = field(default_factory=dict)
    """Waiting beads that no answer could let go now, and why."""
    due: Mapping[str, datetime | None] = field(default_factory=dict)
    """'dispatch' and 'reap' → when time alone will make the next difference, None: it will not."""


@dataclass(frozen=True, slots=True)
class Outside:
    """The answers."""

    capacity: Mapping[str, Capacity] = field(default_factory=dict)
    """By target."""
    holds: Mapping[str, Hold] = field(default_factory=dict)
    """By bead: a gate that keeps a waiting bead back (readiness), or spares a stale one (an uncommitted sign)."""
    verdicts: Mapping[str, JobReport] = field(default_factory=dict)
    """By bead."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Decisions in the order in which they should be handled, and why each other waiting bead is held."""

    decisions: tuple[Decision, ...] = ()
    holds: Mapping[str, Hold] = field(default_factory=dict)


def paused(state: State, rule: str, now: datetime, reaping: bool = False) -> Pause | None:
    for name in ("", rule):
        pause = state.pauses.get(name)
        if pause and (pause.until is None or pause.until > now) and (pause.reaping or not reaping):
            return pause
    return None


def questions(state: State, policy: Policy, now: datetime, scope: Scope, skip: Collection[str] = ()) -> Questions:
    """``skip``: beads that this command has attempted already: at most once a command."""
    queues: dict[str, tuple[Bead, ...]] = {}
    slots: dict[str, int] = {}
    held: dict[str, Hold] = {}
    clock = _Due(now)
    waiting: dict[str, list[Bead]] = {}
    for bead in state.beads.values():
        if bead.phase is Phase.WAITING or (bead.phase is Phase.BACKOFF and bead.matches):
            waiting.setdefault(bead.rule, []).append(bead)
        elif bead.phase in (Phase.QUARANTINED, Phase.HELD):
            held[bead.id] = Hold(bead.phase.value, bead.reason)
    for rule in policy.rules:
        queue = waiting.get(rule.name, [])
        if not queue:
            continue
        direction = policy.descending.get(rule.name, ())
        queue.sort(key=lambda bead, direction=direction: rank_key(bead.rank, direction, bead.id))  # type: ignore[misc]
        free, stop = _slots(state, rule, policy, now, clock)
        slots[rule.name] = free
        going = []
        for bead in queue:
            hold = stop or _not_yet(bead, policy, now, clock)
            if hold is None and bead.id in skip:
                hold = Hold("attempted", "attempted by this command already")
                clock.at(
                    "dispatch", AT_ONCE
                )  # by the next command: else it would find nothing due, and leave it for ever
            if hold is None:
                going.append(bead)
            else:
                held[bead.id] = hold
        if going:
            queues[rule.name] = tuple(going)
            clock.at("dispatch", AT_ONCE)
    stale, unknown = _overdue(state, policy, now, clock)
    return Questions(
        queues if scope.dispatch else {}, slots,
        stale if scope.reap else (), unknown if scope.dispatch else (), held, clock.due,
    )  # fmt: skip


def decide(state: State, policy: Policy, now: datetime, scope: Scope, asked: Questions, outside: Outside) -> Plan:
    """First what is overdue (it may free a slot), then the reaper's, then claims in queue order."""
    holds = dict(asked.held)
    decisions = list(_settled(state, policy, now, scope, asked, outside))
    if scope.reap:
        decisions += _reaped(policy, now, asked, outside, holds)
    if scope.dispatch:
        decisions += _notes(state)
        taken: dict[str, int] = {}
        for rule in policy.rules:
            decisions += _claims(rule, now, asked, outside, taken, holds)
    return Plan(tuple(decisions), holds)


# -- dispatch -------------------------------------------------------------------------------------------------------


def _slots(state: State, rule: Rule, policy: Policy, now: datetime, clock: _Due) -> tuple[int, Hold | None]:
    """How many more may go under this rule, and what stops all of them, where something does."""
    pause = paused(state, rule.name, now)
    if pause is not None:
        clock.at("dispatch", pause.until)
        return 0, Hold("paused", f"paused by {pause.by}: {pause.reason}")
    if state.stopped.get(rule.name) == policy.settings_hash and policy.settings_hash:
        clock.at("dispatch", AT_ONCE)  # not to be dispatched, but to be told each time: somebody must mend it
        return 0, Hold("stopped", "the target refused our credential; mend it, then `dolt_watch resume`")
    resting = state.resting.get(rule.target)
    if resting is not None and resting > now:
        clock.at("dispatch", resting)
        return 0, Hold("resting", f"target {rule.target} asked to be left alone until {iso(resting)}")
    flying = [b for b in state.beads.values() if b.rule == rule.name and b.token and b.phase in IN_FLIGHT]
    free = rule.max_in_flight - len(flying)
    if free <= 0:
        names = ", ".join(f"{bead.id} ({bead.phase})" for bead in flying[:3])
        return 0, Hold("max_in_flight", f"{len(flying)} of {rule.max_in_flight} in flight: {names}")
    if rule.max_per_hour:
        recent = [at for at in state.claims.get(rule.name, ()) if now - at < HOUR]
        left = rule.max_per_hour - len(recent)
        if left <= 0:
            clock.at("dispatch", min(recent) + HOUR)
            return 0, Hold("max_per_hour", f"{len(recent)} claims in the last hour, the ceiling is {rule.max_per_hour}")
        free = min(free, left)
    return free, None


def _not_yet(bead: Bead, policy: Policy, now: datetime, clock: _Due) -> Hold | None:
    if bead.phase is Phase.BACKOFF and bead.retry_at is not None and bead.retry_at > now:
        clock.at("dispatch", bead.retry_at)
        return Hold("backoff", f"attempt {bead.attempt} failed ({bead.reason}); again at {iso(bead.retry_at)}")
    settled = (bead.matched_at or bead.since) + policy.settle
    if settled > now:
        clock.at("dispatch", settled)
        return Hold("settle", f"changed {int((now - (bead.matched_at or bead.since)).total_seconds())}s ago")
    return None


def _claims(
    rule: Rule, now: datetime, asked: Questions, outside: Outside, taken: dict[str, int], holds: dict[str, Hold]
) -> Iterator[Decision]:
    queue = asked.queues.get(rule.name, ())
    capacity = outside.capacity.get(rule.target)
    free = asked.slots.get(rule.name, 0)
    place = 0
    for bead in queue:
        hold = outside.holds.get(bead.id)
        if hold is None and place >= free:
            hold = Hold("max_in_flight", f"place {place + 1} in the queue, {free} may go now")
        slots = None if capacity is None else capacity.slots
        if hold is None and slots is not None and taken.get(rule.target, 0) >= slots:
            hold = Hold("capacity", (capacity and capacity.why) or f"target {rule.target} takes {slots} more")
        if hold is not None:
            holds[bead.id] = hold
            continue
        detail = {
            "target": rule.target,
            "capacity": None if capacity is None else capacity.slots,
            "slots_used": taken.get(rule.target, 0),
            "rank": list(bead.rank),
            "place": place,
            "free": free,
            "now": now.isoformat(),
            "matched_at": bead.matched_at.isoformat() if bead.matched_at else None,
        }
        yield Decision(
            Kind.CLAIM, bead.id, rule.name, bead.attempt + 1, bead.cause,
            note=f"auto-dispatcher claimed at {iso(now)}", status=IN_PROGRESS, detail=detail,
        )  # fmt: skip
        taken[rule.target] = taken.get(rule.target, 0) + 1
        place += 1


def _notes(state: State) -> Iterator[Decision]:
    for bead in state.beads.values():
        if bead.lost_note and bead.phase is not Phase.CLAIMED:
            yield Decision(
                Kind.NOTE, bead.id, bead.rule, bead.attempt, bead.cause, note=bead.lost_note,
                reason="a note of ours was overwritten",
            )  # fmt: skip


def _settled(
    state: State, policy: Policy, now: datetime, scope: Scope, asked: Questions, outside: Outside
) -> Iterator[Decision]:
    """Attempts that nobody will settle any more."""
    if not scope.dispatch:
        return
    for bead in state.beads.values():
        if bead.phase is Phase.CLAIMED and bead.deadline is not None and bead.deadline <= now:
            why = "no word from its worker by the deadline"
            yield Decision(
                Kind.OVERDUE, bead.id, bead.rule, bead.attempt, bead.cause, token=bead.token, reason=why,
                note=f"dispatch outcome unknown ({why}): not sent again until it is known",
                detail={"deadline": bead.deadline.isoformat(), "now": now.isoformat()},
            )  # fmt: skip
    for bead in asked.unknown:
        rule = policy.rule(bead.rule)
        if rule is None:
            continue
        capacity = outside.capacity.get(rule.target)
        detail = {"since": bead.since.isoformat(), "now": now.isoformat(), "idle": bool(capacity and capacity.idle)}
        if capacity is not None and capacity.idle:
            yield failure(bead, rule, now, "the service runs nothing", Kind.RETRY, detail)
        else:
            waited = minutes(now - bead.since)
            yield Decision(
                Kind.GIVE_UP, bead.id, bead.rule, bead.attempt, bead.cause, token=bead.token, status=BLOCKED,
                reason=f"still unknown after {waited}m", detail=detail,
                note=f"dispatch outcome still unknown after {waited}m — blocking; set it open to try again",
            )  # fmt: skip


def failure(
    bead: Bead, rule: Rule, now: datetime, why: str, kind: Kind, detail: Mapping[str, object], for_good: bool = False,
    jitter: float = 0.0,
) -> Decision:  # fmt: skip
    """An attempt failed: try again later, or, for the last time, quarantine. ``jitter`` from 0 to 1 adds up to a quarter of the pause."""
    attempt = bead.attempt
    if for_good or attempt >= rule.max_attempts:
        return Decision(
            Kind.QUARANTINED, bead.id, rule.name, attempt, bead.cause, token=bead.token, status=OPEN, reason=why,
            note=f"dispatch quarantined after {attempt} attempts: {why}; edit the bead to try again", detail=detail,
        )  # fmt: skip
    pause = rule.retry_after * 2 ** (min(attempt, 20) - 1) * (1 + jitter / 4)
    return Decision(
        kind, bead.id, rule.name, attempt, bead.cause, token=bead.token, status=OPEN, reason=why,
        note=f"dispatch failed {why}", detail={**detail, "retry_at": (now + pause).isoformat()},
    )  # fmt: skip


# -- reap -----------------------------------------------------------------------------------------------------------


def last_sign(bead: Bead) -> datetime:
    """Idle since: the last sign of life, or the beginning of the attempt where there was none."""
    return max(bead.since, bead.sign.at) if bead.sign else bead.since


def stale_at(bead: Bead, rule: Rule) -> datetime:
    """When it is stale: whole minutes idle exceed the threshold, as in the original. A threshold under a minute is taken to the second."""
    if rule.stale_after < MINUTE:
        return last_sign(bead) + rule.stale_after
    return last_sign(bead) + MINUTE * (rule.stale_after // MINUTE + 1)


def _overdue(state: State, policy: Policy, now: datetime, clock: _Due) -> tuple[tuple[Bead, ...], tuple[Bead, ...]]:
    stale, unknown = [], []
    for bead in sorted(state.beads.values(), key=lambda bead: (bead.since, bead.id)):
        rule = policy.rule(bead.rule)
        if rule is None:
            continue
        if bead.phase is Phase.CLAIMED:
            clock.at("dispatch", bead.deadline)
        if bead.lost_note and bead.phase is not Phase.CLAIMED:
            clock.at("dispatch", AT_ONCE)
        if bead.phase is Phase.UNKNOWN:
            clock.at("dispatch", bead.since + rule.unknown_after)
            if bead.since + rule.unknown_after <= now:
                unknown.append(bead)
        if bead.phase is Phase.RUNNING:
            pause = paused(state, rule.name, now, reaping=True)
            if pause is not None:
                clock.at("reap", pause.until)
                continue
            at = stale_at(bead, rule)
            clock.at("reap", at)
            if at <= now:
                stale.append(bead)
    return tuple(stale), tuple(unknown)


def _reaped(
    policy: Policy, now: datetime, asked: Questions, outside: Outside, holds: dict[str, Hold]
) -> Iterator[Decision]:
    for bead in asked.stale:
        rule = policy.rule(bead.rule)
        assert rule is not None
        spared = outside.holds.get(bead.id)
        report = outside.verdicts.get(bead.id, JobReport(Verdict.UNKNOWN))
        if spared is None and report.verdict is Verdict.RUNNING and now - last_sign(bead) < rule.max_runtime:
            spared = Hold("verdict", f"the target says that its job {bead.job} is {report.word or 'running'}")
        if spared is not None:
            holds[bead.id] = spared
            continue
        idle = now - last_sign(bead)
        threshold = minutes(rule.stale_after)
        shown = f"{minutes(idle)}m (threshold {threshold if threshold else '<1'}m)"
        again = rule.on_stale == "requeue" and bead.attempt < rule.max_attempts
        if report.verdict is Verdict.RUNNING or report.word == "timeout":
            again = False  # it may run on: a second run beside it is never begun
        sign = bead.sign
        detail = {
            "now": now.isoformat(),
            "last_sign": last_sign(bead).isoformat(),
            "sign": {"what": sign.what, "who": sign.who, "commit": sign.commit} if sign else None,
            "idle_seconds": int(idle.total_seconds()),
            "stale_after_seconds": int(rule.stale_after.total_seconds()),
            "verdict": report.verdict.value,
        }
        if again:
            detail["retry_at"] = now.isoformat()
        yield Decision(
            Kind.REQUEUE if again else Kind.REAP, bead.id, rule.name, bead.attempt, bead.cause, token=bead.token,
            job=bead.job, status=OPEN if again else BLOCKED, reason=f"no progress for {shown}",
            note=f"reaper: no progress for {shown} — {'requeued' if again else 'blocking'}", detail=detail,
        )  # fmt: skip


class _Due:
    """Collects the earliest moment at which time alone changes a decision."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.due: dict[str, datetime | None] = {"dispatch": None, "reap": None}

    def at(self, kind: str, moment: datetime | None) -> None:
        before = self.due[kind]
        if moment is not None and (before is None or moment < before):
            self.due[kind] = moment
