"""The dispatch handler: claim, look again, send, settle.

No transaction is open while a request is under way.

The claim with its token is in history before anything is sent, and one token is never sent twice.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from datetime import timedelta

from dolt_watch.controller.messages import log_entry
from dolt_watch.core.decisions.circuit_breaker import health_of
from dolt_watch.core.decisions.settlement import encode_answer, settle
from dolt_watch.core.model import IN_PROGRESS, OPEN, Decision, EntryKind, Rule, entry_payloads
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.projection.target_outages import is_resent
from dolt_watch.ledger.decision_context import DecisionContext
from dolt_watch.ledger.writer import LedgerWriter, Written
from dolt_watch.log_events import LogEvent, event_fields
from dolt_watch.targets.protocol import BeadTask, Target

logger = logging.getLogger(__name__)

SEND_WINDOW_SECONDS = 30.0
"""Seconds between a claim and the last moment at which its holder may send.

The deadline lies a request's time-out behind that.
"""


def dispatch_bead(
    decision: Decision, context: DecisionContext, rule: Rule, target: Target, ledger: LedgerWriter
) -> Written:
    """What became of it: the report that now stands in the ledger.

    Raises Conflict where the claim did not go through, NotRecorded.
    """
    token = uuid.uuid4().hex
    begun = time.monotonic()
    claim = decision._replace(token=token)
    with ledger.attempt(claim):
        return _attempt(claim, begun, context, rule, target, ledger)


def _attempt(
    claim: Decision,
    begun: float,
    context: DecisionContext,
    rule: Rule,
    target: Target,
    ledger: LedgerWriter,
) -> Written:
    bead = context.state.beads[claim.bead]
    if site := getattr(target, "site", ""):  # whoever settles it must be there
        claim = claim._replace(detail={**claim.detail, "site": site})
    valid = timedelta(seconds=SEND_WINDOW_SECONDS + target.timeout)
    claimed = ledger.append_decision(context, claim, valid)
    after = time.monotonic()
    log_entry(claimed, f"picked bead: {bead.id}")
    attempt = bead._replace(
        attempt=claim.attempt, token=claim.token, cause=claimed.commit, sent_at=claimed.entry.at
    )
    again = is_resent(claim.detail)
    report = _no_longer_matches(claimed, context, ledger, again) or _claim_expired(begun)
    if report is None:
        task = BeadTask(bead.id, dict(claimed.row or {}), rule.name, claim.attempt)
        answer, jitter = target.dispatch(task, claim.token), round(random.random(), 6)
        # not the look's time: what is to be left alone for a while is left alone from its answer on
        now = claimed.entry.at + timedelta(seconds=time.monotonic() - after)
        health = health_of(
            context.state,
            rule.target,
            bead.id,
            now,
            entry_payloads.Claimed.decode(claim.detail).deferred_note,
        )
        report = settle(answer, attempt, rule, now, jitter, health)
        given = {
            "now": now.isoformat(),
            "made": context.state.made,
            "jitter": jitter,
            "answer": encode_answer(answer),
            "health": list(health),
        }
        report = report._replace(detail={**report.detail, "given": given})
    else:
        assert claimed.row is not None
        report = report._replace(status=OPEN if again else str(claimed.row["status"]))
    report = report._replace(
        bead=bead.id, rule=rule.name, attempt=claim.attempt, token=claim.token, cause=claimed.commit
    )
    written = ledger.append_outcome(context, report)
    for warning in (claimed.warning, written.warning):
        if warning:
            logger.warning(
                f"warning: {warning}", extra=event_fields(LogEvent.NOTES_FULL, bead=bead.id)
            )
    return written


def _no_longer_matches(
    claimed: Written, context: DecisionContext, ledger: LedgerWriter, again: bool
) -> Decision | None:
    """Cell-wise merges let a person unassign the bead in the same instant: look again, with our
    own cells put back.

    ``again``: the bead is in progress by an earlier claim, and may have been deferred or blocked
    since.
    """
    assert claimed.row is not None
    compiled = context.compiled[claimed.entry.rule]
    row = {**claimed.row, "status": OPEN} if again else claimed.row
    before = [row[name] for name in compiled.put_back]
    rows = ledger.engine.query(
        f"SELECT status, {compiled.when_before_claim} FROM issues WHERE id = ?",
        (*before, claimed.entry.bead),
    )
    if rows and rows[0][0] == IN_PROGRESS and rows[0][1]:
        hold = ledger.unready(context, claimed.entry) if again else None
        if hold is None:
            return None
        why = f"it is not ready: {hold.why}; nothing was sent"
        return Decision(
            kind=EntryKind.RELEASE,
            bead=claimed.entry.bead,
            rule="",
            attempt=0,
            cause="",
            reason=why,
            reason_code=ReasonCode.NOT_READY,
        )
    why = "it no longer matches its rule" if rows else "it was deleted"
    code = ReasonCode.NO_LONGER_MATCHES if rows else ReasonCode.BEAD_DELETED
    return Decision(
        kind=EntryKind.RELEASE,
        bead=claimed.entry.bead,
        rule="",
        attempt=0,
        cause="",
        reason=f"{why}; nothing was sent",
        reason_code=code,
    )


def _claim_expired(begun: float) -> Decision | None:
    """After its deadline others may settle this claim, so its holder must not send any more."""
    if time.monotonic() - begun < SEND_WINDOW_SECONDS:
        return None
    return Decision(
        kind=EntryKind.RELEASE,
        bead="",
        rule="",
        attempt=0,
        cause="",
        reason="claiming took too long; nothing was sent",
        reason_code=ReasonCode.CLAIMED_TOO_LATE,
    )
