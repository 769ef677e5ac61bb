"""The words of dolt_watch, as types. Nothing here does I/O; everything else speaks in these.

Records are ``NamedTuple``: a class of them costs a sixth of a frozen dataclass to make, and a tick makes them all anew. And no
postponed annotations here: NamedTuple would compile each of them again.

Reading order of one bead: ``RowChange`` (feed) → ``Event`` (derive) → ``Bead`` (fold) → ``Decision`` (decide) → ``Entry`` (ledger).
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from dolt_watch.core.reason_codes import ReasonCode
from dolt_watch.rule import DEFAULT_ORDER_BY, DEFAULT_WHEN, Rule

__all__ = ["DEFAULT_ORDER_BY", "DEFAULT_WHEN", "Rule"]

EMPTY: Mapping[str, Any] = MappingProxyType({})

OPEN, IN_PROGRESS, BLOCKED, CLOSED = "open", "in_progress", "blocked", "closed"
"""beads' own status words."""


class Phase(StrEnum):
    """Where a bead stands with us. A bead in no phase has no state."""

    WAITING = "waiting"
    """Matches its rule; leaves by a claim, or when it stops matching."""
    CLAIMED = "claimed"
    """Our claim is in history; nothing is known to be sent."""
    UNKNOWN = "unknown"
    """Something may have been sent; nobody knows whether it runs."""
    RUNNING = "running"
    """Dispatched by us, or in progress by a person's own dispatch."""
    BACKOFF = "backoff"
    """Failed; may be tried again at a time."""
    QUARANTINED = "quarantined"
    """Failed too often, or refused for good; a person's edit re-arms it."""
    HELD = "held"
    """Matches, but what became of earlier attempts was lost with its history: a person must resume it."""


IN_FLIGHT = frozenset({Phase.CLAIMED, Phase.UNKNOWN, Phase.RUNNING})
"""Phases that hold a slot of ``max_in_flight``, where the attempt is ours (has a token)."""


class Kind(StrEnum):
    """What an entry of the ledger says."""

    # decisions: on conflict thrown away and decided anew
    CLAIM = "claim"
    """The bead is ours: status, note, token and deadline are in history, and nothing is sent yet. ``detail.resend``: its outcome was unknown, and it is sent again."""
    RELEASE = "release"
    """The claim is taken back before anything was sent: the bead stopped matching in the same instant."""
    OVERDUE = "overdue"
    """A claim's deadline passed in silence: its outcome is unknown."""
    RETRY = "retry"
    """An unknown attempt is known to run nowhere: it counts as failed, but for one that an outage of its target left unknown (``detail.uncounted``)."""
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
    """State was made anew: history was rewritten, or the rules changed. ``detail.held``: beads that only a resume lets go."""
    RESTORE = "restore"
    """A live attempt that history lost, or whose row went back to an older state, is written again, as the state knew it."""
    RENAMED = "renamed"
    """The bead has a new id: its attempt, or what is left of its attempts, goes on under it. ``detail.renamed_from``: the old id."""
    MANUAL_RETRY = "manual-retry"
    """A person had the bead tried again (`dolt_watch retry`): it is due now, and its attempts count from the start. ``detail.by``, ``detail.was``: who, and what it was before."""
    MANUAL_STOP = "manual-stop"
    """A person ended the run (`dolt_watch stop`): the bead is blocked. ``detail`` as above."""
    MANUAL_RELEASE = "manual-release"
    """A person took the attempt over (`dolt_watch release`): the bead stays in progress as their own, and the slot is free. ``detail`` as above."""
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
    """Nothing runs; tried again after ``detail.retry_at``, or, where the target could not be reached (``detail.unreachable``), when that is tried again."""
    QUARANTINED = "quarantined"
    """Failed for the last time."""
    BUSY = "busy"
    """The target has no free slot: nothing runs, and no attempt is counted."""
    UNKNOWN = "unknown"
    """The answer never came, or said nothing certain: a run may have begun."""
    STOPPED = "stopped"
    """The target does not take our credential, or says that it is gone: the rule stops."""


REPORTS = frozenset({Kind.DISPATCHED, Kind.FAILED, Kind.QUARANTINED, Kind.BUSY, Kind.UNKNOWN, Kind.STOPPED})
BY_HAND = frozenset({Kind.MANUAL_RETRY, Kind.MANUAL_STOP, Kind.MANUAL_RELEASE})
"""Decisions of a person about a bead. Their actor is the person, ``detail.by``."""
ANSWERS = REPORTS | {Kind.RELEASE}
"""What may follow a claim, by the worker that made it."""
LIVE = frozenset({Kind.DISPATCHED, Kind.UNKNOWN})
"""Answers after which something runs, or may."""

GLOBAL = ""
"""The stream of decisions about no bead: pause, resume, resync, outages of targets."""


