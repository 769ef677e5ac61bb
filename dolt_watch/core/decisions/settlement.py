"""The outcome entry for a target's answer. Pure.

A replay computes the entry again from the recorded answer.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from dolt_watch.core.decisions import circuit_breaker
from dolt_watch.core.decisions.attempt_recovery import plan_failure
from dolt_watch.core.decisions.policy import busy_answers
from dolt_watch.core.model import OPEN, Bead, Decision, EntryKind, Rule, State
from dolt_watch.core.model.entry_payloads import Ended
from dolt_watch.core.model.observations import Health
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown

DEFAULT_COOLDOWN = timedelta(seconds=30)
"""Cooldown of a busy target that named no time. Used by programs that did not count busy answers.
"""


def health_of(state: State, target: str, bead: str, now: datetime, note: str = "") -> Health:
    """Return the health of a target at an answer. ``note``: the deferred note of the claim."""
    outage = state.outages.get(target)
    return Health(
        busy_answers(state, target, now),
        outage.tries if outage is not None else 0,
        outage is not None and bead in outage.noted,
        note,
    )


def settle(
    answer: Answer,
    attempt: Bead,
    rule: Rule,
    now: datetime,
    jitter: float,
    health: Health | None = None,
) -> Decision:
    """Return the outcome entry for an answer.

    Args:
        answer: The target's answer.
        attempt: The bead as claimed.
        rule: The rule.
        now: The time of the answer.
        jitter: From 0 to 1, drawn once.
        health: The health of the target. None: decide as programs that did not track it.
    """
    base = Decision.of_attempt(EntryKind.UNKNOWN, attempt)._replace(rule=rule.name)
    report = _report(answer, base, attempt, rule, now, jitter)
    if health is None:
        return report
    match answer:
        case Busy(retry_after=seconds):
            return _busy(report, attempt, now, health, seconds)
        case Refused(unreachable=part) | Unknown(unreachable=part) if part:
            return _unreachable(answer, part, base, attempt, rule, now, jitter, health)
    note = "\n".join(text for text in (health.note, report.note) if text)
    if health.busy or health.tries:
        named = Ended(target=rule.target)
        report = report._replace(detail={**report.detail, **named.encode()})
    return report._replace(note=note)


def _busy(
    report: Decision, attempt: Bead, now: datetime, health: Health, seconds: float | None
) -> Decision:
    number = health.busy + 1
    until = now + circuit_breaker.busy_pause(number, seconds)
    ended = Ended(until=until, busy=number, uncounted_claim=attempt.sent_at)
    return report._replace(detail={**report.detail, **ended.encode()})


def _unreachable(
    answer: Refused | Unknown,
    part: str,
    base: Decision,
    attempt: Bead,
    rule: Rule,
    now: datetime,
    jitter: float,
    health: Health,
) -> Decision:
    """Return the outcome entry for a target that can't be reached.

    No attempt is counted, and one note mentions the outage.
    """
    tries = health.tries + 1
    again = now + circuit_breaker.try_pause(tries, jitter)
    # The try counts for the target's outage, whatever it means for the attempt.
    ended = Ended(target=rule.target, unreachable=part, tries=tries, next_try=again)
    # A refusal: nothing runs, so the bead is open again. Otherwise a run may exist.
    if isinstance(answer, Refused):
        note = f"dispatch failed {answer.why}"
        base = base._replace(kind=EntryKind.FAILED, status=OPEN)
        ended = ended._replace(uncounted_claim=attempt.sent_at)
    else:
        note = f"dispatch outcome unknown ({answer.why}): not sent again until it is known"
    return base._replace(
        reason=answer.why,
        reason_code=code_of(answer),
        note="" if health.noted else note,
        detail=ended.encode(),
    )


def _report(
    answer: Answer, base: Decision, attempt: Bead, rule: Rule, now: datetime, jitter: float
) -> Decision:
    match answer:
        case Accepted(job=job):
            return base._replace(kind=EntryKind.DISPATCHED, job=job, note=f"dispatched: job={job}")
        case Busy(why=why, retry_after=seconds):
            until = now + (DEFAULT_COOLDOWN if seconds is None else timedelta(seconds=seconds))
            return base._replace(
                kind=EntryKind.BUSY,
                status=OPEN,
                reason=why,
                reason_code=code_of(answer),
                detail=Ended(until=until, target=rule.target).encode(),
            )
        case Refused(why=why, halts_rule=True):
            return base._replace(
                kind=EntryKind.STOPPED,
                status=OPEN,
                reason=why,
                reason_code=code_of(answer),
                note=f"dispatch failed {why}",
            )
        case Refused(why=why, permanent=for_good):
            # The first such answer may mean that the target's database is away. After two in a row
            # the bead is at fault.
            again = answer.not_found and attempt.reason_code is ReasonCode.BEAD_NOT_FOUND
            code = code_of(answer) or ReasonCode.REFUSED
            return plan_failure(
                attempt,
                rule,
                now,
                why,
                EntryKind.FAILED,
                Ended(),
                for_good or again,
                jitter,
                code=code,
            )
    note = f"dispatch outcome unknown ({answer.why}): not sent again until it is known"
    return base._replace(reason=answer.why, reason_code=code_of(answer), note=note)


def code_of(answer: Answer) -> ReasonCode | None:
    """Return the code of an answer. None if the target accepted the bead."""
    match answer:
        case Accepted():
            return None
        case Busy():
            return ReasonCode.TARGET_BUSY
        case Refused(unreachable=part) | Unknown(unreachable=part) if part:
            return ReasonCode.TARGET_UNREACHABLE
        case Unknown():
            return ReasonCode.OUTCOME_UNKNOWN
        case Refused(halts_rule=True):
            return ReasonCode.RULE_STOPPED
        case Refused(not_found=True):
            return ReasonCode.BEAD_NOT_FOUND
        case Refused(permanent=True):
            return ReasonCode.REFUSED_FOR_GOOD
    return ReasonCode.REFUSED
