"""The projection: the next state is a function of the state and the event alone. Pure.

The same function applies the live change feed, a replay of an earlier time, and the ledger's
streams in a rebuild.
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
from dolt_watch.core.model.columns import KEPT_BY_BD, TOUCHED
from dolt_watch.core.model.reason_codes import CODES, ReasonCode, derived_for_record
from dolt_watch.core.projection.attempt_evidence import is_stale_import, kept, proves_running
from dolt_watch.core.projection.target_outages import TargetOutages, is_unreachable

_SETTLED = frozenset({Phase.BACKOFF, Phase.QUARANTINED, Phase.HELD})
HOUR = timedelta(hours=1)
LONGEST = 2 * HOUR
"""Upper bound of a claim's deadline. A target's time-out is at most an hour."""
HELD_REASON = (
    "the ledger came from another place (a clone, a backup), so an agent may be"
    " working on it; `dolt_watch resume` ends the hold"
)
LETS_GO = "when no agent works on it, `dolt_watch resume` ends the hold"
FREED = (
    "its row was freed during its attempt, and history doesn't show that a user freed"
    f" it; {LETS_GO}"
)
DELETED = f"it was deleted during its attempt; {LETS_GO}"


class Projection:
    """A state to which events are applied.

    ``touched`` contains the beads whose record changed since the object was created. A save writes
    these.
    """

    def __init__(self, state: State) -> None:
        self.commit, self.made = state.commit, state.made
        self.beads = dict(state.beads)
        self.pauses = dict(state.pauses)
        self.resting = dict(state.cooldowns)
        self.stopped = dict(state.halted_rules)
        self.claims = dict(state.claims)
        self.version = state.version
        self.targets = TargetOutages(dict(state.outages), dict(state.busy))
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

    def apply(self, events: Iterable[Event], commit: str = "") -> None:
        """Apply events. ``commit``: the commit of which these are all events."""
        self.commit = commit or self.commit
        for event in events:
            if event.what is EventKind.RENAMED:
                self._renamed(event)
                continue
            if event.entry is not None:
                if not self._known(event.entry):
                    self.apply_global(event.entry, event.at)
                if event.entry.token and event.bead not in self.beads:
                    event = self._followed(event, event.entry)
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
        """Move the bead's record to the new id.

        A record under the new id belongs to a bead that no longer exists.
        """
        bead = self.beads.pop(event.other, None)
        if bead is not None:
            self.beads[event.bead] = bead._replace(
                id=event.bead, was=bead.was or event.other, version=0
            )
            self.touched.update((event.other, event.bead))

    def _followed(self, event: Event, entry: LedgerEntry) -> Event:
        """Return the event of an outcome entry in the old id's stream as an event of the renamed
        bead.

        The bead was renamed while its worker waited for the answer.
        """
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
        """Return whether the entry is already applied.

        A merge may show an entry again: a pause that has ended, or a claim that counts once. For a
        bead without a record, only the claim's time shows that.
        """
        if entry.bead == GLOBAL:
            return entry.version <= self.version
        bead = self.beads.get(entry.bead)
        if bead is None:
            return entry.kind is EntryKind.CLAIM and entry.at in self.claims.get(entry.rule, ())
        return entry.version <= bead.version

    def apply_global(self, entry: LedgerEntry, at: datetime) -> None:
        """Apply the effects of an entry beyond its bead: pauses, cooldowns, stopped rules, and the
        claims of the last hour.

        ``at``: the date of the entry's commit.
        """
        if entry.bead == GLOBAL:
            self.version = max(self.version, entry.version)
        detail = entry.detail
        ended = entry_payloads.Ended.decode(detail)
        # Outcome entries name their target if its health was or is in question.
        if ended.target:
            self.targets.apply(entry, ended)
        if ended.uncounted_claim is not None:
            self._uncount(entry.rule, ended.uncounted_claim)
        match entry.kind:
            case EntryKind.CLAIM:
                resend = entry_payloads.Claimed.decode(detail).resend
                if resend is not None and resend.claimed is not None:
                    self._uncount(entry.rule, resend.claimed)
                times = self.claims.get(entry.rule, ())
                recent = [time for time in times if entry.at - time < HOUR]
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
                by = paused.by or entry.actor  # The user. The actor is the dispatcher's.
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
                        since=at,
                        reason="",
                        reason_code=None,
                        token="",
                        job="",
                        attempt=attempt,
                        sign=None,
                    )

    def _uncount(self, rule: str, claimed: datetime) -> None:
        """Remove a claim that ``max_per_hour`` doesn't count, because nothing ran."""
        if claimed in self.claims.get(rule, ()):
            self.claims[rule] = tuple(at for at in self.claims[rule] if at != claimed)

    def _recovered(self, target: str, at: datetime) -> None:
        """Restart the silence of the beads that were sent during an outage.

        The target may have kept their requests until now.
        """
        for bead in list(self.beads.values()):
            if bead.phase is Phase.UNKNOWN and bead.outage == target and bead.since < at:
                self.beads[bead.id] = bead._replace(since=at)
                self.touched.add(bead.id)


