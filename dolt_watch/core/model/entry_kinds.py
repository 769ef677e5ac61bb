"""The kinds of ledger entries."""

from __future__ import annotations

from enum import StrEnum


class EntryKind(StrEnum):
    """What an entry of the ledger says."""

    # decisions: on conflict thrown away and decided anew
    CLAIM = "claim"
    """The bead is ours: status, note, token and deadline are in history, and nothing is sent
    yet. ``detail.resend``: its outcome was unknown, and it is sent again.
    """
    RELEASE = "release"
    """The claim is taken back before anything was sent: the bead stopped matching in the same
    instant.
    """
    OVERDUE = "overdue"
    """A claim's deadline passed in silence: its outcome is unknown."""
    RETRY = "retry"
    """An unknown attempt is known to run nowhere: it counts as failed, but for one that an
    outage of its target left unknown (``detail.uncounted``).
    """
    GIVE_UP = "give-up"
    """An unknown attempt stayed unknown: blocked."""
    REAP = "reap"
    """No sign of life for longer than ``stale_after``: blocked."""
    REQUEUE = "requeue"
    """The same under ``on_stale = "requeue"``: open again."""
    NOTE = "note"
    """A note of ours that somebody overwrote is appended once more."""
    PAUSE = "pause"
    """No bead is handed out; ``detail.until``, ``detail.reaping``: reaping is paused too."""
    RESUME = "resume"
    """Ends pauses, stops and holds."""
    RESYNC = "resync"
    """State was made anew: history was rewritten, or the rules changed.

    ``detail.held``: beads that only a resume lets go.
    """
    RESTORE = "restore"
    """A live attempt that history lost, or whose row went back to an older state, is written
    again, as the state knew it.
    """
    RENAMED = "renamed"
    """The bead has a new id: its attempt, or what is left of its attempts, goes on under it.

    ``detail.renamed_from``: the old id.
    """
    MANUAL_RETRY = "manual-retry"
    """A person had the bead tried again (`dolt_watch retry`): it is due now, and its attempts
    count from the start. ``detail.by``, ``detail.was``: who, and what it was before.
    """
    MANUAL_STOP = "manual-stop"
    """A person ended the run (`dolt_watch stop`): the bead is blocked. ``detail`` as above."""
    MANUAL_RELEASE = "manual-release"
    """A person took the attempt over (`dolt_watch release`): the bead stays in progress as their
    own, and the slot is free. ``detail`` as above.
    """
    REPROCESS = "reprocess"
    """Somebody asked that everything after ``cause_commit`` is folded again."""
    OUTAGE = "outage"
    """``detail.target`` cannot be reached: no bead is claimed for it until it can."""
    RECOVERED = "recovered"
    """``detail.target`` can be reached again: its outage is over."""
    # reports of what happened outside: on conflict appended again until they stand
    DISPATCHED = "dispatched"
    """The target took it: ``job_id`` runs, or is queued."""
    FAILED = "failed"
    """Nothing runs; tried again after ``detail.retry_at``, or, where the target could not be
    reached (``detail.unreachable``), when that is tried again.
    """
    QUARANTINED = "quarantined"
    """Failed for the last time."""
    BUSY = "busy"
    """The target has no free slot: nothing runs, and no attempt is counted."""
    UNKNOWN = "unknown"
    """The answer never came, or said nothing certain: a run may have begun."""
    STOPPED = "stopped"
    """The target does not take our credential, or says that it is gone: the rule stops."""


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
"""Decisions of a person about a bead. Their actor is the person, ``detail.by``."""
ANSWERS = REPORTS | {EntryKind.RELEASE}
"""What may follow a claim, by the worker that made it."""
MAY_BE_RUNNING = frozenset({EntryKind.DISPATCHED, EntryKind.UNKNOWN})
"""Answers after which something runs, or may."""

GLOBAL = ""
"""The stream of decisions about no bead: pause, resume, resync, outages of targets."""
