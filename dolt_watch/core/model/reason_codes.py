"""Codes of reasons: programs compare the code, users read the sentence. Pure.

``Decision.reason_code`` contains the code of a decision. ``LedgerEntry.reason_code`` contains the
code of an entry, stored in ``detail.reason_code``. ``derived`` finds the code of an entry without
one by its text. No other module interprets the text of a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class ReasonCode(StrEnum):
    """The reason for an entry. The code of a hold is the name of its gate."""

    # Answers of the target.
    TARGET_BUSY = "target-busy"
    """The target has no free slot."""
    TARGET_UNREACHABLE = "target-unreachable"
    """The target, or the service behind it, can't be reached."""
    TARGET_ANSWERS = "target-answers"
    """The target can be reached again."""
    RULE_STOPPED = "rule-stopped"
    """The target rejected the credential, or is gone permanently."""
    BEAD_NOT_FOUND = "bead-not-found"
    """The target can't find the bead."""
    REFUSED_FOR_GOOD = "refused-for-good"
    """The target refused the bead, and an unchanged attempt can't succeed."""
    REFUSED = "refused"
    """The target refused the bead."""
    OUTCOME_UNKNOWN = "outcome-unknown"
    """The answer is missing, or does not say whether a run started."""
    # Attempts of unknown outcome.
    DEADLINE_PASSED = "deadline-passed"
    """The worker of a claim recorded no outcome before the claim's deadline."""
    SERVICE_IDLE = "service-idle"
    """The service runs no job, so the attempt does not run."""
    NO_SIGN_OF_LIFE = "no-sign-of-life"
    """The attempt gave no sign of life, and its rule has ``on_unknown = "retry"``."""
    STILL_UNKNOWN = "still-unknown"
    """The outcome stayed unknown, and its rule has ``on_unknown = "block"``."""
    RUN_STARTED = "run-started"
    """The target reports that the attempt's run was started."""
    NEVER_STARTED = "never-started"
    """The target reports that the attempt's run was never started and never will be."""
    # Reaping.
    USAGE_LIMIT = "usage-limit"
    """The agent reached a usage limit."""
    NO_PROGRESS = "no-progress"
    """The attempt gave no sign of life for longer than ``stale_after``."""
    JOB_ENDED = "job-ended"
    """The target reports that the job ended."""
    # Released claims.
    BEAD_DELETED = "bead-deleted"
    """The bead was deleted."""
    NO_LONGER_MATCHES = "no-longer-matches"
    """The bead no longer matches its rule."""
    NOT_READY = "not-ready"
    """The bead is not ready by the rules of ``bd ready``."""
    CLAIMED_TOO_LATE = "claimed-too-late"
    """The claim took too long, so no request may be sent for it."""
    DATABASE_FAILED = "database-failed"
    """The database failed between the claim and the request."""
    # Notes and attempts that are written again.
    NOTE_OVERWRITTEN = "note-overwritten"
    """A note of dolt_watch was overwritten."""
    NOTE_WITHHELD = "note-withheld"
    """An outcome entry could not write the bead during a schema migration of bd."""
    HISTORY_LOST = "history-lost"
    """History lost the attempt."""
    ROW_REVERTED = "row-reverted"
    """The row returned to an older state."""
    ROW_FREED = "row-freed"
    """The row was freed, and history does not show that a user freed it."""
    RENAMED = "renamed"
    """The bead has a new id."""
    # Requests of a user, and rebuilds of the state.
    REQUESTED = "requested"
    """A user requested it. The text is the user's."""
    FIRST_START = "first-start"
    """This database has no saved state yet."""
    RULES_CHANGED = "rules-changed"
    """The rules changed."""
    HISTORY_REWRITTEN = "history-rewritten"
    """The saved state's commit is not in the history of HEAD."""


WORDS: Mapping[ReasonCode, str] = {
    ReasonCode.FIRST_START: "first start on this database",
    ReasonCode.RULES_CHANGED: "the rules changed",
    ReasonCode.HISTORY_REWRITTEN: "history was rewritten",
}
"""The reason for a rebuild of the state, for users."""

CODES: Mapping[str, ReasonCode] = {code.value: code for code in ReasonCode}

