"""What a round hands on: what it stands on, who acts on its plan, what came of it, and how people are told."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from dolt_watch import codec
from dolt_watch.context import DecisionContext
from dolt_watch.core.decide import decide
from dolt_watch.core.derive import SKEW
from dolt_watch.core.dispatching import of_no_rule
from dolt_watch.core.policy import Outside, Plan, Policy, Questions, Scope, paused
from dolt_watch.core.reaping import last_sign, stale_at
from dolt_watch.core.reason_codes import ReasonCode
from dolt_watch.core.reasons import own_reason, rule_words
from dolt_watch.engines import Commit
from dolt_watch.feed import Lens
from dolt_watch.ledger import Written
from dolt_watch.log_events import LogEvent, event_fields, log_condition
from dolt_watch.look import NO_BEADS, Look
from dolt_watch.model import (
    EMPTY,
    Bead,
    Capacity,
    Decision,
    Entry,
    Hold,
    JobReport,
    Kind,
    Phase,
    Rule,
    State,
)
from dolt_watch.store import Store
from dolt_watch.times import ago, exact, minutes

logger = logging.getLogger(__name__)


class Watched(NamedTuple):
    """One running bead under the reaper's eyes: a line of `reap --dry-run`."""

    bead: str
    sign: str
    """What was its last sign of life, by whom, in which commit."""
    idle: timedelta
    verdict: str
    """The target's word on its job, '-' where it was not asked."""
    then: str
    """What is done about it."""


@dataclass
class Outcome:
    """What a tick did. ``exit_code`` as a CronJob should show it."""

    dispatched: int = 0
    reaped: int = 0
    failed: int = 0
    unknown: int = 0
    busy: int = 0
    others: int = 0
    rounds: int = 0
    conflicts: int = 0
    down: bool = False
    holds: Mapping[str, Hold] = field(default_factory=dict)
    kinds: Counter[Kind] = field(default_factory=Counter)
    lag: tuple[int, float] = (0, 0.0)
    """Commits that the first round found unfolded, and the age of the oldest of them in seconds."""
    watched: list[Watched] = field(default_factory=list)
    """Where reaping is looked at: every running bead, as the last round saw it."""

    @property
    def good(self) -> bool:
        """No dispatch failed, none's outcome is unknown, and the target is not down while beads wait. Idle, busy and paused are good."""
        return not (self.failed or self.unknown or self.down)

    @property
    def exit_code(self) -> int:
        return 0 if self.good else 1

    def add_conflict(self) -> None:
        self.conflicts += 1

    def count(self, kind: Kind) -> None:
        self.kinds[kind] += 1
        match kind:
            case Kind.DISPATCHED:
                self.dispatched += 1
            case Kind.REAP | Kind.REQUEUE:
                self.reaped += 1
            case Kind.FAILED | Kind.QUARANTINED | Kind.STOPPED | Kind.RETRY | Kind.GIVE_UP:
                self.failed += 1
            case Kind.UNKNOWN | Kind.OVERDUE:
                self.unknown += 1
            case Kind.BUSY:
                self.busy += 1
            case _:
                self.others += 1


class Survey(NamedTuple):
    """The state at HEAD and what would be decided on it."""

    look: Look
    state: State
    now: datetime
    plan: Plan
    merging: bool
    policy: Policy
    asked: Questions
    lens: Lens
    outside: Outside = Outside()
    """What the gates say of every bead in line, those behind the free slots too."""
    lag: timedelta = timedelta()
    """Age of the oldest commit that no saved state has; 0 where there is none."""

    def under(self, capacity: Mapping[str, Capacity]) -> Plan:
        """The dispatcher's plan, given what the targets say. One that is down takes nothing."""
        known = {name: one._replace(slots=0) if one.down else one for name, one in capacity.items()}
        outside, scope = self.outside._replace(capacity=known), Scope(dispatch=True)
        return decide(self.state, self.policy, self.now, scope, self.asked, outside)