class Verdict(StrEnum):
    """A target's word on one of its jobs."""

    RUNNING = "running"
    FINISHED = "finished"
    LOST = "lost"
    UNKNOWN = "unknown"


# -- what the feed brings ----------------------------------------------------------------------------------------


class Answers(NamedTuple):
    """What the database says of one rule and one changed row."""

    matched: bool
    matches: bool
    was_running: bool
    runs: bool
    rank: tuple[Any, ...] = ()
    """Values of the ``order_by`` keys after the change."""


class RowChange(NamedTuple):
    """One row of a watched table before and after, in one commit. For ``issues``, with the answer of each rule before and after."""

    table: str
    bead: str
    kind: str
    """'added', 'modified' or 'removed'."""
    changed: tuple[str, ...] = ()
    """Names of the columns that differ (``issues`` only)."""
    before: Mapping[str, Any] = EMPTY
    after: Mapping[str, Any] = EMPTY
    key: str = ""
    """The row's own id, where it has one (``events``, ``comments``), or what tells it apart (a label)."""
    at: datetime | None = None
    """The row's own time (created_at, updated_at), None where it has none."""
    who: str = ""
    answers: tuple[Answers, ...] = ()
    """For ``issues``: one a rule, in the rules' order."""
    acts: tuple["Act", ...] = ()
    """For ``issues``, where a merge changed the row of a bead in the ledger: what the side lines did to it, oldest first."""
    identity: tuple[Any, ...] = ()
    """For ``issues``, of a row that was added or removed: title and ``created_at``, which survive a change of the id."""

    @property
    def nothing(self) -> bool:
        """Whether a row of ``issues`` was only stored anew, because its table's schema changed: no cell and no answer differs."""
        return (
            self.kind == "modified"
            and not self.changed
            and all(one.matched == one.matches and one.was_running == one.runs for one in self.answers)
        )


class Act(NamedTuple):
    """One change of a bead's row on a side line that a merge brought in."""

    row: RowChange
    """Over the commit's own edge."""
    tokens: frozenset[str]
    """Tokens of the attempts that this line had seen: those in the ledger as this commit has it."""


class Wrote(NamedTuple):
    """Exactly what an entry's own commit changed, so that the fold can tell our cells from anybody else's in the same commit.

    ``cells``: column of issues → (before, after), as its own transaction read and set them; notes are told by ``note``, the appended text.
    ``events``: ids of its rows of events. ``events_in_history`` false: no commit holds these, since bd (1.3) keeps the table out of history.
    """

    cells: Mapping[str, tuple[Any, Any]] = EMPTY
    note: str = ""
    events: tuple[str, ...] = ()
    events_in_history: bool = True
    """False if bd keeps `events` out of history (since bd 1.3): the rows were written, and no commit holds them."""


class Entry(NamedTuple):
    """One row of the ledger, ``watch_decision``: a decision, or a report of what happened outside."""

    bead: str
    version: int
    kind: Kind
    attempt: int
    rule: str
    token: str
    cause: str
    observed: str
    at: datetime
    """Database clock, microseconds."""
    job: str
    reason: str
    bead_hash: str
    settings_hash: str
    actor: str
    detail: Mapping[str, Any]
    wrote: Wrote
    reason_code: ReasonCode | None = None
    """The code of ``reason``, as recorded; of an entry from before the codes, as its text says."""

    @property
    def given(self) -> Mapping[str, Any]:
        """What it rests on that history does not hold; empty where it does not say."""
        given = self.detail.get("given")
        return given if isinstance(given, dict) else EMPTY


class CommitChanges(NamedTuple):
    """All row changes of one commit, and the ledger entries that it added."""

    commit: str
    date: datetime
    author: str
    rows: tuple[RowChange, ...] = ()
    entries: tuple[Entry, ...] = ()
    altered: tuple[tuple[str, int, str], ...] = ()
    """Rows of the ledger, which is append-only, that were 'modified' or 'removed' here: bead, version, which of both."""
    merge: bool = False
    """Does this commit join two lines of history?"""
    migration: bool = False
    """Is it a commit of a schema migration of bd, and touches rows of `issues` without changing what they say?

    Asked only where of a row nothing but `updated_at` differs: elsewhere it is False.
    """


# -- what a change means ---------------------------------------------------------------------------------------------


class What(StrEnum):
    """Kinds of event."""

    LEDGER = "ledger"
    """A decision or report of ours came back through the feed."""
    MATCHED = "matched"
    UNMATCHED = "unmatched"
    STARTED = "started"
    LEFT = "left"
    """Stopped being watched: closed, blocked, reassigned, deleted."""
    EDITED = "edited"
    """Somebody else changed the bead's row, and it went on matching or running (or neither)."""
    SIGN = "sign-of-life"
    """Somebody else added a comment, a label, an event, a dependency."""
    OVERWRITTEN = "note-overwritten"
    """A note of ours is gone from the row."""
    RENAMED = "renamed"
    """The bead has another id from this commit on."""


