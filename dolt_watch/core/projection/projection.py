"""The projection: state after an event is a function of the state before it and the event, and
of nothing else. Pure.

The same function folds the live feed, a replay of last month, and the ledger's streams in a resync.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from dolt_watch.core.model import (
    ANSWERS,
    GLOBAL,
    IN_FLIGHT,
    ActivitySignal,
    Bead,
    EntryKind,
    Event,
    EventKind,
    LedgerEntry,
    Origin,
    Pause,
    Phase,
    RuleMatch,
    State,
    entry_payloads,
)
from dolt_watch.core.model.columns import KEPT_BY_BD
from dolt_watch.core.model.reason_codes import CODES, ReasonCode, derived_for_record
from dolt_watch.core.projection import target_outages
from dolt_watch.core.projection.attempt_evidence import is_stale_import, kept, proves_running
from dolt_watch.core.projection.rekeyed_rows import TOUCHED

_SETTLED = frozenset({Phase.BACKOFF, Phase.QUARANTINED, Phase.HELD})
HOUR = timedelta(hours=1)
LONGEST = 2 * HOUR
"""No claim's deadline lies further off: a target's time-out is an hour at most."""
HELD_REASON = (
    "the ledger came from elsewhere (a clone, a backup), so nobody knows whether an agent has it;"
    " `dolt_watch resume` lets it go"
)
LETS_GO = "once no agent works on it, `dolt_watch resume` lets it go"
FREED = (
    "its row was freed while its attempt was under way, and history does not say that somebody"
    f" meant it; {LETS_GO}"
)
DELETED = f"it was deleted while its attempt was under way; {LETS_GO}"


class Projection:
    """A state that events are folded into.

    ``touched`` names the beads whose record changed since it was made: what a save must write.
    """

    def __init__(self, state: State) -> None:
        self.commit, self.made = state.commit, state.made
        self.beads = dict(state.beads)
        self.pauses = dict(state.pauses)
        self.resting = dict(state.cooldowns)
        self.stopped = dict(state.halted_rules)
        self.claims = dict(state.claims)
        self.version = state.version
        self.targets = target_outages.TargetOutages(state)
        self.touched: set[str] = set()

    def state(self) -> State:
        return State(
            commit=self.commit,
            made=self.made,
            beads=self.beads,
            pauses=self.pauses,
            cooldowns=self.resting,
            halted_rules=self.stopped,
            claims=self.claims,
            version=self.version,
            outages=self.targets.outages,
            busy=self.targets.busy,
        )

    def move_to(self, commit: str) -> None:
        """Set the commit that the state is of: everything up to it is folded."""
        self.commit = commit

    def apply(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.what is EventKind.RENAMED:
                self._renamed(event)
                continue
            if event.entry is None or not self._known(event.entry):
                self.apply_global(event)
            event = self._followed(event)
            before = self.beads.get(event.bead)
            after = apply_to_bead(before, event)
            if after == before:
                continue
            self.touched.add(event.bead)
            if after is None:
                del self.beads[event.bead]
            else:
                self.beads[event.bead] = after

    def _renamed(self, event: Event) -> None:
        """The record goes with the bead.

        What stood under the new id was of a bead that is no more.
        """
        bead = self.beads.pop(event.other, None)
        if bead is not None:
            self.beads[event.bead] = bead._replace(
                id=event.bead, was=bead.was or event.other, version=0
            )
            self.touched.update((event.other, event.bead))

    def _followed(self, event: Event) -> Event:
        """A report that was under way while its bead was renamed stands in the old id's stream:
        it is told of the bead all the same.
        """
        entry = event.entry
        if entry is None or not entry.token or event.bead in self.beads:
            return event
        bead = next(
            (one for one in self.beads.values() if one.was and one.token == entry.token), None
        )
        if bead is None or entry.kind not in ANSWERS:
            return event
        return event._replace(
            bead=bead.id,
            facts=None,
            entry=entry._replace(bead=bead.id, version=bead.version),
            other=event.bead,
        )

    def _known(self, entry: LedgerEntry) -> bool:
        """Was it folded already?

        A merge may show it again: a pause that was ended since, a claim that counts once. Of a
        bead that left nothing tells but the claim's time.
        """
        if entry.bead == GLOBAL:
            return entry.version <= self.version
        bead = self.beads.get(entry.bead)
        if bead is None:
            return entry.kind is EntryKind.CLAIM and entry.at in self.claims.get(entry.rule, ())
        return entry.version <= bead.version

    def apply_global(self, event: Event) -> None:
        """What an entry says beyond its bead: pauses, a target that rests, a rule that stopped,
        the claims of the last hour.
        """
        entry = event.entry
        if entry is None:
            return
        if entry.bead == GLOBAL:
            self.version = max(self.version, entry.version)
        detail = entry.detail
        self.targets.apply(entry)
        ended = entry_payloads.Ended.decode(detail)
        self._uncount(entry.rule, ended.uncounted_claim)
        match entry.kind:
            case EntryKind.CLAIM:
                if (resend := entry_payloads.Claimed.decode(detail).resend) is not None:
                    self._uncount(entry.rule, resend.claimed)
                recent = [at for at in self.claims.get(entry.rule, ()) if entry.at - at < HOUR]
                self.claims[entry.rule] = (*recent, entry.at)
            case EntryKind.BUSY:
                if ended.until is not None:
                    self.resting[ended.target] = ended.until
            case EntryKind.RECOVERED:
                self._recovered(ended.target, entry.at)
            case EntryKind.STOPPED:
                self.stopped[entry.rule] = entry.settings_hash
            case EntryKind.PAUSE:
                paused = entry_payloads.Paused.decode(detail)
                by = paused.by or entry.actor  # the person; the actor is the dispatcher's own
                pause = Pause(entry.rule, entry.reason, entry.at, by, paused.until, paused.reaping)
                self.pauses[entry.rule] = pause
            case EntryKind.RESYNC:
                for id in entry_payloads.Remade.decode(detail).held:
                    bead = self.beads.get(id)
                    if bead is not None and bead.phase is Phase.WAITING:
                        self.beads[id] = bead._replace(
                            phase=Phase.HELD, since=entry.at, reason=HELD_REASON, reason_code=None
                        )
                        self.touched.add(id)
            case EntryKind.RESUME:
                self.pauses = (
                    {}
                    if not entry.rule
                    else {k: v for k, v in self.pauses.items() if k != entry.rule}
                )
                self.stopped = (
                    {}
                    if not entry.rule
                    else {k: v for k, v in self.stopped.items() if k != entry.rule}
                )
                for bead in [
                    b
                    for b in self.beads.values()
                    if b.phase is Phase.HELD and entry.rule in ("", b.rule)
                ]:
                    self.touched.add(bead.id)
                    if not bead.matches:
                        del self.beads[bead.id]
                        continue
                    attempt = 0 if bead.token else bead.attempt
                    self.beads[bead.id] = bead._replace(
                        phase=Phase.WAITING,
                        since=event.at,
                        reason="",
                        reason_code=None,
                        token="",
                        job="",
                        attempt=attempt,
                        sign=None,
                    )

    def _uncount(self, rule: str, claimed: datetime | None) -> None:
        """``max_per_hour`` counts what ran: not a claim after which nothing did."""
        known = self.claims.get(rule, ())
        if claimed is not None and claimed in known:
            self.claims[rule] = tuple(at for at in known if at != claimed)

    def _recovered(self, target: str, at: datetime) -> None:
        """What was sent into the outage may have waited in the target until now: silence counts
        from here.
        """
        for bead in list(self.beads.values()):
            if bead.phase is Phase.UNKNOWN and bead.outage == target and bead.since < at:
                self.beads[bead.id] = bead._replace(since=at)
                self.touched.add(bead.id)


def apply_to_bead(bead: Bead | None, event: Event) -> Bead | None:
    """The bead's record after the event; None where it is in no phase."""
    if event.bead == GLOBAL:
        return None
    if bead is not None and event.facts is not None:
        rank = event.facts.rank or bead.rank
        runs = bead.rule in event.facts.running
        bead = bead._replace(matches=bool(event.facts.matches), runs=runs, rank=rank)
    if event.what is EventKind.LEDGER:
        assert event.entry is not None
        return _entry(bead, event.entry, event)
    if event.what is EventKind.OVERWRITTEN:
        return None if bead is None else _lost(bead, event.note)
    if event.what is EventKind.SIGN:
        return _record_activity(bead, event.sign, event)
    if bead is not None and is_stale_import(bead, event):
        return bead._replace(reverted=True)  # nobody set it open, and it is no sign of life
    if bead is not None and kept(bead, event):
        return _kept(bead, event)
    return _record_activity(_row(bead, event), event.sign, event)


