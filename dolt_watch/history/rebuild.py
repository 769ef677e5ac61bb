"""Resync: state anew from the rows as they are and the ledger's streams.

Needed where the cursor is no ancestor of HEAD (flatten, rebase, restore), at the first start,
and when a rule's expressions change. What the ledger or ``watch_attempt`` knows is never
dispatched twice: live attempts that history lost are written again (``lost``). What neither
knows any more, nobody can: where the ledger came without the local tables (a clone, a backup on
another server), what matches is held until somebody resumes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

from dolt_watch.core.decisions.dispatch_policy import LOST, restore
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
from dolt_watch.core.projection.projection import FREED, Projection, apply_to_bead
from dolt_watch.core.rules.compiled_rule import CompiledRule
from dolt_watch.engines import Engine
from dolt_watch.engines.sql_text import chunks
from dolt_watch.engines.values import sort_value
from dolt_watch.errors import NoSuchTable
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
    """The state at ``head``, whose date is ``date``, by what history holds."""
    rows = dict(_rows(engine, head, rules, compiled, columns))
    streams = _streams(engine, head)
    shared = streams.pop(GLOBAL, [])
    ours = {
        event for entries in streams.values() for entry in entries for event in entry.wrote.events
    }
    asked = [bead for bead, (facts, _, _) in rows.items() if facts.runs or bead in streams]
    wrote = {
        (bead, entry.actor, entry.at.replace(microsecond=0))
        for bead, entries in streams.items()
        for entry in entries
        if entry.wrote.events
    }
    signs = _signs(engine, head, date, asked, ours, wrote)
    beads: dict[str, Bead] = {}
    edits, names = EditDetector(engine, head), {rule.name for rule in rules}
    written = _written(streams)
    moved = _moved(engine, head, rows, streams, written)
    for bead, (facts, row, asks) in rows.items():
        stream = _joined(bead, streams, moved.get(bead))
        edited = partial(edits.edited_since, stream[-1], row, asks) if stream else bool
        entries = _reassign_removed_rules(stream, facts, names)
        after = _bead(bead, facts, row, edited, entries, head, date, signs.get(bead), written)
        if after is not None and stream:
            own = streams.get(bead)
            after = after._replace(
                version=own[-1].version if own else 0, was=after.was or moved.get(bead, "")
            )
        if after is not None:
            beads[bead] = after
    projection = Projection(State(head, head, beads))
    for entry in _in_order([shared, *streams.values()]):
        said = _still_held(entry, streams) if entry.kind is EntryKind.RESYNC else entry
        projection.apply_global(Event(EventKind.LEDGER, entry.bead, head, entry.at, entry=said))
    ledger = [entry for entries in streams.values() for entry in entries if entry.token]
    tokens = frozenset(entry.token for entry in ledger if entry.kind not in MAY_BE_RUNNING)
    answers = {entry.token: entry for entry in ledger if entry.kind in MAY_BE_RUNNING}
    return RebuiltState(projection.state(), tokens, answers, entries=bool(streams))


class RebuiltState(NamedTuple):
    """What history says by itself."""

    state: State
    tokens: frozenset[str]
    """Of every attempt that the ledger knows by more than such an answer."""
    answers: Mapping[str, LedgerEntry]
    """Token → its target's answer that something runs, or may.

    It may stand alone: history can be set back to before the claim while a request is under way.
    """
    entries: bool
    """Does the ledger hold anything about beads? A pause says nothing of attempts."""


def lost_attempts(known: Sequence[Bead], found: RebuiltState) -> list[Decision]:
    """The live attempts that this server knows of and history does not, to be written again: as
    far as they have come, where their answer stands.
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
    """The beads as they will be once what is missing is written again: for who only looks."""
    after = dict(beads)
    for decision in missing:
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
    entries: Sequence[LedgerEntry],
    head: str,
    date: datetime,
    sign: ActivitySignal | None,
    written: Mapping[str, frozenset[str]],
) -> Bead | None:
    """Where the ledger's stream says that it stands, made to agree with the row as it is."""
    state = _folded(bead, entries, facts, head)
    changed = parse_foreign(row.get("updated_at")) or date
    version = entries[-1].version if entries else 0
    if state is not None and _runs(state, facts):
        return _continue_attempt(state, facts, sign, row, entries, date)
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
            came = _came(claim, row, entries, written.get(known.token, frozenset()))
            if came is Origin.BACK:
                return _continue_attempt(
                    known._replace(reverted=True), facts, sign, row, entries, date
                )
            if came is Origin.UNCLEAR and facts.matches:
                return _held(known, facts, min(changed, date), head)
    if state is not None and state.phase is Phase.CLAIMED:
        return _continue_attempt(state, facts, sign, row, entries, date)
    if facts.matches:
        if state is not None and state.phase in _SETTLED and not edited():
            runs = facts.matches in facts.running
            return state._replace(matches=True, runs=runs, rank=facts.rank, rule=facts.matches)
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
    """The attempt may go on, and its row says that anybody may take it: a person decides.

    Of a claim, once it is answered.
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
    """An attempt under way, with the signs of life that it gave: of an unknown one, evidence
    that it runs.
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
    """What was done under a rule that is no more (renamed, most often) is the rule's that has
    the bead now: the attempt keeps its slot and its clock.
    """
    heir = facts.runs or facts.matches
    return [entry if entry.rule in names else entry._replace(rule=heir) for entry in entries]


