"""Decisions on facts that a target knows about its runs. Pure.

A target that deduplicates names each run by the attempt's token. It can report whether an attempt
of unknown outcome runs, and prevent a later start. A run that met a usage limit starts a cooldown
of its target.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from dolt_watch.core.decisions import circuit_breaker
from dolt_watch.core.decisions.policy import Candidates, Observations, Policy, busy_answers
from dolt_watch.core.model import (
    OPEN,
    Bead,
    Decision,
    EntryKind,
    JobReport,
    Rule,
    State,
    Verdict,
)
from dolt_watch.core.model.entry_payloads import Ended
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.sanitize import sanitize as outside_text

FIRST_LIMIT, LAST_LIMIT = timedelta(minutes=1), timedelta(minutes=30)
"""First and longest cooldown after a usage limit without a reset time. Doubled with each
consecutive one.
"""
LONGEST_LIMIT = timedelta(days=1)
"""Longest cooldown by a named reset time. A later reset time is likely misread."""


def settled_by_target(
    policy: Policy, candidates: Candidates, outside: Observations
) -> Iterator[Decision]:
    """Yield the entries of attempts of unknown outcome that their target settled."""
    for bead in candidates.unsettled:
        report, rule = outside.verdicts.get(bead.id), policy.rule(bead.rule)
        if report is None or rule is None or report.verdict is Verdict.UNKNOWN:
            continue
        if report.started:
            job = report.job or bead.token
            yield Decision.of_attempt(EntryKind.DISPATCHED, bead)._replace(
                job=job,
                reason="its target reports that it was started",
                reason_code=ReasonCode.RUN_STARTED,
                note=f"dispatched: job={job}",
            )
        elif report.dead:
            yield _not_started(bead, report)


def _not_started(bead: Bead, report: JobReport) -> Decision:
    """Return the retry of an attempt that never started. Neither attempt nor claim is counted."""
    ended = Ended(since=bead.since, uncounted=True, uncounted_claim=bead.sent_at)
    return Decision.of_attempt(EntryKind.RETRY, bead)._replace(
        status=OPEN,
        reason=report.error or "it was never started",
        reason_code=ReasonCode.NEVER_STARTED,
        detail=ended.encode(),
    )


def rested(
    state: State, policy: Policy, now: datetime, candidates: Candidates, outside: Observations
) -> Iterator[Decision]:
    """Yield the ends of runs that met a usage limit."""
    for bead in (*candidates.stale, *candidates.jobs):
        report, rule = outside.verdicts.get(bead.id), policy.rule(bead.rule)
        assert rule is not None  # `reap_candidates` leaves out beads of other rules.
        if report is not None and report.limited and report.dead:
            yield _rested(bead, rule, report, state, now)


def _rested(bead: Bead, rule: Rule, report: JobReport, state: State, now: datetime) -> Decision:
    """Return the end of a run that met a usage limit. Its target cools down."""
    resting = state.cooldowns.get(rule.target, now)
    # Agents that ran at the same time met the same limit, so it is counted once.
    busy = busy_answers(state, rule.target, now)
    number = max(busy, 1) if resting > now else busy + 1
    until = now + circuit_breaker.doubled(FIRST_LIMIT, LAST_LIMIT, number, 0.0)
    if report.resets_at is not None:
        until = min(max(report.resets_at, now + FIRST_LIMIT), now + LONGEST_LIMIT)
    until = max(until, resting)
    ended = Ended(
        until=until,
        target=rule.target,
        busy=number,
        ended=report.ended,
        uncounted_claim=bead.sent_at,
    )
    return Decision.of_attempt(EntryKind.BUSY, bead)._replace(
        job=bead.job,
        status=OPEN,
        reason=outside_text(report.error, 200),
        reason_code=ReasonCode.USAGE_LIMIT,
        detail=ended.encode(),
    )