# -- others --------------------


def _kept(bead: Bead, event: Event) -> Bead:
    """The attempt goes on, whatever its row says: written again where an older row came back,
    else held.
    """
    if event.origin is Origin.SAME and (bead.reverted or bead.unclear or bead.phase is Phase.HELD):
        return bead
    if event.origin is Origin.BACK and bead.matches and bead.phase is not Phase.HELD:
        return bead._replace(reverted=True, unclear="")
    why = ReasonCode.BEAD_DELETED if event.changed == ("deleted",) else ReasonCode.ROW_FREED
    return (
        _held(bead, event, why)
        if bead.phase is not Phase.CLAIMED
        else bead._replace(unclear=why, reverted=False)
    )


def _held(bead: Bead, event: Event, why: str) -> Bead:
    """``why``: the code; every other than "deleted" means that the row was freed.

    It keeps its token: its row may run again, and then the same attempt goes on. It holds no
    slot.
    """
    since = bead.since if bead.phase is Phase.HELD else event.at
    deleted = why == ReasonCode.BEAD_DELETED
    return bead._replace(
        phase=Phase.HELD,
        since=since,
        cause=event.commit,
        reason=DELETED if deleted else FREED,
        reason_code=None,
        deadline=None,
        reverted=False,
        unclear="",
        lost_note="" if deleted else bead.lost_note,
    )


