"""The message of an entry's commit, and the values of the row of ``events`` in bd's form."""

from __future__ import annotations

from dolt_watch.core.model import EntryKind, LedgerEntry, entry_payloads
from dolt_watch.sanitize import sanitize

_VERBS = {
    EntryKind.CLAIM: "claim",
    EntryKind.DISPATCHED: "dispatch",
    EntryKind.REAP: "reap",
    EntryKind.REQUEUE: "requeue",
}


def commit_message(entry: LedgerEntry) -> str:
    """Return the subject and the trailers. `dolt log` and `git interpret-trailers` can read
    them.
    """
    # The subject is for people who read `dolt log --oneline`.
    verb = _VERBS.get(entry.kind, entry.kind.value)
    job = f", job {entry.job}" if entry.job else ""
    subject = (
        f"dolt-watch: {verb} {entry.bead} (attempt {entry.attempt}{job})"
        if entry.bead
        else f"dolt-watch: {verb}"
    )
    if entry.kind in (EntryKind.OUTAGE, EntryKind.RECOVERED):
        subject += f" {entry_payloads.OutageChange.decode(entry.detail).target}"
    # The trailers are for programs: empty ones are left out, as git does.
    trailers = {
        "Bead": entry.bead,
        "Decision": entry.kind.value,
        "Version": entry.version,
        "Attempt": entry.attempt,
        "Rule": entry.rule,
        "Cause": entry.cause,
        "Observed": entry.observed,
        "Job": entry.job,
        "Reason": entry.reason,
    }
    lines = [
        f"{name}: {sanitize(str(value))}"
        for name, value in trailers.items()
        if value not in ("", 0)
    ]
    return "\n".join([sanitize(subject, 200), "", *lines])