def _folded(bead: str, entries: Sequence[LedgerEntry], facts: RuleMatch, head: str) -> Bead | None:
    """Where the ledger's stream says that it stands."""
    state: Bead | None = None
    for entry in entries:
        state = apply_to_bead(
            state, Event(EventKind.LEDGER, bead, head, entry.at, facts=facts, entry=entry)
        )
    return state


def _runs(state: Bead, facts: RuleMatch) -> bool:
    """An attempt of ours goes on for as long as its rule has it run; of a person's own, whoever
    would have it go has it.
    """
    return (
        state.phase in IN_FLIGHT
        and state.rule in facts.running
        and (bool(state.token) or not facts.matches)
    )


def _reverted(claim: LedgerEntry, row: Mapping[str, Any], entries: Sequence[LedgerEntry]) -> bool:
    """As in the fold: an open row that is older than the claim, and has nothing of what the
    attempt wrote.
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
    """As ``core.evidence.origin``, by the row as it is and what the ledger says that the attempt
    wrote.
    """
    if _reverted(claim, row, entries):
        return Origin.BACK
    kept = not frozenset(str(row.get("notes") or "").splitlines()).isdisjoint(lines)
    unstarted = "started_at" in row and row["started_at"] is None
    if kept or not (lines or unstarted):
        return Origin.ACT
    return Origin.BACK if unstarted else Origin.UNCLEAR


def _written(streams: Mapping[str, Sequence[LedgerEntry]]) -> dict[str, frozenset[str]]:
    """Token → the lines that its attempt wrote into the notes, whatever the bead's id was."""
    found: dict[str, set[str]] = {}
    for entries in streams.values():
        for entry in entries:
            if entry.token and entry.wrote.note:
                found.setdefault(entry.token, set()).update(entry.wrote.note.splitlines())
    return {token: frozenset(lines) for token, lines in found.items()}


