"""The kinds of ledger entries."""

from __future__ import annotations

from enum import StrEnum


class EntryKind(StrEnum):
    """The kind of a ledger entry."""

    # Decisions. After a conflict they are discarded and planned again.
    CLAIM = "claim"
    """dolt_watch takes the bead. Status, note, token and deadline are in history, and nothing is
    sent yet. ``detail.resend``: the outcome was unknown, and the bead is sent again.
    """
    RELEASE = "release"
    """The claim is taken back before anything is sent, because the bead stopped matching at the
    same moment, or because the database failed.
    """
    OVERDUE = "overdue"
    """The deadline of a claim passed without an answer. The outcome is unknown."""
    RETRY = "retry"
    """An attempt of unknown outcome is known not to run. It counts as failed, unless an outage of
    its target made it unknown (``detail.uncounted``).
    """
    GIVE_UP = "give-up"
    """The outcome of an attempt stayed unknown. The bead is blocked."""
    REAP = "reap"
    """No sign of life for longer than ``stale_after``, or the job ended. The bead is blocked."""
    REQUEUE = "requeue"
    """As ``reap``, but the bead is open again: under ``on_stale = "requeue"``, and after a job that
    failed within seconds of its start.
    """
    NOTE = "note"
    """Notes of dolt_watch that another writer overwrote are appended again."""
    PAUSE = "pause"
    """No bead is dispatched until ``detail.until``. ``detail.reaping``: nothing is reaped either.
    """
    RESUME = "resume"
    """Ends pauses, stopped rules and holds."""
    RESYNC = "resync"
    """The state was rebuilt, because history was rewritten or the rules changed.

    ``detail.held``: beads that wait for a resume.
    """
    RESTORE = "restore"
    """A live attempt that history lost, or whose row returned to an older state, is written again
    from the saved state.
    """
    RENAMED = "renamed"
    """The bead has a new id. Its attempts continue under the new id.

    ``detail.renamed_from``: the old id.
    """
    MANUAL_RETRY = "manual-retry"
    """A user had the bead tried again (`dolt_watch retry`). It is due now, and its attempts are
    counted from the start. ``detail.by``: the user; ``detail.was``: the phase before.
    """
    MANUAL_STOP = "manual-stop"
    """A user ended the run (`dolt_watch stop`). The bead is blocked. ``detail`` as for
    ``manual-retry``.
    """
    MANUAL_RELEASE = "manual-release"
    """A user took the attempt over (`dolt_watch release`). The bead stays in progress as the user's
    own work, and its slot is free. ``detail`` as for ``manual-retry``.
    """
    REPROCESS = "reprocess"
    """A user requested that everything after ``cause_commit`` is applied again."""
    OUTAGE = "outage"
    """``detail.target`` can't be reached. No bead is claimed for it until it can."""
    RECOVERED = "recovered"
    """``detail.target`` can be reached again. Its outage is over."""
    # Outcome entries. After a conflict they are appended again, until they are in history.
    DISPATCHED = "dispatched"
    """The target accepted the bead: ``job_id`` runs or is queued."""
    FAILED = "failed"
    """Nothing runs. The bead is tried again after ``detail.retry_at``. If the target could not be
    reached (``detail.unreachable``), the bead waits for the end of the outage.
    """
    QUARANTINED = "quarantined"
    """The last attempt failed. The bead is not tried again until a user edits it."""
    BUSY = "busy"
    """The target has no free slot. Nothing runs, and no attempt is counted."""
    UNKNOWN = "unknown"
    """No answer came, or the answer is not certain. An agent may run."""
    STOPPED = "stopped"
    """The target rejected the credential, or reports that it is gone. The rule stops."""


REPORTS = frozenset(
    {
        EntryKind.DISPATCHED,
        EntryKind.FAILED,
        EntryKind.QUARANTINED,
        EntryKind.BUSY,
        EntryKind.UNKNOWN,
        EntryKind.STOPPED,
    }
)
BY_HAND = frozenset({EntryKind.MANUAL_RETRY, EntryKind.MANUAL_STOP, EntryKind.MANUAL_RELEASE})
"""Decisions of a user about a bead. Their actor is the user, ``detail.by``."""
ANSWERS = REPORTS | {EntryKind.RELEASE}
"""Entries that may follow a claim, written by the worker that made the claim."""
MAY_BE_RUNNING = frozenset({EntryKind.DISPATCHED, EntryKind.UNKNOWN})
"""Answers after which an agent runs or may run."""

GLOBAL = ""
"""The stream of decisions about no bead: pause, resume, resync, outages of targets."""
