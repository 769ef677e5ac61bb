"""Log lines of a tick."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from dolt_watch.checkpoint.poll import NO_BEADS
from dolt_watch.core.decisions.dispatch_policy import orphaned_pauses
from dolt_watch.core.decisions.hold_reasons import own_reason, rule_words
from dolt_watch.core.decisions.policy import Plan, Policy, Scope, active_pause
from dolt_watch.core.decisions.reap_policy import last_activity, stale_at
from dolt_watch.core.model import (
    EMPTY,
    Bead,
    Capacity,
    EntryKind,
    LedgerEntry,
    Phase,
    Rule,
    State,
    entry_payloads,
)
from dolt_watch.core.projection.event_deriver import MAX_CLOCK_SKEW
from dolt_watch.ledger.writer import Written
from dolt_watch.log_events import LogEvent, event_fields, log_condition
from dolt_watch.timestamps import exact, format_span, whole_minutes

logger = logging.getLogger(__name__)

LISTED = 20
"""Of the beads that one gate holds, a tick names so many; of the rest it says how many.

`status` names all.
"""


def log_entry(written: Written, words: str = "") -> None:
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


def _words(entry: LedgerEntry) -> str:
    # Fixed texts: people and dashboards read them.
    match entry.kind:
        case EntryKind.DISPATCHED:
            return f"dispatched {entry.bead} as job {entry.job}"
        case EntryKind.REAP | EntryKind.REQUEUE:
            reaped = entry_payloads.Reaped.decode(entry.detail)
            if ended := reaped.ended:
                return f"REAPED {entry.bead} (job {entry.job} ended {ended})"
            idle = timedelta(seconds=reaped.idle_seconds)
            stale = f"{whole_minutes(idle)}m" if whole_minutes(idle) else exact(idle)
            return f"REAPED {entry.bead} (stale {stale})"
        # The other kinds name the bead first, or the target if the entry is about no bead.
        case EntryKind.BUSY:
            return f"{entry.bead}: target busy ({entry.reason}) — open again"
        case EntryKind.UNKNOWN:
            return (
                f"{entry.bead}: outcome unknown ({entry.reason}): not sent again until it is known"
            )
        case EntryKind.OUTAGE:
            target = entry_payloads.OutageChange.decode(entry.detail).target
            return f"target {target} is unreachable ({entry.reason}): no bead is claimed for it"
        case EntryKind.RECOVERED:
            over = entry_payloads.OutageChange.decode(entry.detail)
            since = over.since or entry.at
            return f"target {over.target} answers again, after {format_span(entry.at - since)}"
        case EntryKind.STOPPED:
            return (
                f"{entry.bead}: {entry.reason}: rule {entry.rule} stops; mend it, then `dolt_watch"
                " resume`"
            )
        case _:
            return f"{entry.bead}: {entry.kind} ({entry.reason})"


def tell_holds(state: State, plan: Plan) -> None:
    """What holds a rule once for the rule, and each bead that has a reason of its own."""
    waiting = [bead for bead in state.beads.values() if bead.matches]
    owns = [(bead, own_reason(plan, bead.rule, bead.id)) for bead in waiting]
    turn = Counter(bead.rule for bead, own in owns if own is None)
    # A hold of a whole rule is logged once, not once a bead.
    for rule, holds in plan.rules.items():
        hold = holds[0]
        words, steady = rule_words(rule, hold, turn[rule]), f"{hold.gate}: {hold.why}"
        said = f"holding {words}"
        logger.info(
            said, extra=event_fields(LogEvent.RULE_HELD, steady=steady, rule=rule, gate=hold.gate)
        )
    # A bead's own hold names the bead; a long queue with one reason must not flood the log.
    held = Counter[str]()
    for bead, own in owns:
        if own is None:
            continue
        held[own.gate] += 1
        if held[own.gate] <= LISTED:
            # a bead that settles is held once, not anew each second
            steady = own.gate if own.gate == "settle" else own.why
            words = f"holding {bead.id}: {own.why or own.gate}"
            logger.info(
                words,
                extra=event_fields(LogEvent.HOLDING, steady=steady, bead=bead.id, gate=own.gate),
            )
    for gate, count in held.items():
        if count > LISTED:
            words = f"holding {count - LISTED} more: {gate} (dolt_watch status names them)"
            log_condition(logger, logging.INFO, words, LogEvent.HOLDING, gate=gate)


def log_holds(
    state: State,
    plan: Plan,
    policy: Policy,
    now: datetime,
    scope: Scope,
    capacity: Mapping[str, Capacity] = EMPTY,
) -> None:
    """Why beads wait, and what a person should know of: at the end of a tick."""
    if scope.dispatch:
        if not any(bead.matches for bead in state.beads.values()):
            log_condition(logger, logging.INFO, NO_BEADS, LogEvent.NONE_ELIGIBLE)
        tell_holds(state, plan)
        _log_clock_ahead(state, now)
    _log_orphaned_pauses(state, policy, now)
    if any(hold.gate == "capacity" for holds in plan.rules.values() for hold in holds):
        _log_busy_targets(capacity)
    if scope.reap:
        _log_kept(state, plan, policy, now)


def _log_clock_ahead(state: State, now: datetime) -> None:
    ahead = [
        bead
        for bead in state.beads.values()
        if bead.matched_at is not None and bead.matched_at > now + MAX_CLOCK_SKEW
    ]
    if not ahead:
        return
    first, more = ahead[0], f" and {len(ahead) - 1} more" if len(ahead) > 1 else ""
    by = format_span((first.matched_at or now) - now)
    words = (
        f"warning: {first.id}{more} matched {by} in the future: a clock is wrong, so that counts as"
        " settled"
    )
    log_condition(logger, logging.WARNING, words, LogEvent.CLOCK, bead=first.id)


def _log_orphaned_pauses(state: State, policy: Policy, now: datetime) -> None:
    for pause in orphaned_pauses(state, policy, now):
        words = (
            f"warning: rule {pause.rule} is paused ({pause.reason}), but there is no such rule (any"
            " more): it holds nothing"
        )
        log_condition(logger, logging.WARNING, words, LogEvent.NO_SUCH_RULE, rule=pause.rule)


def _log_busy_targets(capacity: Mapping[str, Capacity]) -> None:
    """Not those that are down: what such a target says of itself may hold any word."""
    for name, one in capacity.items():
        if one.slots == 0 and not one.down:
            who = one.speaks_for or f"target {name}"
            words = f"{who} is busy — skipping tick"
            log_condition(logger, logging.INFO, words, LogEvent.TARGET_BUSY, target=name)


def _log_kept(state: State, plan: Plan, policy: Policy, now: datetime) -> None:
    """Each running bead: why it is not reaped, and whether its signs of life can be believed."""
    for bead in state.beads.values():
        rule = policy.rule(bead.rule) if bead.phase is Phase.RUNNING else None
        if rule is None:
            continue
        spared = _spared(state, plan, bead, rule, now)
        words = f"keeping {bead.id} ({spared or age_words(bead, rule, now)})"
        logger.info(words, extra=event_fields(LogEvent.KEEPING, steady=spared, bead=bead.id))
        if bead.sign is not None and abs(timedelta(seconds=bead.sign.off)) > MAX_CLOCK_SKEW:
            words = (
                f"warning: a {bead.sign.what} of {bead.id} by {bead.sign.who} is dated"
                f" {_off(bead.sign.off)}: a clock or a zone is wrong; its commit's date counts"
            )
            log_condition(
                logger, logging.WARNING, words, LogEvent.CLOCK, bead=bead.id, sign=bead.sign.commit
            )
        if last_activity(bead) > now + MAX_CLOCK_SKEW:
            words = (
                f"warning: the last sign of {bead.id} lies {format_span(last_activity(bead) - now)}"
                " in the future: a clock is wrong, so it cannot be called silent"
            )
            logger.warning(words, extra=event_fields(LogEvent.CLOCK, steady="future", bead=bead.id))


def _spared(state: State, plan: Plan, bead: Bead, rule: Rule, now: datetime) -> str:
    """Why a bead that runs is not reaped though it may be silent; '' where it is not silent yet."""
    hold = plan.holds.get(bead.id)
    if hold is not None:
        return hold.why
    pause = active_pause(state, rule.name, now, reaping=True)
    if pause is not None and stale_at(bead, rule) <= now:
        return f"reaping is paused by {pause.by}: {pause.reason}"
    return ""


def _off(seconds: int) -> str:
    return (
        f"{format_span(timedelta(seconds=abs(seconds)))} {'ahead of' if seconds > 0 else 'behind'}"
        " its commit"
    )


def age_words(bead: Bead, rule: Rule, now: datetime) -> str:
    """Its silence against what is allowed, as the original says it; to the second where whole
    minutes would lie.
    """
    age = now - last_activity(bead)
    if whole_minutes(age) < whole_minutes(rule.stale_after):
        return f"age {whole_minutes(age)}m < {whole_minutes(rule.stale_after)}m"
    return f"age {exact(age)} < {exact(stale_at(bead, rule) - last_activity(bead))}"