def apply_to_bead(bead: Bead | None, event: Event) -> Bead | None:
    """Return the bead's record after the event. None if the bead has no phase."""
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
        # No user opened the bead, and the change is no sign of life.
        return bead._replace(reverted=True)
    if bead is not None and kept(bead, event):
        return _kept(bead, event)
    return _record_activity(_row(bead, event), event.sign, event)


# -- others --------------------


def _kept(bead: Bead, event: Event) -> Bead:
    """Return the record of an attempt that survives a change of its row.

    If an older row came back, the attempt is written again. Otherwise it is held.
    """
    # The commit after which the row no longer ran has decided: of a claim, it can be a user's act.
    if event.origin is Origin.SAME and (
        bead.phase in (Phase.CLAIMED, Phase.HELD) or bead.reverted or bead.unclear
    ):
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
    """Return the record of a held attempt. It keeps its token and occupies no slot.

    If the row runs again, the attempt continues. ``why`` is the code: each code other than
    "deleted" means that the row was freed.
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
    """Return the record after another writer changed the bead's row."""
    facts = event.facts or RuleMatch()
    if bead is None:
        return _enter(event, facts, 0)
    if (bead.phase in _SETTLED or bead.phase is Phase.CLAIMED) and _computed(event):
        return bead  # Only an edit by a user makes the bead due again. bd computed this change.
    match bead.phase:
        case _ if bead.unwritten and bead.rule in facts.running:
            return bead  # The row is still as the claim left it.
        case Phase.CLAIMED:  # Until the deadline, only the holder of its token settles a claim.
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
            )  # The note may come from the agent for which the bead is held.
        case Phase.WAITING if facts.matches == bead.rule:
            return bead
        case Phase.RUNNING | Phase.UNKNOWN if bead.rule in facts.running:
            return bead._replace(reverted=False)
        case _:  # The bead left its phase. Any edit makes a quarantined bead due again.
            return _enter(event, facts, bead.version)