class Origin(StrEnum):
    """Where a change of what a row is to the rules comes from. Only an act releases a live attempt."""

    ACT = "act"
    """Somebody set it so, on a line of history that holds the commit before."""
    SAME = "same"
    """The row matches and runs as it did before."""
    BACK = "back"
    """An older row came back: what the attempt wrote is gone with its status."""
    UNCLEAR = "unclear"
    """History does not say whether somebody meant it."""


class Sign(NamedTuple):
    """A sign of life: when, what ('comment', 'notes', 'status' …), by whom, in which commit."""

    at: datetime
    """When history got it: the commit's date, by the server's clock, which is also the one that is decided by."""
    what: str
    who: str
    commit: str
    off: int = 0
    """Seconds by which the row's own time differs from that: it may have lain uncommitted, or a clock is wrong."""


class Facts(NamedTuple):
    """How the bead's row stands after the commit: under which rule it matches and runs ('' for none)."""

    matches: str = ""
    running: tuple[str, ...] = ()
    """All rules that it is in progress under, in the file's order: an attempt goes on for as long as its own is among them."""
    rank: tuple[Any, ...] = ()

    @property
    def runs(self) -> str:
        """The rule that watches it, where it is no attempt of another."""
        return self.running[0] if self.running else ""


class Event(NamedTuple):
    """What one change means for one bead."""

    what: What
    bead: str
    commit: str
    at: datetime
    """The commit's date."""
    facts: Facts | None = None
    """None where the commit did not change the bead's row."""
    sign: Sign | None = None
    entry: Entry | None = None
    changed: tuple[str, ...] = ()
    note: str = ""
    """OVERWRITTEN: the text that is gone."""
    row: RowChange | None = None
    """The row change that it was derived from; for an entry of ours, what its commit did to the bead's row."""
    origin: Origin = Origin.ACT
    freed: frozenset[str] = frozenset()
    """Tokens of the attempts that somebody ended on a line which a merge brought in, and which had seen them."""
    other: str = ""
    """The bead's other id, where it was renamed: RENAMED: the one before; LEFT: the one after."""


# -- the projection ----------------------------------------------------------------------------------------------


class Bead(NamedTuple):
    """The state of one bead that waits, runs, or is held: all that deciding needs to know of it."""

    id: str
    phase: Phase
    rule: str
    since: datetime
    """When the phase began."""
    cause: str
    """The commit that made it so."""
    matches: bool = False
    """Does the rule's ``when`` hold for the row as history has it?"""
    runs: bool = False
    """Is it in progress under the rule, as history has it?"""
    rank: tuple[Any, ...] = ()
    matched_at: datetime | None = None
    """Date of the commit since which it matches, unchanged: ``settle`` is reckoned from it."""
    version: int = 0
    """The last version of its stream that was folded."""
    attempt: int = 0
    """Attempts since it matched, or was re-armed."""
    token: str = ""
    job: str = ""
    sent_at: datetime | None = None
    """When its current attempt was claimed, or a person started it."""
    deadline: datetime | None = None
    retry_at: datetime | None = None
    reason: str = ""
    sign: Sign | None = None
    lost_note: str = ""
    """Notes of ours, a line each, that somebody overwrote and that were not yet appended again."""
    outage: str = ""
    """UNKNOWN: the target that could not be reached when it was sent; '' where that is not why."""
    was: str = ""
    """The id under which its attempts began, where it was renamed since. ``version`` is 0 until the new id's stream says so."""
    unclear: str = ""
    """A ``ReasonCode``: why the attempt is held once its request is answered: its row was freed, and history does not say that somebody meant it."""
    unwritten: str = ""
    """Status that a report could not set, because bd's migration was not committed; 'note' where only its note is missing; '' for none."""
    reason_code: ReasonCode | None = None
    """The code of ``reason``, if an entry gave that."""
    reverted: bool = False
    """Its row went back to what it was before our claim, while the attempt is under way: bd imports old rows. It is written again."""


class Pause(NamedTuple):
    """``rule`` '' means all rules; ``reaping`` too only with --all."""

    rule: str
    reason: str
    at: datetime
    by: str
    until: datetime | None = None
    reaping: bool = False

    def stands(self, now: datetime) -> bool:
        return self.until is None or self.until > now


class Outage(NamedTuple):
    """A target that cannot be reached."""

    since: datetime
    why: str
    part: str
    """What cannot be reached: 'target', 'service' (the one behind it), or 'capacity': its own
    answer to ``capacity()`` says that it is down."""
    next_at: datetime
    """When it is tried again. Tries by ``capacity()`` move it in the saved state alone."""
    tries: int = 1
    """Tries that failed so far."""
    recorded: bool = False
    """Does its own entry stand in the ledger?"""
    answered: bool = False
    """A dispatch was answered: it is over, and that has no entry yet."""
    noted: tuple[str, ...] = ()
    """Beads whose notes tell of it already."""