def _moved(
    engine: Engine,
    head: str,
    rows: Mapping[str, tuple[RuleMatch, Mapping[str, Any], CompiledRule]],
    streams: Mapping[str, Sequence[LedgerEntry]],
    written: Mapping[str, Collection[str]],
) -> dict[str, str]:
    """New id → old id of beads that were renamed, and whose new stream does not say so yet.

    The row has a note of the attempt, which names its moment or its job, and the bead of that
    attempt is gone.
    """
    ended = {
        bead: stream[-1].token
        for bead, stream in streams.items()
        if stream[-1].token and bead not in rows
    }
    there: set[str] = set()
    for some in chunks(sorted(ended), 200):
        marks = ", ".join("?" * len(some))
        there.update(
            id
            for (id,) in engine.query(
                f"SELECT id FROM issues AS OF '{head}' WHERE id IN ({marks})", some
            )
        )
    by_line = {
        line: bead
        for bead, token in ended.items()
        if bead not in there
        for line in written.get(token, ())
    }
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
    """The bead's stream; where it was renamed, with what its worker reported under the old id
    after that. Versions only count up.
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
    """By time among streams, by version within each: a clock that was set back between a pause
    and its resume does not turn them round.
    """
    timed: list[tuple[datetime, LedgerEntry]] = []
    for entries in streams:
        timed += zip(accumulate((entry.at for entry in entries), max), entries, strict=True)
    return [entry for _, entry in sorted(timed, key=lambda pair: pair[0])]


def _still_held(entry: LedgerEntry, streams: Mapping[str, Sequence[LedgerEntry]]) -> LedgerEntry:
    """Less the beads that we dispatched since: somebody had let them go.

    An edit lets none go, as in the fold.
    """
    remade = entry_payloads.Remade.decode(entry.detail)
    still = [id for id in remade.held if all(later.at <= entry.at for later in streams.get(id, ()))]
    payload = remade._replace(held=tuple(still))
    return entry._replace(detail={**entry.detail, **payload.encode()})


def _touched(
    row: Mapping[str, Any], entries: Sequence[LedgerEntry], date: datetime
) -> ActivitySignal | None:
    """Did somebody change the row after we last wrote to it?

    Not every change leaves an event (`bd batch`, SQL).
    """
    at = parse_foreign(row.get("updated_at"))
    written = [entry.at.replace(microsecond=0) for entry in entries if entry.wrote.events]
    return (
        _sign(at, "row", UNKNOWN_WRITER, date)
        if at is not None and written and at > max(written)
        else None
    )


def _sign(at: datetime, what: str, who: str, date: datetime) -> ActivitySignal:
    """By the row's own time, as there is no commit of its own to go by; but never later than the
    commit that has it.
    """
    return ActivitySignal(min(at, date), what, who, "", max(0, int((at - date).total_seconds())))


def _rows(
    engine: Engine,
    head: str,
    rules: Sequence[Rule],
    compiled: Sequence[CompiledRule],
    columns: Sequence[str],
) -> Iterator[tuple[str, tuple[RuleMatch, dict[str, Any], CompiledRule]]]:
    """Every bead that matches or runs under a rule; the first rule in the file has it."""
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
            if (
                row["id"] == GLOBAL
            ):  # bd makes none; its stream would be the one of decisions about no bead
                continue
            ranks = tuple(sort_value(value) for value in values[len(names) :])
            running = (rule.name,) if runs else ()
            if row["id"] in seen:
                facts, row, asks = seen[row["id"]]
                facts = facts._replace(running=facts.running + running)
                if (
                    matches and not facts.matches
                ):  # the first saw it run, and another one would have it go
                    facts, asks = facts._replace(matches=rule.name, rank=ranks), sql
                seen[row["id"]] = (facts, row, asks)
                continue
            facts = RuleMatch(rule.name if matches else "", running, ranks)
            seen[row["id"]] = (facts, row, sql)
    yield from seen.items()


def _streams(engine: Engine, head: str) -> dict[str, list[LedgerEntry]]:
    """The ledger's streams.

    Read whole: a resync is rare, and each bead that waits or runs may have one.
    """
    streams: dict[str, list[LedgerEntry]] = {}
    try:
        for entry in read_ledger_at(engine, head):
            streams.setdefault(entry.bead, []).append(entry)
    except NoSuchTable:
        # a commit before the ledger was made, or a database that never had one: who only looks
        # may ask of it
        return {}
    return streams


def _signs(
    engine: Engine,
    head: str,
    date: datetime,
    beads: Sequence[str],
    ours: Collection[str],
    wrote: Collection[tuple[str, str, datetime]],
) -> dict[str, ActivitySignal]:
    """The last comment or event of each of these beads, events of our own left out.

    ``ours``: ids of our events. ``wrote``: bead, actor and second of each: bd's migrations give
    events other ids.
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
                if at is None or id in ours or (table == "events" and (bead, actor, at) in wrote):
                    continue
                sign = _sign(at, table.removesuffix("s"), actor, date)
                if bead not in signs or signs[bead].at < sign.at:
                    signs[bead] = sign
    return signs
