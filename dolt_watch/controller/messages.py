"""Log lines of a tick."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dolt_watch.checkpoint.poll import NO_BEADS
from dolt_watch.core.decisions.candidates import orphaned_pauses
from dolt_watch.core.decisions.hold_reasons import own_reason, rule_words
from dolt_watch.core.decisions.policy import (
    Plan,
    Policy,
    Scope,
    active_pause,
    last_activity,
    stale_at,
)
from dolt_watch.core.model import (
    EMPTY,
    Bead,
    Capacity,
    EntryKind,
    HoldReason,
    LedgerEntry,
    Phase,
    Rule,
    State,
    entry_payloads,
)
from dolt_watch.core.projection.event_deriver import MAX_CLOCK_SKEW
from dolt_watch.log_events import LogEvent, event_fields, log_condition
from dolt_watch.timestamps import exact, format_span, whole_minutes

if TYPE_CHECKING:
    from dolt_watch.ledger.writer import Written

logger = logging.getLogger(__name__)

LISTED = 20
"""Number of beads with the same gate that a tick names. The other beads are counted.

`dolt_watch status` names all.
"""


def log_entry(written: Written) -> None:
    """Log an entry with its facts."""
    entry = written.entry
    logger.info(
        _words(entry),
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
    # Fixed texts that people and dashboards read.
    match entry.kind:
        case EntryKind.CLAIM:
            return f"picked bead: {entry.bead}"
        case EntryKind.DISPATCHED:
            return f"dispatched {entry.bead} as job {entry.job}"
        case EntryKind.REAP | EntryKind.REQUEUE:
            reaped = entry_payloads.Reaped.decode(entry.detail)
            if ended := reaped.ended:
                return f"REAPED {entry.bead} (job {entry.job} ended {ended})"
            idle = timedelta(seconds=reaped.idle_seconds)
            stale = f"{whole_minutes(idle)}m" if whole_minutes(idle) else exact(idle)
            return f"REAPED {entry.bead} (stale {stale})"
        # The other kinds begin with the bead, or with the target if the entry is about no bead.
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
            return (
                f"target {over.target} can be reached again, after {format_span(entry.at - since)}"
            )
        case EntryKind.STOPPED:
            return (
                f"{entry.bead}: {entry.reason}: rule {entry.rule} stops; fix it, then"
                " run `dolt_watch resume`"
            )
        case _:
            return f"{entry.bead}: {entry.kind} ({entry.reason})"


def tell_holds(state: State, plan: Plan) -> None:
    """Log the hold of a rule once, and the hold of each bead that has its own."""
    owns: list[tuple[Bead, HoldReason]] = []
    turn = Counter[str]()
    for bead in state.beads.values():
        if bead.matches:
            own = own_reason(plan, bead.rule, bead.id)
            if own is None:
                turn[bead.rule] += 1
            else:
                owns.append((bead, own))
    # A hold of a whole rule is logged once, not for each bead.
    for rule, holds in plan.rules.items():
        hold = holds[0]
        words, steady = rule_words(rule, hold, turn[rule]), f"{hold.gate}: {hold.why}"
        text = f"holding {words}"
        logger.info(
            text, extra=event_fields(LogEvent.RULE_HELD, steady=steady, rule=rule, gate=hold.gate)
        )
    # A bead's own hold names the bead. A long queue with one reason must not flood the log.
    held = Counter[str]()
    for bead, own in owns:
        held[own.gate] += 1
        if held[own.gate] <= LISTED:
            # The hold of a bead that settles is logged once, not each second.
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
    """Log at the end of a tick why beads wait, and warnings for users."""
    if scope.dispatch:
        if not any(bead.matches for bead in state.beads.values()):
            log_condition(logger, logging.INFO, NO_BEADS, LogEvent.NONE_ELIGIBLE)
        tell_holds(state, plan)
        ahead = [
            bead
            for bead in state.beads.values()
            if bead.matched_at is not None and bead.matched_at > now + MAX_CLOCK_SKEW
        ]
        if ahead:
            _log_clock_ahead(ahead, now)
    if state.pauses:
        _log_orphaned_pauses(state, policy, now)
    if any(hold.gate == "capacity" for holds in plan.rules.values() for hold in holds):
        _log_busy_targets(capacity)
    if scope.reap:
        _log_kept(state, plan, policy, now)


def _log_clock_ahead(ahead: Sequence[Bead], now: datetime) -> None:
    first, more = ahead[0], f" and {len(ahead) - 1} more" if len(ahead) > 1 else ""
    by = format_span((first.matched_at or now) - now)
    words = (
        f"warning: {first.id}{more} matched {by} in the future: a clock is wrong, so"
        " settle is ignored"
    )
    log_condition(logger, logging.WARNING, words, LogEvent.CLOCK, bead=first.id)


def _log_orphaned_pauses(state: State, policy: Policy, now: datetime) -> None:
    for pause in orphaned_pauses(state, policy, now):
        words = (
            f"warning: rule {pause.rule} is paused ({pause.reason}), but it doesn't"
            " exist, so the pause has no effect"
        )
        log_condition(logger, logging.WARNING, words, LogEvent.NO_SUCH_RULE, rule=pause.rule)


def _log_busy_targets(capacity: Mapping[str, Capacity]) -> None:
    """Log the busy targets without those that are down.

    The text of a target that is down may contain anything.
    """
    for name, one in capacity.items():
        if one.slots == 0 and not one.down:
            who = one.speaks_for or f"target {name}"
            words = f"{who} is busy — skipping tick"
            log_condition(logger, logging.INFO, words, LogEvent.TARGET_BUSY, target=name)


def _log_kept(state: State, plan: Plan, policy: Policy, now: datetime) -> None:
    """Log for each running bead why it is not reaped, and whether its signs of life are
    plausible.
    """
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
                f"warning: the last sign of {bead.id} is"
                f" {format_span(last_activity(bead) - now)} in the future: a clock is"
                " wrong, so its silence can't be measured"
            )
            logger.warning(words, extra=event_fields(LogEvent.CLOCK, steady="future", bead=bead.id))


def _spared(state: State, plan: Plan, bead: Bead, rule: Rule, now: datetime) -> str:
    """Return why a silent bead is not reaped. '' if it is not silent for long enough."""
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
    """Return the silence and its limit, in the words of the original.

    In seconds if whole minutes would be wrong.
    """
    age = now - last_activity(bead)
    if whole_minutes(age) < whole_minutes(rule.stale_after):
        return f"age {whole_minutes(age)}m < {whole_minutes(rule.stale_after)}m"
    return f"age {exact(age)} < {exact(stale_at(bead, rule) - last_activity(bead))}"