class Actor(Protocol):
    """Who acts on a plan: for real, or telling what would be done."""

    def handle(self, plan: Plan, context: DecisionContext) -> Written | None:
        """Handle the first decision; what became of it, None to stop the tick here. Raises Conflict."""
        ...

    def adopt(self, look: Look, tables: Sequence[str], beads: Sequence[str]) -> bool:
        """Commit what others left uncommitted in these tables. False: left alone. Raises NothingToCommit where nobody can commit them."""
        ...

    def resynced(
        self, context: DecisionContext, why: ReasonCode, missing: Sequence[Decision], held: Sequence[str]
    ) -> State | None:
        """The state was made anew. ``missing``: live attempts that history lost; ``held``: beads that only a resume may let go.

        None: one of these went into history, so look again. Else the state as it would be then. Raises Conflict.
        """
        ...

    def reprocessing(self, context: DecisionContext, commit: Commit, by: str) -> None:
        """Everything after the commit is folded again: said in history. Raises Conflict."""
        ...

    def save(self, store: Store, look: Look, *more: Any) -> None: ...


LISTED = 20
"""Of the beads that one gate holds, a tick names so many; of the rest it says how many. `status` names all."""


def announce(written: Written, words: str = "") -> None:
    """What was done, in a line, with its facts. ``words``: where the entry's own do not tell it."""
    entry = written.entry
    logger.info(
        words or _words(entry),
        extra=event_fields(
            LogEvent.DECISION,
            bead=entry.bead,
            kind=entry.kind.value,
            version=entry.version,
            rule=entry.rule,
            commit=written.commit,
        ),
    )


def _words(entry: Entry) -> str:
    match entry.kind:
        case Kind.DISPATCHED:
            return f"dispatched {entry.bead} as job {entry.job}"
        case Kind.REAP | Kind.REQUEUE:
            reaped = codec.Reaped.decode(entry.detail)
            if ended := reaped.ended:
                return f"REAPED {entry.bead} (job {entry.job} ended {ended})"
            idle = timedelta(seconds=reaped.idle_seconds)
            stale = f"{minutes(idle)}m" if minutes(idle) else exact(idle)
            return f"REAPED {entry.bead} (stale {stale})"
        case Kind.BUSY:
            return f"{entry.bead}: target busy ({entry.reason}) — open again"
        case Kind.UNKNOWN:
            return f"{entry.bead}: outcome unknown ({entry.reason}): not sent again until it is known"
        case Kind.OUTAGE:
            target = codec.OutageChange.decode(entry.detail).target
            return f"target {target} is unreachable ({entry.reason}): no bead is claimed for it"
        case Kind.RECOVERED:
            over = codec.OutageChange.decode(entry.detail)
            since = over.since or entry.at
            return f"target {over.target} answers again, after {ago(entry.at - since)}"
        case Kind.STOPPED:
            return f"{entry.bead}: {entry.reason}: rule {entry.rule} stops; mend it, then `dolt_watch resume`"
        case _:
            return f"{entry.bead}: {entry.kind} ({entry.reason})"


def tell_holds(state: State, plan: Plan) -> None:
    """What holds a rule once for the rule, and each bead that has a reason of its own."""
    waiting = [bead for bead in state.beads.values() if bead.matches]
    owns = [(bead, own_reason(plan, bead.rule, bead.id)) for bead in waiting]
    turn = Counter(bead.rule for bead, own in owns if own is None)
    for rule, holds in plan.rules.items():
        hold = holds[0]
        words, steady = rule_words(rule, hold, turn[rule]), f"{hold.gate}: {hold.why}"
        said = f"holding {words}"
        logger.info(said, extra=event_fields(LogEvent.RULE_HELD, steady=steady, rule=rule, gate=hold.gate))
    held = Counter[str]()
    for bead, own in owns:
        if own is None:
            continue
        held[own.gate] += 1
        if held[own.gate] <= LISTED:
            # a bead that settles is held once, not anew each second
            steady = own.gate if own.gate == "settle" else own.why
            words = f"holding {bead.id}: {own.why or own.gate}"
            logger.info(words, extra=event_fields(LogEvent.HOLDING, steady=steady, bead=bead.id, gate=own.gate))
    for gate, count in held.items():
        if count > LISTED:
            words = f"holding {count - LISTED} more: {gate} (dolt_watch status names them)"
            log_condition(logger, logging.INFO, words, LogEvent.HOLDING, gate=gate)