_OF_KIND = {
    "overdue": ReasonCode.DEADLINE_PASSED,
    "give-up": ReasonCode.STILL_UNKNOWN,
    "renamed": ReasonCode.RENAMED,
    "outage": ReasonCode.TARGET_UNREACHABLE,
    "recovered": ReasonCode.TARGET_ANSWERS,
    "busy": ReasonCode.TARGET_BUSY,
    "stopped": ReasonCode.RULE_STOPPED,
    "unknown": ReasonCode.OUTCOME_UNKNOWN,
    "failed": ReasonCode.REFUSED,
    "quarantined": ReasonCode.REFUSED,
    "pause": ReasonCode.REQUESTED,
    "resume": ReasonCode.REQUESTED,
    "reprocess": ReasonCode.REQUESTED,
    "manual-retry": ReasonCode.REQUESTED,
    "manual-release": ReasonCode.REQUESTED,
    "manual-stop": ReasonCode.REQUESTED,
}
"""Kind of entry → its code, if no other field of the entry is more specific."""

_BEGINNINGS: Mapping[str, tuple[tuple[str, ReasonCode], ...]] = {
    "release": (
        ("it was deleted", ReasonCode.BEAD_DELETED),
        ("it no longer matches", ReasonCode.NO_LONGER_MATCHES),
        ("it is not ready", ReasonCode.NOT_READY),
        ("claiming took too long", ReasonCode.CLAIMED_TOO_LATE),
    ),
    "reap": (("no progress", ReasonCode.NO_PROGRESS), ("job ", ReasonCode.JOB_ENDED)),
    "requeue": (("no progress", ReasonCode.NO_PROGRESS), ("job ", ReasonCode.JOB_ENDED)),
    "note": (
        ("a note of ours", ReasonCode.NOTE_OVERWRITTEN),
        ("a report could not", ReasonCode.NOTE_WITHHELD),
    ),
    "restore": (
        ("history lost", ReasonCode.HISTORY_LOST),
        ("its row went back", ReasonCode.ROW_REVERTED),
    ),
    "resync": (
        ("first start", ReasonCode.FIRST_START),
        ("the rules changed", ReasonCode.RULES_CHANGED),
        ("history was rewritten", ReasonCode.HISTORY_REWRITTEN),
    ),
}
"""Kind of entry → the prefixes of the reasons that entries had before codes existed.

These texts never change.
"""

_NOT_RUN = (
    ("the service runs nothing", ReasonCode.SERVICE_IDLE),
    ("no sign of life", ReasonCode.NO_SIGN_OF_LIFE),
)
"""Prefixes of reasons of decisions that an attempt with an unknown outcome does not run."""

NOT_FOUND = "not found."
"""Text of BeadBoard and other services, in a reason without a code."""


KINDS_WITH_REASON = frozenset({*_OF_KIND, *_BEGINNINGS, "retry"})
"""Kinds of entries for which ``derived`` can find a code."""


def derived(kind: str, reason: str, detail: Mapping[str, Any]) -> ReasonCode | None:
    """Return the code of an entry without a code, by its kind, text and detail.

    Any database user can write to the ledger. An unknown text has no code.
    """
    given = detail.get("given")
    answer = given.get("answer") if isinstance(given, dict) else None
    unheard = kind in ("retry", "quarantined") and not isinstance(answer, dict)
    if unheard and (code := _beginning(reason, _NOT_RUN)) is not None:
        return code
    if kind in ("failed", "quarantined", "unknown"):
        kept = answer if isinstance(answer, dict) else {}
        if kept.get("unreachable") or detail.get("unreachable"):
            return ReasonCode.TARGET_UNREACHABLE
        if kind != "unknown" and NOT_FOUND in reason:
            return ReasonCode.BEAD_NOT_FOUND
        if kept.get("for_good"):
            return ReasonCode.REFUSED_FOR_GOOD
    return _beginning(reason, _BEGINNINGS.get(kind, ())) or _OF_KIND.get(kind)


def _beginning(reason: str, known: tuple[tuple[str, ReasonCode], ...]) -> ReasonCode | None:
    return next((code for begins, code in known if reason.startswith(begins)), None)


def derived_for_record(phase: str, reason: str) -> ReasonCode | None:
    """Return the code of a bead's reason in a saved state without codes.

    The code is needed only for failed attempts, to determine whether the target found the bead.
    """
    failed = phase in ("backoff", "waiting", "quarantined", "held")
    return ReasonCode.BEAD_NOT_FOUND if failed and NOT_FOUND in reason else None


def unclear_code(text: str) -> str:
    """Return the value of ``Bead.unclear`` for the text in a saved state without codes."""
    if not text or text in CODES:
        return text
    deleted = text.startswith("it was deleted")
    return ReasonCode.BEAD_DELETED if deleted else ReasonCode.ROW_FREED