def _computed(event: Event) -> bool:
    """Return whether bd changed the row by itself.

    If a user changes nothing but `updated_at`, the event has a sign of life.
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
    """Add a line to the overwritten notes of a bead.

    Several notes may be lost at once or one after the other. Each is kept until it is appended
    again.
    """
    lost = bead.lost_note.splitlines()
    return bead if line in lost else bead._replace(lost_note="\n".join([*lost, line]))


def _record_activity(bead: Bead | None, sign: ActivitySignal | None, event: Event) -> Bead | None:
    """Record a sign of life.

    It is used by the reaper, and as evidence that an attempt of unknown outcome runs.
    """
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
        return bead  # Already applied. A merge may show an entry again.
    if entry.kind is EntryKind.CLAIM:
        base = bead or Bead(
            id=entry.bead, phase=Phase.WAITING, rule=entry.rule, since=entry.at, cause=entry.cause
        )
        matches, runs = base.matches, base.runs
        if event.facts is not None:  # None if a bead is sent again: its row doesn't change.
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
            # At most LONGEST. A claim without a deadline would never expire.
            deadline=min(
                entry_payloads.Claimed.decode(entry.detail).deadline or entry.at,
                entry.at + LONGEST,
            ),
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
        # dolt_watch had blocked it.
        return _enter(event, event.facts or RuleMatch(), entry.version)
    if bead is None:
        # The bead left before the outcome entry came. The state doesn't need the entry.
        return None
    bead = bead._replace(version=entry.version)
    step = TRANSITIONS.get(entry.kind)
    if step is None:
        return bead
    if entry.token and entry.token != bead.token:
        return bead  # The entry belongs to an earlier attempt.
    after = step(bead, entry, event)
    # The note and the status that an outcome entry could not write during a migration of bd are
    # written later.
    withheld = entry_payloads.Ended.decode(entry.detail).withheld
    if after is None or withheld is None:
        return after
    note, status = withheld
    after = after._replace(unwritten=status or "note")
    return _lost(after, note) if note else after


def _owes(entry: LedgerEntry) -> bool:
    return entry_payloads.Ended.decode(entry.detail).withheld is not None


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
    """Return the record of an attempt whose request is answered, if an agent runs or may run.

    If the row doesn't show that, another writer may have freed it in the meantime.
    """
    if bead.unclear:
        return _held(bead, event, bead.unclear)
    # The change of the row in this same commit follows as its own event. One that leaves the row as
    # it was doesn't take back that a user freed it during the claim.
    if bead.runs or bead.reverted or (event.origin is not Origin.SAME and kept(bead, event)):
        return bead
    return _realign_with_row(bead, event)


def _answered(bead: Bead, entry: LedgerEntry, event: Event) -> Bead | None:
    """Apply the outcome of a bead that was renamed during its request.

    The worker could not write the note, so the note is recorded as lost.
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
    outage = entry_payloads.Ended.decode(entry.detail).target if is_unreachable(entry) else ""
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
    )  # The sign is in the claim's own commit, so it is older than the claim.
    if bead.sign is not None and not swept and proves_running(bead, bead.sign):
        return unknown._replace(
            phase=Phase.RUNNING,
            outage="",
            reason_code=None,
            reason=f"a sign of life: {bead.sign.what} by {bead.sign.who}",
        )
    return unknown


def _restored(bead: Bead | None, entry: LedgerEntry, event: Event) -> Bead | None:
    """Return the attempt from the saved state. If the row contradicts it by now, the row
    decides.
    """
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
    """Return the record that a rename moved to the new id. If the state lacks it, use the entry."""
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
    holds = back.runs if phase in IN_FLIGHT else back.matches or bool(back.token)
    return back if holds else _realign_with_row(back, event)


def _recorded(
    bead: Bead | None, entry: LedgerEntry, event: Event, known: entry_payloads.Attempt
) -> Bead:
    """Return the bead's record with the attempt of the entry. The state may not have the bead
    yet.
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
    """Return the code of the record's reason under its old id."""
    if known.why_code is not None:
        return CODES.get(known.why_code)
    return derived_for_record(phase.value, known.why)


def _under_way(phase: object) -> Phase:
    """Return the phase of a recorded attempt.

    An unknown value, as in an imported entry, counts as UNKNOWN.
    """
    return next((one for one in IN_FLIGHT if one.value == phase), Phase.UNKNOWN)


def _failed(bead: Bead, entry: LedgerEntry, event: Event) -> Bead | None:
    if is_unreachable(entry) or entry_payloads.Ended.decode(entry.detail).uncounted:
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
    """Return the record of a bead that waits again. The attempt does not count.

    The target was busy or unreachable, the claim was released, or the rule stopped.
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
    """Return the record after a user's retry: due now, and counted from the start."""
    returned = bead._replace(
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
        return _realign_with_row(returned, event)
    return returned._replace(phase=Phase.WAITING, rule=_matched(bead, event))


def _released(bead: Bead, entry: LedgerEntry, event: Event) -> Bead | None:
    """Return the record after a user took the bead over. It occupies no slot."""
    foreign = bead._replace(
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
        return _realign_with_row(foreign, event)
    return foreign._replace(
        phase=Phase.RUNNING, since=entry.at, cause=event.commit, sent_at=entry.at
    )


def _finish(bead: Bead, entry: LedgerEntry, event: Event) -> Bead | None:
    return None


def _clear_lost_note(bead: Bead, entry: LedgerEntry, event: Event) -> Bead | None:
    return bead._replace(lost_note="", unwritten="")


def _realign_with_row(bead: Bead, event: Event) -> Bead | None:
    """Return the record for the row as it is. The row changed during the attempt."""
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
    """Return the rule under which the bead waits. A user may have moved it to another rule."""
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
