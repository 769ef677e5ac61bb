"""One dispatch: claim, check again, send, settle, record.

No transaction is open while a request is under way. The claim with its token is in history before
anything is sent, and one token is never sent twice.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from dolt_watch.controller.messages import log_entry
from dolt_watch.core.decisions.circuit_breaker import health_of
from dolt_watch.core.decisions.settlement import settle
from dolt_watch.core.model import IN_PROGRESS, OPEN, Decision, EntryKind, Rule, entry_payloads
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.model.recorded_inputs import RecordedInputs, encode_answer
from dolt_watch.ledger.decision_context import DecisionContext
from dolt_watch.ledger.writer import LedgerWriter, Written
from dolt_watch.log_events import LogEvent, event_fields
from dolt_watch.targets.protocol import BeadTask, Target

logger = logging.getLogger(__name__)

SEND_WINDOW_SECONDS = 30.0
"""Seconds between a claim and the last moment at which its holder may send.

The deadline lies a request's time-out behind that.
"""


class Claim(NamedTuple):
    """A claim that is in history, and what it was made on."""

    decision: Decision
    written: Written
    row: Mapping[str, Any]
    """The bead's row as the claim's transaction read it."""
    context: DecisionContext
    rule: Rule
    begun: float
    """When claiming began; in seconds of the monotonic clock, as the next."""
    ended: float
    is_resend: bool
    """The bead is in progress by an earlier claim, whose outcome is unknown."""


def dispatch_bead(
    decision: Decision, context: DecisionContext, rule: Rule, target: Target, ledger: LedgerWriter
) -> Written:
    """Claim the bead, check it again, send it, and record what came of it: the entry returned.

    Raises Conflict if the claim was not written, OutcomeNotRecorded.
    """
    attempt, begun = decision._replace(token=uuid.uuid4().hex), time.monotonic()
    with ledger.attempt(attempt):
        claim = _claim(attempt, begun, context, rule, target, ledger)
        # Nothing is sent if the bead was changed in the instant of the claim, or if others may
        # settle the claim by now.
        release = _no_longer_matches(claim, ledger) or _claim_expired(claim)
        if release is not None:
            status = OPEN if claim.is_resend else str(claim.row["status"])
            outcome = release._replace(status=status)
        else:
            outcome = _send(claim, target)
        # The outcome is recorded for this attempt, whoever decided it.
        outcome = outcome._replace(
            bead=attempt.bead,
            rule=rule.name,
            attempt=attempt.attempt,
            token=attempt.token,
            cause=claim.written.commit,
        )
        recorded = ledger.append_outcome(context, outcome)
        _log_warnings(attempt.bead, claim.written.warning, recorded.warning)
        return recorded


def _claim(
    decision: Decision,
    begun: float,
    context: DecisionContext,
    rule: Rule,
    target: Target,
    ledger: LedgerWriter,
) -> Claim:
    """Write the claim with its token into history: a token is sent at most once."""
    if site := getattr(target, "site", ""):  # whoever settles it must be there
        at = entry_payloads.Claimed(site=site).encode()
        decision = decision._replace(detail={**decision.detail, **at})
    valid = timedelta(seconds=SEND_WINDOW_SECONDS + target.timeout)
    written = ledger.append_decision(context, decision, valid)
    ended = time.monotonic()
    log_entry(written, f"picked bead: {decision.bead}")
    assert written.row is not None  # a claim reads its bead's row
    is_resend = entry_payloads.Claimed.decode(decision.detail).resend is not None
    return Claim(decision, written, written.row, context, rule, begun, ended, is_resend)


def _no_longer_matches(claim: Claim, ledger: LedgerWriter) -> Decision | None:
    """Return the release of a bead that its rule does not take any more; None: it still does.

    Cell-wise merges let a person unassign the bead in the same instant, so its row is read again,
    with the cells of the claim put back.
    """
    entry, again = claim.written.entry, claim.is_resend
    compiled = claim.context.compiled[entry.rule]
    row = {**claim.row, "status": OPEN} if again else claim.row
    before = [row[name] for name in compiled.put_back]
    rows = ledger.engine.query(
        f"SELECT status, {compiled.when_before_claim} FROM issues WHERE id = ?",
        (*before, entry.bead),
    )
    if not rows:
        return _release("it was deleted", ReasonCode.BEAD_DELETED)
    status, matches = rows[0]
    if status != IN_PROGRESS or not matches:
        return _release("it no longer matches its rule", ReasonCode.NO_LONGER_MATCHES)
    # A bead that is sent again may have been deferred or blocked since its first claim, which
    # checked that it is ready.
    hold = ledger.unready(claim.context, entry) if again else None
    if hold is not None:
        return _release(f"it is not ready: {hold.why}", ReasonCode.NOT_READY)
    return None


def _claim_expired(claim: Claim) -> Decision | None:
    """Return the release of a claim that may not be sent any more: after its deadline others may
    settle it. None: it may be sent.
    """
    if time.monotonic() - claim.begun < SEND_WINDOW_SECONDS:
        return None
    return _release("claiming took too long", ReasonCode.CLAIMED_TOO_LATE)


def _release(why: str, code: ReasonCode) -> Decision:
    """Attempt, bead and status are the claim's."""
    return Decision(
        kind=EntryKind.RELEASE,
        bead="",
        rule="",
        attempt=0,
        cause="",
        reason=f"{why}; nothing was sent",
        reason_code=code,
    )


def _send(claim: Claim, target: Target) -> Decision:
    """Send the bead, and interpret the answer. No transaction is open meanwhile."""
    decision, context, rule = claim.decision, claim.context, claim.rule
    task = BeadTask(decision.bead, dict(claim.row), rule.name, decision.attempt)
    answer, jitter = target.dispatch(task, decision.token), round(random.random(), 6)
    # Not the poll's time: a target that asked to be left alone is left alone from its answer on.
    now = claim.written.entry.at + timedelta(seconds=time.monotonic() - claim.ended)
    note = entry_payloads.Claimed.decode(decision.detail).deferred_note
    health = health_of(context.state, rule.target, decision.bead, now, note)
    attempt = context.state.beads[decision.bead]._replace(
        attempt=decision.attempt,
        token=decision.token,
        cause=claim.written.commit,
        sent_at=claim.written.entry.at,
    )
    outcome = settle(answer, attempt, rule, now, jitter, health)
    # What history does not hold of these inputs is recorded, so that a replay settles the same.
    given = RecordedInputs(
        now=now,
        made=context.state.made,
        jitter=jitter,
        answer=encode_answer(answer),
        health=health,
    )
    return outcome._replace(detail={**outcome.detail, **given.encode()})


def _log_warnings(bead: str, *warnings: str) -> None:
    for warning in filter(None, warnings):
        logger.warning(f"warning: {warning}", extra=event_fields(LogEvent.NOTES_FULL, bead=bead))