def tell(
    state: State, plan: Plan, policy: Policy, now: datetime, scope: Scope, capacity: Mapping[str, Capacity] = EMPTY
) -> None:  # fmt: skip
    if scope.dispatch:
        if not any(bead.matches for bead in state.beads.values()):
            log_condition(logger, logging.INFO, NO_BEADS, LogEvent.NONE_ELIGIBLE)
        tell_holds(state, plan)
    ahead = [bead for bead in state.beads.values() if bead.matched_at is not None and bead.matched_at > now + SKEW]
    if ahead and scope.dispatch:
        first, more = ahead[0], f" and {len(ahead) - 1} more" if len(ahead) > 1 else ""
        by = ago((first.matched_at or now) - now)
        words = f"warning: {first.id}{more} matched {by} in the future: a clock is wrong, so that counts as settled"
        log_condition(logger, logging.WARNING, words, LogEvent.CLOCK, bead=first.id)
    for pause in of_no_rule(state, policy, now):
        words = f"warning: rule {pause.rule} is paused ({pause.reason}), but there is no such rule (any more): it holds nothing"
        log_condition(logger, logging.WARNING, words, LogEvent.NO_SUCH_RULE, rule=pause.rule)
    busy = any(hold.gate == "capacity" for holds in plan.rules.values() for hold in holds)
    for name, one in capacity.items() if busy else ():
        if one.slots == 0 and not one.down:  # what a target that is down says of itself may hold any word
            who = one.speaks_for or f"target {name}"
            log_condition(logger, logging.INFO, f"{who} is busy — skipping tick", LogEvent.TARGET_BUSY, target=name)
    for bead in state.beads.values() if scope.reap else ():
        rule = policy.rule(bead.rule) if bead.phase is Phase.RUNNING else None
        if rule is None:
            continue
        spared = _spared(state, plan, bead, rule, now)
        words = f"keeping {bead.id} ({spared or age_words(bead, rule, now)})"
        logger.info(words, extra=event_fields(LogEvent.KEEPING, steady=spared, bead=bead.id))
        if bead.sign is not None and abs(timedelta(seconds=bead.sign.off)) > SKEW:
            words = f"warning: a {bead.sign.what} of {bead.id} by {bead.sign.who} is dated {_off(bead.sign.off)}: a clock or a zone is wrong; its commit's date counts"
            log_condition(logger, logging.WARNING, words, LogEvent.CLOCK, bead=bead.id, sign=bead.sign.commit)
        if last_sign(bead) > now + SKEW:
            words = f"warning: the last sign of {bead.id} lies {ago(last_sign(bead) - now)} in the future: a clock is wrong, so it cannot be called silent"
            logger.warning(words, extra=event_fields(LogEvent.CLOCK, steady="future", bead=bead.id))


def _spared(state: State, plan: Plan, bead: Bead, rule: Rule, now: datetime) -> str:
    """Why a bead that runs is not reaped though it may be silent; '' where it is not silent yet."""
    hold = plan.holds.get(bead.id)
    if hold is not None:
        return hold.why
    pause = paused(state, rule.name, now, reaping=True)
    if pause is not None and stale_at(bead, rule) <= now:
        return f"reaping is paused by {pause.by}: {pause.reason}"
    return ""


def age_words(bead: Bead, rule: Rule, now: datetime) -> str:
    """Its silence against what is allowed, as the original says it; to the second where whole minutes would lie."""
    age = now - last_sign(bead)
    if minutes(age) < minutes(rule.stale_after):
        return f"age {minutes(age)}m < {minutes(rule.stale_after)}m"
    return f"age {exact(age)} < {exact(stale_at(bead, rule) - last_sign(bead))}"


def watched(state: State, plan: Plan, verdicts: Mapping[str, JobReport], now: datetime) -> list[Watched]:
    """The reaper's table: who was silent longest first."""
    decided = {one.bead: one for one in plan.decisions if one.kind in (Kind.REAP, Kind.REQUEUE)}
    rows = []
    for bead in state.beads.values():
        if bead.phase is not Phase.RUNNING:
            continue
        sign, report, hold = bead.sign, verdicts.get(bead.id), plan.holds.get(bead.id)
        last = f"{sign.what} by {sign.who} ({sign.commit[:8]})" if sign else "none since it began"
        then = "requeue" if (one := decided.get(bead.id)) and one.kind is Kind.REQUEUE else "block" if one else "keep"
        if hold is not None:
            then += f" ({hold.why})"
        rows.append(
            Watched(
                bead.id, last, now - last_sign(bead), (report.word or report.verdict.value) if report else "-", then
            )
        )
    return sorted(rows, key=lambda row: (-row.idle, row.bead))


def _off(seconds: int) -> str:
    return f"{ago(timedelta(seconds=abs(seconds)))} {'ahead of' if seconds > 0 else 'behind'} its commit"
