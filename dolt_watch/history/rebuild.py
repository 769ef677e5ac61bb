"""Rebuild the state from the current rows and the streams of the ledger.

A rebuild is needed if the cursor is not an ancestor of HEAD (flatten, rebase, restore), at the
first start, and if a rule's expressions change. An attempt that the ledger or ``watch_attempt``
contains is never dispatched twice: live attempts that history lost are written again
(``lost_attempts``). Attempts in neither table are unknown. If the ledger came without the local
tables (a clone, or a backup on another server), matching beads are therefore held until a user
resumes them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

from dolt_watch.beads.feed_query import FeedQuery
from dolt_watch.core.decisions.attempt_recovery import LOST, restore
from dolt_watch.core.model import (
    ANSWERS,
    GLOBAL,
    IN_FLIGHT,
    MAY_BE_RUNNING,
    OPEN,
    ActivitySignal,
    Bead,
    Decision,
    EntryEffects,
    EntryKind,
    Event,
    EventKind,
    LedgerEntry,
    Origin,
    Phase,
    Rule,
    RuleMatch,
    State,
    entry_payloads,
)
from dolt_watch.core.model.bead import UNKNOWN_WRITER
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.projection.event_deriver import rule_match
from dolt_watch.core.projection.projection import DELETED, FREED, Projection, apply_to_bead
from dolt_watch.core.rules.compiled_rule import CompiledRule
from dolt_watch.engines import Engine
from dolt_watch.engines.sql_text import chunks
from dolt_watch.engines.values import sort_value
from dolt_watch.errors import NoSuchTable, SchemaChanged
from dolt_watch.history.reader import HistoryReader, deletions, find_line
from dolt_watch.ledger.edit_detection import EditDetector
from dolt_watch.ledger.reader import read_ledger_at
from dolt_watch.timestamps import parse_foreign

_SETTLED = (Phase.BACKOFF, Phase.QUARANTINED)


def rebuild_state(
    engine: Engine,
    head: str,
    date: datetime,
    rules: Sequence[Rule],
    compiled: Sequence[CompiledRule],
    columns: Sequence[str],
) -> RebuiltState:
    """Return the state at ``head``, as history contains it. ``date`` is the date of ``head``."""
    rows = dict(_rows(engine, head, rules, compiled, columns))
    # The ledger has an own stream for each bead, and one for all.
    streams = _streams(engine, head)
    shared = streams.pop(GLOBAL, [])
    own_events = {
        event for entries in streams.values() for entry in entries for event in entry.wrote.events
    }
    watched = [bead for bead, (facts, _, _) in rows.items() if facts.runs or bead in streams]
    wrote = {
        (bead, entry.actor, entry.at.replace(microsecond=0))
        for bead, entries in streams.items()
        for entry in entries
        if entry.wrote.events
    }
    # Own events and own notes are no signs of life.
    signs = _signs(engine, head, date, watched, own_events, wrote)
    beads: dict[str, Bead] = {}
    # Each bead from its stream, adjusted to its row.
    edits, names = EditDetector(engine, head), {rule.name for rule in rules}
    written = _written(streams)
    gone = _gone(engine, head, rows, streams)
    moved = _moved(rows, streams, written, gone)
    ran = partial(_ran, edits, {one.rule: one for one in compiled})
    for bead, (facts, row, asks) in rows.items():
        stream = _joined(bead, streams, moved.get(bead))
        edited = partial(edits.edited_since, stream[-1], row, asks) if stream else bool
        entries = _reassign_removed_rules(stream, facts, names)
        after = _bead(bead, facts, row, edited, ran, entries, head, date, signs.get(bead), written)
        if after is not None and stream:
            own = streams.get(bead)
            after = after._replace(
                version=own[-1].version if own else 0, was=after.was or moved.get(bead, "")
            )
        if after is not None:
            beads[bead] = after
    # A claim waits for its answer, whatever its row is.
    for bead, stream in streams.items():
        if bead not in rows and stream[-1].kind is EntryKind.CLAIM:
            claim = _folded(bead, stream, RuleMatch(), head)
            if claim is not None and claim.phase is Phase.CLAIMED:
                beads[bead] = claim
    # An agent may work on a bead that was deleted, and its id may come back.
    feed_query, lost = FeedQuery(compiled, columns, columns), {bead: streams[bead] for bead in gone}
    for event, facts, was in _deletions(engine, head, feed_query, rules, edits, lost):
        bead = event.bead
        entries = _reassign_removed_rules(streams[bead], facts, names)
        before = _bead(bead, facts, was, bool, ran, entries, head, date, None, written)
        after = apply_to_bead(before, event)
        if after is not None:
            beads[bead] = after
    # Entries about all beads are applied in the order of time. A resume before a hold does not end
    # it, so only holds that a later one ended are among these beads.
    holds = {
        bead.id: bead
        for bead in beads.values()
        if bead.phase is Phase.HELD and not _is_resumed(bead, streams.get(bead.id, ()), shared, ran)
    }
    projection = Projection(
        State(head, head, {id: bead for id, bead in beads.items() if id not in holds})
    )
    for entry in _in_order([shared, *streams.values()]):
        kept = _still_held(entry, streams) if entry.kind is EntryKind.RESYNC else entry
        projection.apply_global(kept, entry.at)
    projection.beads.update(holds)
    ledger = [entry for entries in streams.values() for entry in entries if entry.token]
    tokens = frozenset(entry.token for entry in ledger if entry.kind not in MAY_BE_RUNNING)
    answers = {entry.token: entry for entry in ledger if entry.kind in MAY_BE_RUNNING}
    return RebuiltState(projection.state(), tokens, answers, entries=bool(streams))


class RebuiltState(NamedTuple):
    """The state and the attempts that history contains."""

    state: State
    tokens: frozenset[str]
    """Tokens of the attempts with other ledger entries than those in ``answers``."""
    answers: Mapping[str, LedgerEntry]
    """Token → the target's answer that the attempt runs, or may run.

    It can be the only entry of an attempt: history can be reset to before the claim during a
    request.
    """
    entries: bool
    """Whether the ledger has an entry about a bead. A pause is not evidence of attempts."""


def lost_attempts(known: Sequence[Bead], found: RebuiltState) -> list[Decision]:
    """Return the restores of live attempts that this server has and history does not.

    If the answer of the target exists, the restored attempt includes it.
    """
    missing = [bead for bead in known if bead.token not in found.tokens]
    return [
        restore(_answered(bead, found.answers.get(bead.token)), LOST, ReasonCode.HISTORY_LOST)
        for bead in missing
    ]


def _answered(bead: Bead, answer: LedgerEntry | None) -> Bead:
    if answer is None:
        return bead
    phase = Phase.RUNNING if answer.kind is EntryKind.DISPATCHED else Phase.UNKNOWN
    return bead._replace(phase=phase, since=answer.at, job=answer.job, deadline=None)


def preview_restored(
    beads: Mapping[str, Bead], missing: Sequence[Decision], commit: str, now: datetime
) -> dict[str, Bead]:
    """Return the beads as if the missing attempts were written again, for read-only commands."""
    after = dict(beads)
    for decision in missing:
        # The entry that the next tick would append.
        entry = LedgerEntry(
            bead=decision.bead,
            version=0,
            kind=decision.kind,
            attempt=decision.attempt,
            rule=decision.rule,
            token=decision.token,
            cause=decision.cause,
            observed=commit,
            at=now,
            job=decision.job,
            reason=decision.reason,
            bead_hash="",
            settings_hash="",
            actor="",
            detail=decision.detail,
            wrote=EntryEffects(),
            reason_code=decision.reason_code,
        )
        # Applied as the feed would apply it, so that a preview and the next tick agree.
        before = after.get(decision.bead)
        entry = entry._replace(version=before.version + 1 if before else 1)
        facts = RuleMatch(running=(decision.rule,))
        bead = apply_to_bead(
            before, Event(EventKind.LEDGER, decision.bead, commit, now, facts=facts, entry=entry)
        )
        if bead is not None:
            after[decision.bead] = bead
    return after


def _bead(
    bead: str,
    facts: RuleMatch,
    row: Mapping[str, Any],
    edited: Callable[[], bool],
    ran: Callable[[str, str, LedgerEntry], bool | None],
    entries: Sequence[LedgerEntry],
    head: str,
    date: datetime,
    sign: ActivitySignal | None,
    written: Mapping[str, frozenset[str]],
) -> Bead | None:
    """Return the bead by its ledger stream, adjusted to its current row."""
    state = _folded(bead, entries, facts, head)
    changed = parse_foreign(row.get("updated_at")) or date
    version = entries[-1].version if entries else 0
    if state is not None and _runs(state, facts):
        return _continue_attempt(state, facts, sign, row, entries, date)
    # The row doesn't match its attempt. The attempt may still run, for example after an old row
    # came back.
    claim = next(
        (
            entry
            for entry in reversed(entries)
            if entry.kind in (EntryKind.CLAIM, EntryKind.RENAMED)
        ),
        None,
    )
    if claim is not None and claim.token:
        known = _folded(bead, entries, facts._replace(running=(*facts.running, claim.rule)), head)
        if known is not None and known.token and known.phase in IN_FLIGHT:
            source = _came(claim, row, entries, written.get(known.token, frozenset()))
            # Its notes are no evidence if dolt_watch appended them again to a row that was free.
            if source is Origin.ACT and any(
                one.kind is EntryKind.NOTE
                and one.version > claim.version
                and not ran(bead, known.rule, one)
                for one in entries
            ):
                source = Origin.UNCLEAR
            if source is Origin.BACK:
                return _continue_attempt(
                    known._replace(reverted=True), facts, sign, row, entries, date
                )
            if source is Origin.UNCLEAR and facts.matches:
                return _held(known, facts, min(changed, date), head)
        # An entry ended the attempt. Until then its row ran, whatever the row is now.
        if known is not None and known.phase not in IN_FLIGHT:
            state = known
    if state is not None and state.phase is Phase.CLAIMED:
        return _continue_attempt(state, facts, sign, row, entries, date)
    # A settled attempt keeps its phase, and its number counts, unless an edit of the row followed.
    if facts.matches:
        if state is not None and (state.phase in _SETTLED or state.attempt) and not edited():
            runs = facts.matches in facts.running
            return state._replace(matches=True, runs=runs, rank=facts.rank, rule=facts.matches)
        # The row runs without an attempt: a person started it.
        since = min(changed, date)
        return Bead(
            id=bead,
            phase=Phase.WAITING,
            rule=facts.matches,
            since=since,
            cause=head,
            matches=True,
            runs=facts.matches in facts.running,
            rank=facts.rank,
            matched_at=since,
            version=version,
        )
    since = min(changed, date)
    return Bead(
        id=bead,
        phase=Phase.RUNNING,
        rule=facts.runs,
        since=since,
        cause=head,
        runs=True,
        version=version,
        sent_at=since,
        sign=sign,
    )


def _held(bead: Bead, facts: RuleMatch, since: datetime, head: str) -> Bead:
    """Return the bead as held: its attempt may be running, but its row is free to claim.

    A user decides. A claim is held only after its answer.
    """
    bead = bead._replace(matches=True, runs=False, rank=facts.rank)
    if bead.phase is Phase.CLAIMED:
        return bead._replace(unclear=ReasonCode.ROW_FREED)
    return bead._replace(
        phase=Phase.HELD, since=since, cause=head, reason=FREED, reason_code=None, deadline=None
    )


def _continue_attempt(
    state: Bead,
    facts: RuleMatch,
    sign: ActivitySignal | None,
    row: Mapping[str, Any],
    entries: Sequence[LedgerEntry],
    date: datetime,
) -> Bead:
    """Return the attempt in progress, with its signs of life.

    For an attempt with an unknown outcome, they are evidence that it runs.
    """
    after: Bead | None = state._replace(
        matches=bool(facts.matches), runs=state.rule in facts.running
    )
    for one in filter(None, (sign, _touched(row, entries, date))):
        after = apply_to_bead(after, Event(EventKind.SIGN, state.id, state.cause, one.at, sign=one))
    assert after is not None
    return after


def _reassign_removed_rules(
    entries: Sequence[LedgerEntry], facts: RuleMatch, names: Collection[str]
) -> Sequence[LedgerEntry]:
    """Return the entries, with those of a removed rule assigned to the bead's current rule.

    A removed rule was usually renamed. The attempt keeps its slot and its clock.
    """
    heir = facts.runs or facts.matches
    return [entry if entry.rule in names else entry._replace(rule=heir) for entry in entries]


def _folded(bead: str, entries: Sequence[LedgerEntry], facts: RuleMatch, head: str) -> Bead | None:
    """Return the bead by its ledger stream alone."""
    state: Bead | None = None
    for entry in entries:
        state = apply_to_bead(
            state, Event(EventKind.LEDGER, bead, head, entry.at, facts=facts, entry=entry)
        )
    return state


def _runs(state: Bead, facts: RuleMatch) -> bool:
    """Return whether the attempt is still running.

    An attempt made by dolt_watch continues while its rule's "running" condition is true. A manual
    dispatch ends as soon as the bead matches a rule again.
    """
    return (
        state.phase in IN_FLIGHT
        and state.rule in facts.running
        and (bool(state.token) or not facts.matches)
    )


def _reverted(claim: LedgerEntry, row: Mapping[str, Any], entries: Sequence[LedgerEntry]) -> bool:
    """Return whether the row is open, older than the claim, and without the attempt's notes.

    The projection applies the same rule.
    """
    at, lines = parse_foreign(row.get("updated_at")), str(row.get("notes") or "").splitlines()
    older = at is not None and at < claim.at.replace(microsecond=0)
    notes = {
        entry.wrote.note for entry in entries if entry.token == claim.token and entry.wrote.note
    }
    return older and row.get("status") == OPEN and bool(notes) and notes.isdisjoint(lines)


def _came(
    claim: LedgerEntry,
    row: Mapping[str, Any],
    entries: Sequence[LedgerEntry],
    lines: Collection[str],
) -> Origin:
    """Return the origin of the row's state, by the current row and the attempt's writes in the
    ledger.

    The rules are those of ``core.evidence.origin``.
    """
    if _reverted(claim, row, entries):
        return Origin.BACK
    kept = not frozenset(str(row.get("notes") or "").splitlines()).isdisjoint(lines)
    unstarted = "started_at" in row and row["started_at"] is None
    if kept or not (lines or unstarted):
        return Origin.ACT
    return Origin.BACK if unstarted else Origin.UNCLEAR


def _written(streams: Mapping[str, Sequence[LedgerEntry]]) -> dict[str, frozenset[str]]:
    """Return token → the lines that its attempt wrote into the notes, under any id of the bead."""
    found: dict[str, set[str]] = {}
    for entries in streams.values():
        for entry in entries:
            if entry.token and entry.wrote.note:
                found.setdefault(entry.token, set()).update(entry.wrote.note.splitlines())
    return {token: frozenset(lines) for token, lines in found.items()}


def _gone(
    engine: Engine,
    head: str,
    rows: Mapping[str, tuple[RuleMatch, Mapping[str, Any], CompiledRule]],
    streams: Mapping[str, Sequence[LedgerEntry]],
) -> Mapping[str, str]:
    """Return bead → the token of its last attempt, of the beads that no longer exist."""
    tokens = {
        bead: next((entry.token for entry in reversed(stream) if entry.token), "")
        for bead, stream in streams.items()
        if bead not in rows
    }
    ended = {bead: token for bead, token in tokens.items() if token}
    there: set[str] = set()
    for some in chunks(sorted(ended), 200):
        marks = ", ".join("?" * len(some))
        there.update(
            id
            for (id,) in engine.query(
                f"SELECT id FROM issues AS OF '{head}' WHERE id IN ({marks})", some
            )
        )
    return {bead: token for bead, token in ended.items() if bead not in there}


def _deletions(
    engine: Engine,
    head: str,
    feed_query: FeedQuery,
    rules: Sequence[Rule],
    edits: EditDetector,
    streams: Mapping[str, Sequence[LedgerEntry]],
) -> Iterator[tuple[Event, RuleMatch, Mapping[str, Any]]]:
    """Yield the last deletion of each bead whose attempt no entry ended, with the row that it had.

    Deletions that history lacks, and those of rows that no rule watches, are left out. The cost is
    one pass over the changes of issues since the first of these attempts.

    Args:
        streams: the streams of the beads that no longer exist.
    """
    begun = {}
    for bead, stream in streams.items():
        state = _folded(bead, stream, RuleMatch(running=(stream[-1].rule,)), head)
        if state is not None and state.token and state.phase in IN_FLIGHT:
            begun[bead] = next(one for one in stream if one.token == state.token)
    # Only the first is looked up in history: many beads may have been deleted after their work.
    in_time = sorted(begun.values(), key=lambda one: one.at)
    first = next(filter(edits.has_observed, in_time), None)
    line = find_line(engine, first.observed, head) if first is not None else None
    reader = HistoryReader(engine, feed_query, rules, ["issues"])
    last = {
        event.bead: event
        for _, _, events in reader.read(deletions(engine, line or [], begun))
        for event in events
        if event.bead in begun and event.changed == ("deleted",)
    }
    for event in last.values():
        assert event.row is not None
        facts = rule_match(event.row, rules, before=True)
        if facts.matches or facts.runs:
            yield event, facts, event.row.before


def _moved(
    rows: Mapping[str, tuple[RuleMatch, Mapping[str, Any], CompiledRule]],
    streams: Mapping[str, Sequence[LedgerEntry]],
    written: Mapping[str, Collection[str]],
    gone: Mapping[str, str],
) -> dict[str, str]:
    """Return new id → old id of the renamed beads whose new stream does not record the rename yet.

    The row has a note of the attempt, which contains its time or its job, and the attempt's bead no
    longer exists.
    """
    # A note of an attempt contains its time and job, so it identifies the attempt.
    by_line = {line: bead for bead, token in gone.items() for line in written.get(token, ())}
    moved = {}
    for bead, (_, row, _) in rows.items() if by_line else ():
        lines = str(row.get("notes") or "").splitlines()
        was = next((by_line[line] for line in reversed(lines) if line in by_line), None)
        if was is not None and bead not in streams:
            moved[bead] = was
    return moved


def _joined(
    bead: str, streams: Mapping[str, Sequence[LedgerEntry]], was: str | None
) -> Sequence[LedgerEntry]:
    """Return the bead's stream.

    For a renamed bead, add the worker's later entries under the old id. Versions only increase.
    """
    own = streams.get(bead, ())
    if was is not None:
        return [entry._replace(bead=bead) for entry in streams[was]]
    renamed = next(
        (entry for entry in reversed(own) if entry.kind is EntryKind.RENAMED and entry.token), None
    )
    if renamed is None:
        return own
    old = streams.get(entry_payloads.Attempt.decode(renamed.detail).renamed_from, ())
    late = [
        one
        for one in old
        if one.token == renamed.token and one.kind in ANSWERS and one.at > renamed.at
    ]
    joined = sorted(
        [*own, *(entry._replace(bead=bead) for entry in late)], key=lambda entry: entry.at
    )
    return (
        [entry._replace(version=number) for number, entry in enumerate(joined, start=1)]
        if late
        else own
    )


def _in_order(streams: Iterable[Sequence[LedgerEntry]]) -> list[LedgerEntry]:
    """Return the entries by time among streams, and by version within each stream.

    A clock that is set back between a pause and its resume doesn't reverse them.
    """
    timed: list[tuple[datetime, LedgerEntry]] = []
    for entries in streams:
        timed += zip(accumulate((entry.at for entry in entries), max), entries, strict=True)
    return [entry for _, entry in sorted(timed, key=lambda pair: pair[0])]


def _still_held(entry: LedgerEntry, streams: Mapping[str, Sequence[LedgerEntry]]) -> LedgerEntry:
    """Return the entry without the held beads that dolt_watch dispatched later.

    A user released those beads. As in the projection, an edit releases no bead.
    """
    remade = entry_payloads.Remade.decode(entry.detail)
    still = [id for id in remade.held if all(later.at <= entry.at for later in streams.get(id, ()))]
    payload = remade._replace(held=tuple(still))
    return entry._replace(detail={**entry.detail, **payload.encode()})


def _ran(
    edits: EditDetector,
    compiled: Mapping[str, CompiledRule],
    bead: str,
    rule: str,
    entry: LedgerEntry,
    absent: bool | None = None,
) -> bool | None:
    """Return whether the bead's row ran under the rule when an entry was decided.

    None if history lacks that commit, and ``absent`` if the commit lacks the row.
    """
    if not edits.has_observed(entry) or rule not in compiled:
        return None
    sql = f"SELECT {compiled[rule].running_row} FROM issues AS OF '{entry.observed}' WHERE id = ?"
    try:
        rows = edits.engine.query(sql, (bead,))
    except (NoSuchTable, SchemaChanged):
        return None
    return bool(rows[0][0]) if rows else absent


def _is_resumed(
    bead: Bead,
    entries: Sequence[LedgerEntry],
    shared: Sequence[LedgerEntry],
    ran: Callable[..., bool | None],
) -> bool:
    """Return whether a user's resume ended the hold of an attempt whose row was freed.

    No entry says when the row was freed, and the row can have an older time. So the row is read as
    the last resume found it. If history lacks that row, the bead stays held.
    """
    begun = max((one.at for one in entries if one.token == bead.token), default=None)
    later = [
        one
        for one in shared
        if one.kind is EntryKind.RESUME
        and one.rule in ("", bead.rule)
        and (begun is None or one.at > begun)
    ]
    last = max(later, key=lambda one: one.at, default=None)
    # A deleted bead has no row. A renamed one had it under another id.
    absent = False if bead.reason == DELETED and not bead.was else None
    return last is not None and ran(bead.id, bead.rule, last, absent) is False


def _touched(
    row: Mapping[str, Any], entries: Sequence[LedgerEntry], date: datetime
) -> ActivitySignal | None:
    """Return a sign of life if a user changed the row after dolt_watch's last write.

    Not every change has an event (`bd batch`, SQL).
    """
    at = parse_foreign(row.get("updated_at"))
    written = [entry.at.replace(microsecond=0) for entry in entries if entry.wrote.events]
    return (
        _sign(at, "row", UNKNOWN_WRITER, date)
        if at is not None and written and at > max(written)
        else None
    )


def _sign(at: datetime, what: str, who: str, date: datetime) -> ActivitySignal:
    """Return a sign of life by the row's time, because its commit is unknown.

    The time is never later than the commit that contains the row.
    """
    return ActivitySignal(min(at, date), what, who, "", max(0, int((at - date).total_seconds())))


def _rows(
    engine: Engine,
    head: str,
    rules: Sequence[Rule],
    compiled: Sequence[CompiledRule],
    columns: Sequence[str],
) -> Iterator[tuple[str, tuple[RuleMatch, dict[str, Any], CompiledRule]]]:
    """Yield every bead that matches or runs under a rule.

    If several rules match, the first rule in the settings applies.
    """
    names = list(columns)
    seen: dict[str, tuple[RuleMatch, dict[str, Any], CompiledRule]] = {}
    for rule, sql in zip(rules, compiled, strict=True):
        rank = "".join(f", {expression}" for expression in sql.rank_row)
        query = (
            f"SELECT {sql.when_row}, {sql.running_row}, {', '.join(names)}{rank} FROM issues AS OF"
            f" '{head}' WHERE ({sql.when_row}) OR ({sql.running_row})"
        )
        for matches, runs, *values in engine.query(query):
            row = dict(zip(names, values[: len(names)], strict=True))
            # bd creates no such id. Its stream contains the decisions that concern no bead.
            if row["id"] == GLOBAL:
                continue
            ranks = tuple(sort_value(value) for value in values[len(names) :])
            running = (rule.name,) if runs else ()
            if row["id"] in seen:
                facts, row, asks = seen[row["id"]]
                facts = facts._replace(running=facts.running + running)
                # It runs under an earlier rule and matches this one.
                if matches and not facts.matches:
                    facts, asks = facts._replace(matches=rule.name, rank=ranks), sql
                seen[row["id"]] = (facts, row, asks)
                continue
            facts = RuleMatch(rule.name if matches else "", running, ranks)
            seen[row["id"]] = (facts, row, sql)
    yield from seen.items()


def _streams(engine: Engine, head: str) -> dict[str, list[LedgerEntry]]:
    """Return the ledger's streams.

    All entries are read: a rebuild is rare, and each waiting or running bead may have a stream.
    """
    streams: dict[str, list[LedgerEntry]] = {}
    try:
        for entry in read_ledger_at(engine, head):
            streams.setdefault(entry.bead, []).append(entry)
    except NoSuchTable:
        # Read-only commands can run on a commit or a database without a ledger.
        return {}
    return streams


def _signs(
    engine: Engine,
    head: str,
    date: datetime,
    beads: Sequence[str],
    own_events: Collection[str],
    wrote: Collection[tuple[str, str, datetime]],
) -> dict[str, ActivitySignal]:
    """Return the last comment or event of each bead, without the events of dolt_watch.

    Args:
        own_events: ids of the events of dolt_watch.
        wrote: bead, actor and second of each event, because bd's migrations change event ids.
    """
    signs: dict[str, ActivitySignal] = {}
    for chunk in chunks(beads, 200):
        marks = ", ".join("?" * len(chunk))
        for table, who in (("comments", "author"), ("events", "actor")):
            try:
                rows = engine.query(
                    f"SELECT id, issue_id, {who}, created_at FROM {table} AS OF '{head}' WHERE"
                    f" issue_id IN ({marks})",
                    chunk,
                )
            except NoSuchTable:  # `events` left history with bd 1.3
                continue
            for id, bead, actor, created in rows:
                at = parse_foreign(created)
                if (
                    at is None
                    or id in own_events
                    or (table == "events" and (bead, actor, at) in wrote)
                ):
                    continue
                sign = _sign(at, table.removesuffix("s"), actor, date)
                if bead not in signs or signs[bead].at < sign.at:
                    signs[bead] = sign
    return signs