def _row(bead: Bead | None, event: Event) -> Bead | None:
    """Somebody else changed the bead's row."""
    facts = event.facts or RuleMatch()
    if bead is None:
        return _enter(event, facts, 0)
    if (bead.phase in _SETTLED or bead.phase is Phase.CLAIMED) and _computed(event):
        return bead  # only an edit by a person re-arms it, and bd computed this one
    match bead.phase:
        case _ if bead.unwritten and bead.rule in facts.running:
            return bead  # still as the claim left it
        case Phase.CLAIMED:  # nobody but the holder of its token settles it before its deadline
            return bead._replace(reverted=False, unclear="")
        case Phase.HELD if bead.token and bead.rule in facts.running:
            phase = Phase.RUNNING if bead.job else Phase.UNKNOWN
            return bead._replace(
                phase=phase, since=event.at, cause=event.commit, reason="", reason_code=None
            )
        case Phase.HELD if bead.token:
            return _enter(event, facts, bead.version)
        case Phase.BACKOFF if facts.matches:
            return bead._replace(rule=facts.matches)
        case Phase.HELD if facts.matches:
            return bead._replace(
                rule=facts.matches
            )  # a note may be of the agent that it is held for
        case Phase.WAITING if facts.matches == bead.rule:
            return bead
        case Phase.RUNNING | Phase.UNKNOWN if bead.rule in facts.running:
            return bead._replace(reverted=False)
        case _:  # it stopped being what it was; a quarantined bead is re-armed by any edit
            return _enter(event, facts, bead.version)


def _computed(event: Event) -> bool:
    """Did bd change the row by itself?

    Where a person changes nothing but `updated_at`, the event has a sign of life.
    """
    own = KEPT_BY_BD if event.sign else KEPT_BY_BD | TOUCHED
    return bool(event.changed) and own.issuperset(event.changed)


def _enter(event: Event, facts: RuleMatch, version: int) -> Bead | None:
    if facts.matches:
        return Bead(
            id=event.bead,
            phase=Phase.WAITING,
            rule=facts.matches,
            since=event.at,
            cause=event.commit,
            matches=True,
            runs=facts.matches in facts.running,
            rank=facts.rank,
            matched_at=event.at,
            version=version,
        )
    if facts.runs:
        return Bead(
            id=event.bead,
            phase=Phase.RUNNING,
            rule=facts.runs,
            since=event.at,
            cause=event.commit,
            runs=True,
            version=version,
            sent_at=event.at,
        )
    return None


def _lost(bead: Bead, line: str) -> Bead:
    """One overwrite may take several notes of ours away, and so may one after another: none is
    forgotten before it was appended again.
    """
    lost = bead.lost_note.splitlines()
    return bead if line in lost else bead._replace(lost_note="\n".join([*lost, line]))


