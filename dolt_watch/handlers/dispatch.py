"""The dispatch handler: claim, look again, send, settle. No transaction is open while a request is under way.

The claim with its token is in history before anything is sent, and one token is never sent twice.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from dolt_watch.core.decide import failure
from dolt_watch.core.rules import CompiledRule
from dolt_watch.ledger import Ledger, Written
from dolt_watch.model import IN_PROGRESS, Bead, Decision, Kind, Rule
from dolt_watch.targets import Accepted, Answer, Busy, Refused, Target, Task, Unknown

MARGIN = 30.0
"""Seconds between a claim and the last moment at which its holder may send. The deadline lies a request's time-out behind that."""

REST = timedelta(seconds=30)
"""How long a busy target is left alone where it did not say."""


def dispatch(
    decision: Decision, bead: Bead, rule: Rule, compiled: CompiledRule, target: Target, ledger: Ledger, now: datetime,
    *, observed: str, fence: str, say: Callable[[str], None],
) -> Decision:  # fmt: skip
    """What became of it, as the report that now stands in the ledger. Raises Conflict where the claim did not go through."""
    token = uuid.uuid4().hex
    begun = time.monotonic()
    deadline = now + timedelta(seconds=MARGIN + target.timeout)
    claim = decision._replace(token=token, detail={**decision.detail, "deadline": deadline.isoformat()})
    claimed = ledger.decide(claim, observed=observed, fence=fence)
    say(f"picked bead: {bead.id}")
    attempt = bead._replace(attempt=decision.attempt, token=token, cause=claimed.commit)
    report = _withdrawn(claimed, compiled, ledger) or _late(begun)
    if report is None:
        task = Task(bead.id, dict(claimed.row or {}))
        report = read(target.dispatch(task, token), attempt, bead, rule, now)
    else:
        assert claimed.row is not None
        report = report._replace(status=str(claimed.row["status"]))
    report = report._replace(bead=bead.id, rule=rule.name, attempt=decision.attempt, token=token, cause=claimed.commit)
    written = ledger.report(report)
    for warning in (claimed.warning, written.warning):
        if warning:
            say(f"warning: {warning}")
    return report


def _withdrawn(claimed: Written, compiled: CompiledRule, ledger: Ledger) -> Decision | None:
    """Cell-wise merges let a person unassign the bead in the same instant: look again, with our own cells put back."""
    assert claimed.row is not None
    before = [claimed.row[name] for name in compiled.put_back]
    rows = ledger.engine.query(
        f"SELECT status, {compiled.when_put_back} FROM issues WHERE id = ?", (*before, claimed.entry.bead)
    )
    if rows and rows[0][0] == IN_PROGRESS and rows[0][1]:
        return None
    why = "it no longer matches its rule" if rows else "it was deleted"
    return Decision(Kind.RELEASE, claimed.entry.bead, "", 0, "", reason=f"{why}; nothing was sent")


def _late(begun: float) -> Decision | None:
    """After its deadline others may settle this claim, so its holder must not send any more."""
    if time.monotonic() - begun < MARGIN:
        return None
    return Decision(Kind.RELEASE, "", "", 0, "", reason="claiming took too long; nothing was sent")


def read(answer: Answer, attempt: Bead, before: Bead, rule: Rule, now: datetime) -> Decision:
    """The report that an answer makes."""
    base = Decision(Kind.UNKNOWN, attempt.id, rule.name, attempt.attempt, attempt.cause, token=attempt.token)
    match answer:
        case Accepted(job=job, status=status):
            return base._replace(kind=Kind.DISPATCHED, job=job, note=f"dispatched: job={job}", detail={"http": status})
        case Busy(why=why, status=status, retry_after=seconds):
            until = now + (REST if seconds is None else timedelta(seconds=seconds))
            detail = {"http": status, "until": until.isoformat(), "target": rule.target}
            return base._replace(kind=Kind.BUSY, status="open", reason=why, detail=detail)
        case Refused(why=why, status=status, credential=True):
            return base._replace(
                kind=Kind.STOPPED,
                status="open",
                reason=why,
                note=f"dispatch failed {why}",
                detail={"http": status},
            )
        case Refused(why=why, status=status, for_good=for_good):
            again = "not found." in why and "not found." in before.reason  # once may be a database that is away
            return failure(attempt, rule, now, why, Kind.FAILED, {"http": status}, for_good or again, random.random())
        case Unknown(why=why, status=status):
            note = f"dispatch outcome unknown ({why}): not sent again until it is known"
            return base._replace(reason=why, note=note, detail={"http": status})
