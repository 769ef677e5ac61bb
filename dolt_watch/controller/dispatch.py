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

from dolt_watch.checkpoint.turns import Turns
from dolt_watch.controller.messages import log_entry
from dolt_watch.core.decisions.settlement import health_of, settle
from dolt_watch.core.model import IN_PROGRESS, OPEN, Decision, EntryKind, Rule, entry_payloads
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.model.recorded_inputs import RecordedInputs, encode_answer
from dolt_watch.errors import DatabaseError
from dolt_watch.ledger.decision_context import DecisionContext
from dolt_watch.ledger.writer import LedgerWriter, Written
from dolt_watch.log_events import LogEvent, event_fields
from dolt_watch.targets.protocol import BeadTask, Target

logger = logging.getLogger(__name__)

SEND_WINDOW_SECONDS = 30.0
"""Seconds between a claim and the last time at which its holder may send.

The deadline is later by the time-out of a request.
"""


class Claim(NamedTuple):
    """A claim in history, and its context."""

    decision: Decision
    written: Written
    row: Mapping[str, Any]
    """The bead's row as the claim's transaction read it. After a failure, only the cells that the
    claim changed.
    """
    context: DecisionContext
    rule: Rule
    payload: entry_payloads.Claimed
    ended: float
    """End of the claim, in seconds of the monotonic clock."""
    failure: DatabaseError | None = None
    """The error that took the place of the answer to the claim's commit."""


def dispatch_bead(
    decision: Decision, context: DecisionContext, rule: Rule, target: Target, ledger: LedgerWriter
) -> Written:
    """Claim the bead, check it again, send it, and return the recorded outcome entry.

    Raises:
        Conflict: The claim was not written.
        OutcomeNotRecorded: The outcome could not be written.
    """
    begun = time.monotonic()
    if site := getattr(target, "site", ""):  # Only a worker at this site can settle the attempt.
        at = entry_payloads.Claimed(site=site).encode()
        decision = decision._replace(detail={**decision.detail, **at})
    attempt = decision._replace(token=uuid.uuid4().hex)
    with ledger.attempt(attempt):
        # The claim is in history before anything is sent: a token is sent at most once.
        claim = _claim(attempt, context, rule, target, ledger)
        log_entry(claim.written)
        # After the claim's deadline, another worker may already settle it.
        outcome = _no_longer_due(claim, ledger)
        if outcome is None and time.monotonic() - begun >= SEND_WINDOW_SECONDS:
            outcome = _release(claim, "claiming took too long", ReasonCode.CLAIMED_TOO_LATE)
        if outcome is None:
            outcome = _send(claim, target, ledger.turns)
        # The outcome is recorded for this attempt in any case.
        recorded = ledger.append_outcome(context, outcome)
        for warning in filter(None, (claim.written.warning, recorded.warning)):
            fields = event_fields(LogEvent.NOTES_FULL, bead=attempt.bead)
            logger.warning(f"warning: {warning}", extra=fields)
        return recorded


def _claim(
    decision: Decision, context: DecisionContext, rule: Rule, target: Target, ledger: LedgerWriter
) -> Claim:
    """Write the claim. Raises Conflict, and DatabaseError if history doesn't have the claim."""
    valid = timedelta(seconds=SEND_WINDOW_SECONDS + target.timeout)
    failure: DatabaseError | None = None
    try:
        written = ledger.append_decision(context, decision, valid)
    except DatabaseError as error:
        # Its commit may have succeeded, and only the answer was lost.
        found, failure = ledger.find_recorded(decision), error
        if found is None:
            raise
        written = found
    cells = written.entry.wrote.cells.items()
    return Claim(
        decision=decision,
        written=written,
        row=written.row or {"status": OPEN, **{name: before for name, (before, _) in cells}},
        context=context,
        rule=rule,
        payload=entry_payloads.Claimed.decode(decision.detail),
        ended=time.monotonic(),
        failure=failure,
    )


def _no_longer_due(claim: Claim, ledger: LedgerWriter) -> Decision | None:
    """Return the release of a bead that changed at the moment of its claim, or may have changed,
    because the database failed. None if it is still due.
    """
    failure = claim.failure
    if failure is None:
        try:
            return _no_longer_matches(claim, ledger)
        except DatabaseError as error:
            failure = error
    return _release(claim, f"the database failed ({failure.clause})", ReasonCode.DATABASE_FAILED)


def _no_longer_matches(claim: Claim, ledger: LedgerWriter) -> Decision | None:
    """Return the release of a bead that no longer matches its rule. None if it still matches.

    Dolt merges cell by cell, so a user can unassign the bead at the same moment. The row is read
    again, with the old values of the cells that the claim changed.
    """
    entry, again = claim.written.entry, claim.payload.resend is not None
    compiled = claim.context.compiled[entry.rule]
    row = {**claim.row, "status": OPEN} if again else claim.row
    before = [row[name] for name in compiled.put_back]
    rows = ledger.engine.query(
        f"SELECT status, {compiled.when_before_claim} FROM issues WHERE id = ?",
        (*before, entry.bead),
    )
    if not rows:
        return _release(claim, "it was deleted", ReasonCode.BEAD_DELETED)
    status, matches = rows[0]
    if status != IN_PROGRESS or not matches:
        return _release(claim, "it no longer matches its rule", ReasonCode.NO_LONGER_MATCHES)
    # The first claim checked that the bead is ready. A bead that is sent again may have been
    # deferred or blocked since.
    hold = ledger.unready(claim.context, entry) if again else None
    if hold is not None:
        return _release(claim, f"it is not ready: {hold.why}", ReasonCode.NOT_READY)
    return None


def _release(claim: Claim, why: str, code: ReasonCode) -> Decision:
    """Return the release of a claim. The row gets the status that it had before."""
    resend = claim.payload.resend is not None
    return Decision(
        kind=EntryKind.RELEASE,
        bead=claim.decision.bead,
        rule=claim.rule.name,
        attempt=claim.decision.attempt,
        cause=claim.written.commit or claim.decision.cause,
        token=claim.decision.token,
        reason=f"{why}; nothing was sent",
        reason_code=code,
        status=OPEN if resend else str(claim.row["status"]),
    )


def _send(claim: Claim, target: Target, turns: Turns) -> Decision:
    """Send the bead and interpret the answer. No transaction is open meanwhile."""
    decision, context, rule = claim.decision, claim.context, claim.rule
    task = BeadTask(decision.bead, dict(claim.row), rule.name, decision.attempt)
    with turns.request():
        answer = target.dispatch(task, decision.token)
    jitter = round(random.random(), 6)
    # Not the time of the poll: a cooldown starts with the answer.
    now = claim.written.entry.at + timedelta(seconds=time.monotonic() - claim.ended)
    note = claim.payload.deferred_note
    health = health_of(context.state, rule.target, decision.bead, now, note)
    attempt = context.state.beads[decision.bead]._replace(
        rule=rule.name,
        attempt=decision.attempt,
        token=decision.token,
        cause=claim.written.commit,
        sent_at=claim.written.entry.at,
    )
    outcome = settle(answer, attempt, rule, now, jitter, health)
    # The inputs that history doesn't contain are recorded, so that a replay settles the same way.
    given = RecordedInputs(
        now=now,
        made=context.state.made,
        jitter=jitter,
        answer=encode_answer(answer),
        health=health,
    )
    return outcome._replace(detail={**outcome.detail, **given.encode()})