def _record_activity(bead: Bead | None, sign: ActivitySignal | None, event: Event) -> Bead | None:
    """A sign of life: kept for the reaper, and evidence that an unknown attempt runs."""
    if (
        bead is None
        or sign is None
        or bead.phase not in (Phase.RUNNING, Phase.UNKNOWN, Phase.CLAIMED)
    ):
        return bead
    if bead.sign is None or sign.at >= bead.sign.at:
        bead = bead._replace(sign=sign)
    if bead.phase is Phase.UNKNOWN and proves_running(bead, sign):
        reason = f"a sign of life: {sign.what} by {sign.who}"
        return bead._replace(
            phase=Phase.RUNNING,
            since=event.at,
            cause=event.commit,
            reason=reason,
            reason_code=None,
            outage="",
        )
    return bead


# -- ourselves --------------------


def _entry(bead: Bead | None, entry: LedgerEntry, event: Event) -> Bead | None:
    if bead is not None and event.other:
        return _answered(bead, entry, event)
    if bead is not None and entry.version <= bead.version:
        return bead  # already folded: a merge may show it again
    if entry.kind is EntryKind.CLAIM:
        base = bead or Bead(
            id=entry.bead, phase=Phase.WAITING, rule=entry.rule, since=entry.at, cause=entry.cause
        )
        matches, runs = base.matches, base.runs
        if event.facts is not None:  # None: a bead that is sent again, whose row stays as it is
            matches, runs = bool(event.facts.matches), entry.rule in event.facts.running
        return base._replace(
            phase=Phase.CLAIMED,
            rule=entry.rule,
            since=entry.at,
            cause=event.commit,
            version=entry.version,
            attempt=entry.attempt,
            token=entry.token,
            job="",
            sent_at=entry.at,
            retry_at=None,
            sign=None,
            deadline=_deadline(entry),
            matches=matches,
            runs=runs,
            outage="",
            reverted=False,
            unclear="",
        )
    if entry.kind is EntryKind.RESTORE:
        return _restored(bead, entry, event)
    if entry.kind is EntryKind.RENAMED:
        return _goes_on(bead, entry, event)
    if bead is None and entry.kind is EntryKind.MANUAL_RETRY:
        return _enter(event, event.facts or RuleMatch(), entry.version)  # we had blocked it
    if bead is None:
        return None  # it left before the report came: the ledger has it, the state need not
    bead = bead._replace(version=entry.version)
    step = TRANSITIONS.get(entry.kind)
    if step is None:
        return bead
    if entry.token and entry.token != bead.token:
        return bead  # of an attempt that is no longer this one
    return _owed(step(bead, entry, event), entry)


def _owed(bead: Bead | None, entry: LedgerEntry) -> Bead | None:
    """What a report could not write into the row while bd's migration was not committed: it is
    written later.
    """
    withheld = entry_payloads.Withheld.decode(entry.detail)
    if bead is None or withheld is None:
        return bead
    note, status = withheld
    bead = bead._replace(unwritten=status or "note")
    return _lost(bead, note) if note else bead


def _owes(entry: LedgerEntry) -> bool:
    return entry_payloads.Withheld.decode(entry.detail) is not None


def _deadline(entry: LedgerEntry) -> datetime:
    """A claim without one would be nobody's to settle, for ever."""
    return min(entry_payloads.Claimed.decode(entry.detail).deadline or entry.at, entry.at + LONGEST)


def _dispatched(bead: Bead, entry: LedgerEntry, event: Event) -> Bead | None:
    running = bead._replace(
        phase=Phase.RUNNING,
        since=entry.at,
        cause=event.commit,
        job=entry.job,
        deadline=None,
        reason="",
        reason_code=None,
        outage="",
    )
    return _settled(running, event)


def _settled(bead: Bead, event: Event) -> Bead | None:
    """Its request is answered, and something runs, or may.

    Where its row does not say so: did somebody free it meanwhile?
    """
    if bead.unclear:
        return _held(bead, event, bead.unclear)
    if (
        bead.runs or bead.reverted or kept(bead, event)
    ):  # what this commit itself did to the row comes next
        return bead
    return _realign_with_row(bead, event)


def _answered(bead: Bead, entry: LedgerEntry, event: Event) -> Bead | None:
    """The bead has another id by now than the one that its worker reports of: the note could not
    be written, and is owed.
    """
    if bead.phase is not Phase.CLAIMED:
        return bead
    step = TRANSITIONS[entry.kind]
    after = step(bead, entry, event)
    owed = (
        f"dispatched: job={entry.job}"
        if entry.kind is EntryKind.DISPATCHED and not entry.wrote.note
        else ""
    )
    return _lost(after, owed) if after is not None and owed else after


