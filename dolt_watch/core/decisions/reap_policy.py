"""Decisions of the reaper: stale beads, and how their attempts end. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from dolt_watch.core.decisions.policy import (
    Candidates,
    Observations,
    Planned,
    Policy,
    last_activity,
    retry_pause,
    silence,
    stale_at,
)
from dolt_watch.core.model import (
    BLOCKED,
    OPEN,
    Bead,
    Decision,
    EntryKind,
    HoldReason,
    JobReport,
    Rule,
    Verdict,
)
from dolt_watch.core.model.entry_payloads import LastSign, Reaped
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.sanitize import sanitize as outside_text
from dolt_watch.timestamps import iso, whole_minutes

MAX_ZONE_OFFSET = timedelta(hours=14)
"""No time zone is further ahead of UTC."""


def held_by_lease(
    bead: Bead, rule: Rule, outside: Observations, now: datetime
) -> HoldReason | None:
    """Return the hold of a bead whose agent has a fresh lease. None if it has not.

    Such a bead is neither reaped nor settled. A lease is fresh if its last heartbeat is younger
    than ``stale_after``, or if it has not expired. An expiry counts up to ``max_runtime`` after the
    heartbeat. A heartbeat further in the future than any time zone explains doesn't count, since it
    would spare the bead forever.
    """
    lease = outside.leases.get(bead.id)
    if lease is None or lease.heartbeat > now + MAX_ZONE_OFFSET:
        return None
    until = max(
        lease.heartbeat + silence(rule), min(lease.expires, lease.heartbeat + rule.max_runtime)
    )
    why = f"{outside_text(lease.holder, 80)} has a lease, last heartbeat {iso(lease.heartbeat)}"
    return HoldReason("lease", why) if until > now else None


def silence_cutoffs(stale: Sequence[Bead], policy: Policy, now: datetime) -> dict[str, datetime]:
    """Return for each stale bead the time after which a sign of life would spare it."""
    rules = {bead.id: policy.rule(bead.rule) for bead in stale}
    return {
        bead.id: now - (stale_at(bead, rule) - last_activity(bead))
        for bead in stale
        if (rule := rules[bead.id])
    }


def plan_reaps(
    policy: Policy, now: datetime, candidates: Candidates, outside: Observations
) -> Planned:
    """Stale beads and failed jobs end; the others are held, each with its reason."""
    decisions: list[Decision] = []
    holds: dict[str, HoldReason] = {}
    # A job that ended well while its bead is open: its agent may close the bead yet. One that
    # failed is not waited for.
    unheard = JobReport(Verdict.UNKNOWN)
    failed = [bead for bead in candidates.jobs if outside.verdicts.get(bead.id, unheard).failed]
    for bead in candidates.jobs:
        report = outside.verdicts.get(bead.id, unheard)
        if report.verdict is Verdict.FINISHED and not report.failed:
            why = f"its job {bead.job} ended {report.ended}, but the bead is still in progress"
            holds[bead.id] = HoldReason("verdict", why)
    for bead in (*candidates.stale, *failed):
        rule = policy.rule(bead.rule)
        assert rule is not None
        report = outside.verdicts.get(bead.id, unheard)
        if report.limited and report.dead:
            continue  # A usage limit starts a cooldown of the target instead.
        # Any sign of life spares a bead: a row, a lease, the run's output and, for as long as a
        # run may last, the target's report.
        spared = outside.holds.get(bead.id) or held_by_lease(bead, rule, outside, now)
        spared = spared or _writes_output(bead, rule, report, now)
        if (
            spared is None
            and report.verdict is Verdict.RUNNING
            and now - last_activity(bead) < rule.max_runtime
        ):
            spared = HoldReason(
                "verdict",
                f"the target reports that its job {bead.job} is {report.status_text or 'running'}",
            )
        if spared is not None:
            holds[bead.id] = spared
        else:
            decisions.append(_reaped(bead, rule, report, now))
    return Planned(tuple(decisions), holds)


def _writes_output(bead: Bead, rule: Rule, report: JobReport, now: datetime) -> HoldReason | None:
    """Return the hold of a silent bead whose run wrote output. No commit contains the output."""
    if report.verdict is not Verdict.RUNNING or report.active_at is None:
        return None
    wrote = min(report.active_at, now)
    return (
        HoldReason("output", f"its job wrote output at {iso(wrote)}")
        if now < wrote + silence(rule)
        else None
    )


def _reaped(bead: Bead, rule: Rule, report: JobReport, now: datetime) -> Decision:
    """Return the end of an attempt: as its target reports it, or because it was silent.

    A job that failed at its start did no work, so the bead is sent again after a pause. If the
    target is at fault, the attempt doesn't count, and no note is written for each try.
    """
    at_start = report.failed_at_start and report.dead
    excused = at_start and report.target_failed
    again = (
        (rule.on_stale == "requeue" or at_start)
        and bead.attempt < rule.max_attempts
        and report.has_ended
    ) or excused
    idle, sign = now - last_activity(bead), bead.sign
    retry_at = uncounted_claim = None
    if excused:
        uncounted_claim = bead.sent_at
    elif again:
        retry_at = now + (retry_pause(rule, bead.attempt) if at_start else timedelta())
    payload = Reaped(
        last_sign=last_activity(bead),
        sign=LastSign(sign.what, sign.who, sign.commit) if sign else None,
        idle_seconds=int(idle.total_seconds()),
        stale_after_seconds=int(rule.stale_after.total_seconds()),
        uncounted=excused,
        uncounted_claim=uncounted_claim,
        retry_at=retry_at,
        ended=report.ended,
    )
    # The target's report says more than the bead's silence.
    if report.ended:
        error = f": {outside_text(report.error, 200)}" if report.error else ""
        code = ReasonCode.JOB_ENDED
        reason = f"job {bead.job} ended {report.ended}{error}"
    else:
        threshold = whole_minutes(rule.stale_after)
        code = ReasonCode.NO_PROGRESS
        reason = (
            f"no progress for {whole_minutes(idle)}m (threshold"
            f" {threshold if threshold else '<1'}m)"
        )
    return Decision.of_attempt(EntryKind.REQUEUE if again else EntryKind.REAP, bead)._replace(
        job=bead.job,
        status=OPEN if again else BLOCKED,
        reason=reason,
        reason_code=code,
        note="" if excused else f"reaper: {reason} — {'requeued' if again else 'blocking'}",
        detail=payload.encode(),
    )
