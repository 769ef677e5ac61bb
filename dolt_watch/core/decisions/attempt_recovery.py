"""Recovery of attempts: those that no worker will settle, and those whose row, note or ID changed
in between. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from dolt_watch.core.decisions import circuit_breaker
from dolt_watch.core.decisions.policy import (
    Candidates,
    Observations,
    Planned,
    Policy,
    retry_pause,
)
from dolt_watch.core.decisions.reap_policy import held_by_lease
from dolt_watch.core.model import (
    BLOCKED,
    IN_PROGRESS,
    OPEN,
    Bead,
    Decision,
    EntryKind,
    HoldReason,
    Phase,
    Rule,
    State,
    entry_payloads,
)
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.timestamps import whole_minutes


def plan_resends(
    policy: Policy, candidates: Candidates, probes: Mapping[str, circuit_breaker.Probe]
) -> Iterator[Decision]:
    """Yield a new claim for each bead of unknown outcome that tries its target.

    The bead's row doesn't change.
    """
    chosen = {probe.bead for probe in probes.values() if probe.resend}
    for bead in candidates.unknown:
        rule = policy.rule(bead.rule)
        if rule is not None and bead.id in chosen:
            detail = entry_payloads.Resend(bead.since, bead.sent_at).encode()
            yield Decision(
                kind=EntryKind.CLAIM,
                bead=bead.id,
                rule=rule.name,
                attempt=bead.attempt,
                cause=bead.cause,
                detail=detail,
            )


WITHHELD = "an outcome could not be written to the bead while bd's migration was uncommitted"


def plan_note_repairs(beads: Iterable[Bead]) -> Iterator[Decision]:
    for bead in beads:
        if (bead.lost_note or bead.unwritten) and bead.phase is not Phase.CLAIMED:
            status = bead.unwritten if bead.unwritten in (OPEN, BLOCKED) else ""
            yield Decision(
                kind=EntryKind.NOTE,
                bead=bead.id,
                rule=bead.rule,
                attempt=bead.attempt,
                cause=bead.cause,
                note=bead.lost_note,
                status=status,
                reason=WITHHELD if bead.unwritten else "a note of dolt_watch was overwritten",
                reason_code=(
                    ReasonCode.NOTE_WITHHELD if bead.unwritten else ReasonCode.NOTE_OVERWRITTEN
                ),
            )


LOST = "history lost this attempt; it is written again from the saved state"
REVERTED = "an old row was imported over the row of a running attempt; the attempt is written again"


def plan_restores(beads: Iterable[Bead]) -> Iterator[Decision]:
    """Yield the attempts whose row went back to an older state.

    Without this entry the bead would be open, so any agent could take it, and no reaper could end
    the attempt.
    """
    for bead in beads:
        if bead.reverted and bead.phase is not Phase.CLAIMED:
            yield restore(bead, REVERTED, ReasonCode.ROW_REVERTED)


def plan_renames(beads: Iterable[Bead]) -> Iterator[Decision]:
    """Yield the beads with a new id whose stream does not contain their earlier attempts yet."""
    for bead in beads:
        if bead.was and not bead.version and (bead.attempt or bead.phase is not Phase.WAITING):
            code = bead.reason_code.value if bead.reason_code is not None else None
            moments = {
                "since": bead.since,
                "sent_at": bead.sent_at,
                "deadline": bead.deadline,
                "retry_at": bead.retry_at,
            }
            detail = entry_payloads.Attempt(
                **moments,
                phase=bead.phase.value,
                why=bead.reason,
                why_code=code,
                renamed_from=bead.was,
            )
            yield Decision.of_attempt(EntryKind.RENAMED, bead)._replace(
                job=bead.job,
                reason=f"renamed from {bead.was}; its attempts continue under the new id",
                reason_code=ReasonCode.RENAMED,
                detail=detail.encode(),
            )


def restore(bead: Bead, why: str, code: ReasonCode) -> Decision:
    """Return the decision that writes a live attempt again from the state."""
    known = entry_payloads.Attempt(bead.phase.value, bead.since, bead.sent_at, bead.deadline)
    job = f"job={bead.job}" if bead.job else f"attempt {bead.attempt}"
    return Decision.of_attempt(EntryKind.RESTORE, bead)._replace(
        job=bead.job,
        status=IN_PROGRESS,
        reason=why,
        reason_code=code,
        note=f"dispatch restored: {job}",
        detail=known.encode(),
    )


def plan_expired(
    claimed: Iterable[Bead],
    state: State,
    policy: Policy,
    now: datetime,
    candidates: Candidates,
    outside: Observations,
) -> Planned:
    """Return the end of attempts that no worker will settle any more, and the beads that a lease
    holds.
    """
    decisions = [
        _overdue(bead, bead.deadline)
        for bead in claimed
        if bead.deadline is not None and bead.deadline <= now
    ]
    holds: dict[str, HoldReason] = {}
    for bead in candidates.unknown:
        rule = policy.rule(bead.rule)
        if rule is None:
            continue
        # If a run exists, or may exist, nothing is decided.
        if rule.on_unknown == "retry" and bead.id in outside.verdicts:
            continue  # The target can report whether the attempt runs, so silence is no evidence.
        if (hold := held_by_lease(bead, rule, outside, now)) is not None:
            holds[bead.id] = hold
            continue
        capacity, outage = outside.capacity.get(rule.target), state.outages.get(rule.target)
        ended = entry_payloads.Ended(since=bead.since)
        # Silence during an outage says nothing about the attempt.
        if outage is not None:
            if rule.on_unknown == "retry" or not circuit_breaker.is_doubtful(outage, capacity, now):
                continue  # The bead is sent again to try the target, or settled after the outage.
        elif capacity is not None and capacity.down:
            continue  # An outage begins.
        # Only a service that says that it runs nothing proves an end. Otherwise the rule decides
        # by silence.
        if outage is None and capacity is not None and capacity.idle:
            idle = ReasonCode.SERVICE_IDLE
            decisions.append(_retry(bead, rule, now, "the service runs nothing", idle, ended))
        elif rule.on_unknown == "retry":
            silent = f"no sign of life in {whole_minutes(now - bead.since)}m"
            code = ReasonCode.NO_SIGN_OF_LIFE
            decisions.append(_retry(bead, rule, now, silent, code, ended))
        else:
            decisions.append(_give_up(bead, now, ended))
    return Planned(tuple(decisions), holds)


def _overdue(bead: Bead, deadline: datetime) -> Decision:
    why = "its worker recorded no outcome before the deadline"
    return Decision.of_attempt(EntryKind.OVERDUE, bead)._replace(
        reason=why,
        reason_code=ReasonCode.DEADLINE_PASSED,
        note=f"dispatch outcome unknown ({why}): not sent again until it is known",
        detail=entry_payloads.Ended(deadline=deadline).encode(),
    )


def _give_up(bead: Bead, now: datetime, ended: entry_payloads.Ended) -> Decision:
    waited = whole_minutes(now - bead.since)
    return Decision.of_attempt(EntryKind.GIVE_UP, bead)._replace(
        status=BLOCKED,
        reason=f"still unknown after {waited}m",
        reason_code=ReasonCode.STILL_UNKNOWN,
        detail=ended.encode(),
        note=(
            f"dispatch outcome still unknown after {waited}m — blocking; set it open to try again"
        ),
    )


def _retry(
    bead: Bead,
    rule: Rule,
    now: datetime,
    why: str,
    code: ReasonCode,
    ended: entry_payloads.Ended,
) -> Decision:
    """Return the retry of an attempt that does not run.

    If an outage of the target made the outcome unknown, the attempt doesn't count.
    """
    if not bead.outage:
        return plan_failure(bead, rule, now, why, EntryKind.RETRY, ended, code=code)
    return Decision.of_attempt(EntryKind.RETRY, bead)._replace(
        rule=rule.name,
        status=OPEN,
        reason=why,
        reason_code=code,
        detail=ended._replace(uncounted=True, uncounted_claim=bead.sent_at).encode(),
    )


def plan_failure(
    bead: Bead,
    rule: Rule,
    now: datetime,
    why: str,
    kind: EntryKind,
    ended: entry_payloads.Ended,
    for_good: bool = False,
    jitter: float = 0.0,
    *,
    code: ReasonCode,
) -> Decision:
    """Return the entry of a failed attempt: a later retry, or quarantine after the last attempt.

    Args:
        bead: The bead with its attempt.
        rule: The rule.
        now: The time of the decision.
        why: The reason, for users.
        kind: The kind of entry, if the bead may be tried again.
        ended: Further payload of the entry.
        for_good: An unchanged attempt can't succeed.
        jitter: From 0 to 1. Adds up to a quarter of the pause.
        code: The code of the reason.
    """
    # Another attempt without a change can't succeed, so a user must edit the bead.
    attempt = bead.attempt
    if for_good or attempt >= rule.max_attempts:
        return Decision.of_attempt(EntryKind.QUARANTINED, bead)._replace(
            rule=rule.name,
            status=OPEN,
            reason=why,
            reason_code=code,
            note=(
                f"dispatch quarantined after {attempt} attempts: {why}; edit the bead to try again"
            ),
            detail=ended.encode(),
        )
    pause = retry_pause(rule, attempt, jitter)
    return Decision.of_attempt(kind, bead)._replace(
        rule=rule.name,
        status=OPEN,
        reason=why,
        reason_code=code,
        note=f"dispatch failed {why}",
        detail=ended._replace(retry_at=now + pause).encode(),
    )