def _unknown(bead: Bead, entry: LedgerEntry, event: Event) -> Bead | None:
    outage = (
        entry_payloads.Ended.decode(entry.detail).target
        if target_outages.is_unreachable(entry)
        else ""
    )
    unknown = bead._replace(
        phase=Phase.UNKNOWN,
        since=entry.at,
        cause=event.commit,
        reason=entry.reason,
        reason_code=entry.reason_code,
        deadline=None,
        outage=outage,
    )
    if not bead.runs:
        settled = _settled(unknown, event)
        if settled is None or settled.phase is not Phase.UNKNOWN:
            return settled
    swept = (
        bead.sign is not None and bead.sign.commit == bead.cause
    )  # into the claim's own commit: it was there before
    if bead.sign is not None and not swept and proves_running(bead, bead.sign):
        return unknown._replace(
            phase=Phase.RUNNING,
            outage="",
            reason_code=None,
            reason=f"a sign of life: {bead.sign.what} by {bead.sign.who}",
        )
    return unknown


def _restored(bead: Bead | None, entry: LedgerEntry, event: Event) -> Bead | None:
    """As the saved state knew it; where the row says otherwise by now, as the row stands."""
    known = entry_payloads.Attempt.decode(entry.detail)
    base = _recorded(bead, entry, event, known)
    back = base._replace(
        phase=_under_way(known.phase),
        retry_at=None,
        reason="" if entry.job else entry.reason,
        reverted=False,
        reason_code=None if entry.job else entry.reason_code,
        runs=entry.rule in event.facts.running if event.facts else base.runs,
        unclear="",
    )
    return back if back.runs else _realign_with_row(back, event)


def _goes_on(bead: Bead | None, entry: LedgerEntry, event: Event) -> Bead | None:
    """As the record was that the rename took along; where the state does not have it, as the
    entry tells it.
    """
    known = entry_payloads.Attempt.decode(entry.detail)
    if bead is not None and bead.was:
        return bead._replace(version=entry.version)
    facts = event.facts or RuleMatch()
    phase = next((one for one in Phase if one.value == known.phase), Phase.HELD)
    back = _recorded(bead, entry, event, known)._replace(
        phase=phase,
        retry_at=known.retry_at,
        reason=known.why,
        reason_code=_why_code(phase, known),
        was=known.renamed_from,
        matches=bool(facts.matches),
        runs=entry.rule in facts.running,
        rank=facts.rank,
    )
    stands = back.runs if phase in IN_FLIGHT else back.matches or bool(back.token)
    return back if stands else _realign_with_row(back, event)


def _recorded(
    bead: Bead | None, entry: LedgerEntry, event: Event, known: entry_payloads.Attempt
) -> Bead:
    """The bead, or one that the state does not have yet, with the attempt that the entry
    records.
    """
    base = bead or Bead(
        id=entry.bead, phase=Phase.WAITING, rule=entry.rule, since=entry.at, cause=entry.cause
    )
    return base._replace(
        rule=entry.rule,
        since=known.since or entry.at,
        cause=event.commit,
        version=entry.version,
        attempt=entry.attempt,
        token=entry.token,
        job=entry.job,
        sent_at=known.sent_at,
        deadline=known.deadline,
    )


def _why_code(phase: Phase, known: entry_payloads.Attempt) -> ReasonCode | None:
    """The code of the reason that the record had under its old id."""
    if known.why_code is not None:
        return CODES.get(known.why_code)
    return derived_for_record(phase.value, known.why)


def _under_way(phase: object) -> Phase:
    """Somebody may have imported the entry: what is no phase of an attempt is one that nobody
    knows.
    """
    return next((one for one in IN_FLIGHT if one.value == phase), Phase.UNKNOWN)


