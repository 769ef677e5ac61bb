"""Decisions of the reaper: stale beads, and how their attempts end. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from dolt_watch.core.decisions.policy import (
    IMMEDIATELY,
    MINUTE,
    RECHECK_INTERVAL,
    Candidates,
    NextDue,
    Observations,
    Policy,
    Scope,
    active_pause,
    retry_pause,
    uncounted_claim,
)
from dolt_watch.core.model import (
    BLOCKED,
    IN_FLIGHT,
    OPEN,
    Bead,
    Decision,
    EntryKind,
    HoldReason,
    JobReport,
    Phase,
    Rule,
    State,
    Verdict,
)
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.sanitize import sanitize as outside_text
from dolt_watch.timestamps import iso, whole_minutes

MAX_ZONE_OFFSET = timedelta(hours=14)
"""No time zone is further ahead of UTC."""


def last_activity(bead: Bead) -> datetime:
    """Return the time of the last sign of life, or the start of the attempt if it gave none."""
    return max(bead.since, bead.sign.at) if bead.sign else bead.since


def stale_at(bead: Bead, rule: Rule) -> datetime:
    """Return when the bead becomes stale: after more whole minutes than the threshold, as in the
    original.

    A threshold of less than a minute counts in seconds.
    """
    return last_activity(bead) + silence(rule)


def silence(rule: Rule) -> timedelta:
    """Return how long a bead must be silent to be stale."""
    return (
        rule.stale_after if rule.stale_after < MINUTE else MINUTE * (rule.stale_after // MINUTE + 1)
    )


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


def reap_candidates(
    state: State, policy: Policy, now: datetime, scope: Scope, clock: NextDue
) -> tuple[tuple[Bead, ...], tuple[Bead, ...], tuple[Bead, ...]]:
    """Return the beads that the reaper and the settlement look at.

    Returns:
        Running beads that are stale; running beads with a job that are not stale; attempts of
        unknown outcome past ``unknown_after``.
    """
    stale, jobs, unknown = [], [], []
    watched = [
        bead
        for bead in state.beads.values()
        if bead.phase in IN_FLIGHT or bead.lost_note or bead.unwritten
    ]
    for bead in sorted(watched, key=lambda bead: (bead.since, bead.id)):
        if bead.phase is Phase.CLAIMED:
            clock.at("dispatch", bead.deadline)
        if (bead.lost_note or bead.unwritten) and bead.phase is not Phase.CLAIMED:
            clock.at("dispatch", IMMEDIATELY)
        rule = policy.rule(bead.rule)
        if rule is None:
            continue
        if bead.phase is Phase.UNKNOWN:
            outage = state.outages.get(rule.target)
            at = bead.since + rule.unknown_after
            at = at if outage is None else max(at, outage.next_at)
            if at <= now:
                unknown.append(bead)
                at = (
                    now + RECHECK_INTERVAL if scope.dispatch else at
                )  # The bead is settled in this tick, or held by a lease.
            if rule.target in policy.deduplicating:  # The target is asked at once, and then again.
                at = min(at, now + RECHECK_INTERVAL) if scope.dispatch else IMMEDIATELY
            clock.at("dispatch", at)
        if bead.phase is Phase.RUNNING:
            pause = active_pause(state, rule.name, now, reaping=True)
            if pause is not None:
                clock.at("reap", pause.until)
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
            clock.at("reap", at)
    return tuple(stale), tuple(jobs), tuple(unknown)


def plan_reaps(
    policy: Policy,
    now: datetime,
    asked: Candidates,
    outside: Observations,
    holds: dict[str, HoldReason],
) -> Iterator[Decision]:
    unheard = JobReport(Verdict.UNKNOWN)
    failed = [bead for bead in asked.jobs if outside.verdicts.get(bead.id, unheard).failed]
    for bead in asked.jobs:
        report = outside.verdicts.get(bead.id, unheard)
        if report.verdict is Verdict.FINISHED and not report.failed:
            why = f"its job {bead.job} ended {report.ended}, but the bead is still in progress"
            holds[bead.id] = HoldReason("verdict", why)
    for bead in (*asked.stale, *failed):
        rule = policy.rule(bead.rule)
        assert rule is not None
        report = outside.verdicts.get(bead.id, unheard)
        if report.limited and report.dead:
            continue  # A usage limit starts a cooldown of the target instead.
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
            continue
        yield _reaped(bead, rule, report, now)


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
    detail = {
        "last_sign": last_activity(bead).isoformat(),
        "sign": {"what": sign.what, "who": sign.who, "commit": sign.commit} if sign else None,
        "idle_seconds": int(idle.total_seconds()),
        "stale_after_seconds": int(rule.stale_after.total_seconds()),
    }
    if excused:
        detail |= {"uncounted": True, **uncounted_claim(bead)}
    elif again:
        pause = retry_pause(rule, bead.attempt) if at_start else timedelta()
        detail["retry_at"] = (now + pause).isoformat()
    if report.ended:
        detail["ended"] = report.ended
        said = f": {outside_text(report.error, 200)}" if report.error else ""
        code = ReasonCode.JOB_ENDED
        reason = f"job {bead.job} ended {report.ended}{said}"
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
        detail=detail,
    )