class State(NamedTuple):
    """The whole projection, at one commit."""

    commit: str = ""
    made: str = ""
    """The commit at which it was made anew from the rows as they were, the first time or after history was rewritten. From there on it was folded."""
    beads: Mapping[str, Bead] = EMPTY
    pauses: Mapping[str, Pause] = EMPTY
    """By rule, '' for all."""
    resting: Mapping[str, datetime] = EMPTY
    """Target → left alone until."""
    stopped: Mapping[str, str] = EMPTY
    """Rule → why: its target did not take our credential, or was gone, under the settings that stand."""
    claims: Mapping[str, tuple[datetime, ...]] = EMPTY
    """Rule → times of its claims in the last hour, for ``max_per_hour``."""
    version: int = 0
    """The last version of the stream of decisions about no bead that was folded; 0 where that is not known."""
    outages: Mapping[str, Outage] = EMPTY
    """By target."""
    busy: Mapping[str, int] = EMPTY
    """Target → busy answers in a row."""


# -- decisions and the ledger -----------------------------------------------------------------------------------


class Decision(NamedTuple):
    """What ``decide`` says should be done with one bead, and on what: ``detail`` holds each input that a replay needs."""

    kind: Kind
    bead: str
    rule: str
    attempt: int
    cause: str
    token: str = ""
    job: str = ""
    reason: str = ""
    note: str = ""
    """Text to append to the bead's notes, '' for none."""
    status: str = ""
    """Status to set, '' to leave it."""
    detail: Mapping[str, Any] = EMPTY
    reason_code: ReasonCode | None = None
    """The code of ``reason``: what programs compare."""


# -- why not ----------------------------------------------------------------------------------------------------


class Hold(NamedTuple):
    """A gate that holds a matching bead back: its name, which is the hold's code, and the value that it saw, in words."""

    gate: str
    why: str


class Check(NamedTuple):
    """One gate, asked: whether it lets the bead go, and the value that it saw, in words."""

    gate: str
    ok: bool
    why: str

    @property
    def hold(self) -> Hold | None:
        return None if self.ok else Hold(self.gate, self.why)


class Capacity(NamedTuple):
    """How many more runs the target takes now. ``slots`` None: not known (``why`` says so). ``idle`` is evidence, not courtesy: True only where the
    service itself said that nothing runs and nothing is queued."""

    slots: int | None
    why: str = ""
    idle: bool = False
    down: bool = False
    """The target did not answer at all (or not as itself): beads that wait make the command exit 1."""
    proof: str = ""
    """What this answer proves to be reachable: 'target', 'service' (the target and the one behind
    it), or '': nobody was asked."""
    speaks_for: str = ""
    """The service behind the target, if that is the busy one. Not recorded."""


class Lease(NamedTuple):
    """A bead's lease as bd keeps it (since bd 1.3). No commit holds it."""

    holder: str
    """The actor whose heartbeat it is."""
    heartbeat: datetime
    expires: datetime
    """Until then bd gives the bead to nobody else."""


class JobReport(NamedTuple):
    """What the target says of a job. ``word`` is its own status word ('timeout'), ``error`` its own error text."""

    verdict: Verdict
    word: str = ""
    error: str = ""
    dead: bool = False
    """The target knows that no process of the job is left."""
    started: bool = True
    """False: the target knows that the job never started."""
    limited: bool = False
    """A usage limit of the agent ended the job, not the bead."""
    resets_at: datetime | None = None
    """When the usage limit resets, if the agent named a time."""
    job: str = ""
    """The job's ID, if the target was asked by its token."""
    active_at: datetime | None = None
    """When the job last wrote output, if that counts as a sign of life."""

    @property
    def ended(self) -> str:
        """How it ended, in a word; '' where that is not known."""
        return (self.word or self.verdict.value) if self.verdict in (Verdict.FINISHED, Verdict.LOST) else ""

    @property
    def failed(self) -> bool:
        """Its target itself says that no good can come of waiting."""
        if self.dead and self.word != "completed":
            return True
        return self.verdict is Verdict.FINISHED and self.word in ("failed", "error")

    @property
    def over(self) -> bool:
        """Is nobody at work on it any more, as far as its target can tell? A service that does not kill what timed out, or broke while it was being
        read, says nothing of the agent; and one that could not be asked says nothing at all. A target that tells nothing of its jobs leaves it to
        the silence of the bead."""
        if self.verdict is Verdict.UNKNOWN:
            return not self.error
        if self.dead:
            return True
        return self.verdict is Verdict.LOST or (self.verdict is Verdict.FINISHED and self.word == "failed")