def _failed(bead: Bead, entry: LedgerEntry, event: Event) -> Bead | None:
    if target_outages.is_unreachable(entry) or entry_payloads.Ended.decode(entry.detail).uncounted:
        return _return_to_queue(bead, entry, event)
    phase = Phase.QUARANTINED if entry.kind is EntryKind.QUARANTINED else Phase.BACKOFF
    failed = bead._replace(
        phase=phase,
        rule=_matched(bead, event),
        since=entry.at,
        cause=event.commit,
        reason=entry.reason,
        reason_code=entry.reason_code,
        token="",
        job="",
        deadline=None,
        retry_at=entry_payloads.Ended.decode(entry.detail).retry_at,
        sign=None,
        attempt=entry.attempt,
        reverted=False,
        unclear="",
    )
    return failed if bead.matches or _owes(entry) else _realign_with_row(failed, event)


def _return_to_queue(bead: Bead, entry: LedgerEntry, event: Event) -> Bead | None:
    """Busy, unreachable, released, or the rule stopped: back to waiting, and the attempt does
    not count.
    """
    attempt = max(0, bead.attempt - 1)
    back = bead._replace(
        token="",
        job="",
        deadline=None,
        attempt=attempt,
        sign=None,
        outage="",
        reverted=False,
        unclear="",
    )
    if not bead.matches and not _owes(entry):
        return _realign_with_row(back, event)
    rule = _matched(bead, event)
    return back._replace(
        phase=Phase.WAITING,
        rule=rule,
        since=entry.at,
        cause=event.commit,
        reason=entry.reason,
        reason_code=entry.reason_code,
    )


def _retried(bead: Bead, entry: LedgerEntry, event: Event) -> Bead | None:
    """A person had it tried again: due at once, and counted from the start."""
    anew = bead._replace(
        since=entry.at,
        cause=event.commit,
        attempt=0,
        token="",
        job="",
        sent_at=None,
        deadline=None,
        retry_at=None,
        reason="",
        reason_code=None,
        sign=None,
        reverted=False,
        unclear="",
    )
    if not bead.matches:
        return _realign_with_row(anew, event)
    return anew._replace(phase=Phase.WAITING, rule=_matched(bead, event))


def _released(bead: Bead, entry: LedgerEntry, event: Event) -> Bead | None:
    """A person took it over: it goes on as theirs, and holds no slot of ours."""
    theirs = bead._replace(
        attempt=0,
        token="",
        job="",
        deadline=None,
        retry_at=None,
        reason="",
        reason_code=None,
        reverted=False,
        unclear="",
    )
    if not bead.runs:
        return _realign_with_row(theirs, event)
    return theirs._replace(
        phase=Phase.RUNNING, since=entry.at, cause=event.commit, sent_at=entry.at
    )


def _finish(bead: Bead, entry: LedgerEntry, event: Event) -> Bead | None:
    return None


def _clear_lost_note(bead: Bead, entry: LedgerEntry, event: Event) -> Bead | None:
    return bead._replace(lost_note="", unwritten="")


def _realign_with_row(bead: Bead, event: Event) -> Bead | None:
    """The row moved on while we were busy with it: take it as it stands."""
    at = event.at
    if bead.matches:
        return bead._replace(
            phase=Phase.WAITING,
            rule=_matched(bead, event),
            since=at,
            matched_at=at,
            attempt=0,
            token="",
            job="",
            sign=None,
        )
    if bead.runs:
        return bead._replace(phase=Phase.RUNNING, since=at)
    return _enter(event, event.facts or RuleMatch(), bead.version)


def _matched(bead: Bead, event: Event) -> str:
    """The rule that it waits under: somebody may have handed it to another one's agent
    meanwhile.
    """
    return (event.facts and event.facts.matches) or bead.rule


TRANSITIONS: dict[EntryKind, Callable[[Bead, LedgerEntry, Event], Bead | None]] = {
    EntryKind.DISPATCHED: _dispatched,
    EntryKind.UNKNOWN: _unknown,
    EntryKind.OVERDUE: _unknown,
    EntryKind.FAILED: _failed,
    EntryKind.QUARANTINED: _failed,
    EntryKind.RETRY: _failed,
    EntryKind.REQUEUE: _failed,
    EntryKind.BUSY: _return_to_queue,
    EntryKind.RELEASE: _return_to_queue,
    EntryKind.STOPPED: _return_to_queue,
    EntryKind.GIVE_UP: _finish,
    EntryKind.REAP: _finish,
    EntryKind.NOTE: _clear_lost_note,
    EntryKind.MANUAL_RETRY: _retried,
    EntryKind.MANUAL_RELEASE: _released,
    EntryKind.MANUAL_STOP: _finish,
}
