"""Resync: state anew from the rows as they are and the ledger's streams.

Needed where the cursor is no ancestor of HEAD (flatten, rebase, restore), at the first start, and when a rule's expressions change. What the ledger or
``watch_attempt`` knows is never dispatched twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from dolt_watch.core.fold import Projection, fold_bead
from dolt_watch.core.rules import CompiledRule
from dolt_watch.engines import Engine
from dolt_watch.feed import ENTRY_COLUMNS, entry_from, plain
from dolt_watch.ledger import bead_hash
from dolt_watch.model import GLOBAL, Bead, Entry, Event, Facts, Phase, Rule, Sign, State, What
from dolt_watch.times import told

_SETTLED = (Phase.BACKOFF, Phase.QUARANTINED)


def resync(
    engine: Engine, head: str, date: datetime, rules: Sequence[Rule], compiled: Sequence[CompiledRule],
    columns: Sequence[str],
) -> State:  # fmt: skip
    """The state at ``head``, whose date is ``date``."""
    rows = dict(_rows(engine, head, rules, compiled, columns))
    streams = _streams(engine, head)
    projection = Projection(State(head))
    for entry in streams.pop(GLOBAL, []):
        projection.fold([Event(What.LEDGER, GLOBAL, head, entry.at, entry=entry)])
    for entries in streams.values():
        for entry in entries:
            projection.shared(Event(What.LEDGER, entry.bead, head, entry.at, entry=entry))
    ours = {event for entries in streams.values() for entry in entries for event in entry.wrote.events}
    signs = _signs(engine, head, [bead for bead, (facts, _, _) in rows.items() if facts.runs], ours)
    beads: dict[str, Bead] = {}
    for bead, (facts, row, hash) in rows.items():
        after = _bead(bead, facts, row, hash, streams.get(bead, []), head, date, signs.get(bead))
        if after is not None:
            beads[bead] = after
    return replace(projection.state(), beads=beads)


def _bead(
    bead: str, facts: Facts, row: Mapping[str, Any], hash: str, entries: Sequence[Entry], head: str, date: datetime,
    sign: Sign | None,
) -> Bead | None:  # fmt: skip
    """Where the ledger's stream says that it stands, made to agree with the row as it is."""
    state: Bead | None = None
    for entry in entries:
        state = fold_bead(state, Event(What.LEDGER, bead, head, entry.at, facts=facts, entry=entry))
    changed = told(row.get("updated_at")) or date
    version = entries[-1].version if entries else 0
    edited = bool(entries) and bool(entries[-1].bead_hash) and entries[-1].bead_hash != hash
    if facts.matches:
        if state is not None and state.phase is Phase.CLAIMED:
            return state  # its worker may be sending at this moment
        if state is not None and state.phase in _SETTLED and not edited:
            return replace(state, matches=True, runs=False, rank=facts.rank, rule=facts.matches)
        since = min(changed, date)
        return Bead(
            bead,
            Phase.WAITING,
            facts.matches,
            since,
            head,
            matches=True,
            rank=facts.rank,
            matched_at=since,
            version=version,
        )
    if state is not None and state.phase in (Phase.CLAIMED, Phase.UNKNOWN, Phase.RUNNING):
        return replace(state, matches=False, runs=True, sign=sign or state.sign)
    since = min(changed, date)
    return Bead(bead, Phase.RUNNING, facts.runs, since, head, runs=True, version=version, sent_at=since, sign=sign)


def _rows(
    engine: Engine, head: str, rules: Sequence[Rule], compiled: Sequence[CompiledRule], columns: Sequence[str]
) -> Iterator[tuple[str, tuple[Facts, dict[str, Any], str]]]:
    """Every bead that matches or runs under a rule; the first rule in the file has it."""
    names = list(columns)
    seen: dict[str, tuple[Facts, dict[str, Any], str]] = {}
    for rule, sql in zip(rules, compiled, strict=True):
        rank = "".join(f", {expression}" for expression in sql.rank_row)
        query = (
            f"SELECT {sql.when_row}, {sql.running_row}, {', '.join(names)}{rank} FROM issues AS OF '{head}' "
            f"WHERE ({sql.when_row}) OR ({sql.running_row})"
        )
        for matches, runs, *values in engine.query(query):
            row = dict(zip(names, values[: len(names)], strict=True))
            ranks = tuple(plain(value) for value in values[len(names) :])
            if row["id"] in seen:
                continue
            facts = Facts(rule.name if matches else "", rule.name if runs else "", ranks)
            seen[row["id"]] = (facts, row, bead_hash(row, sql))
    yield from seen.items()


def _streams(engine: Engine, head: str) -> dict[str, list[Entry]]:
    """The ledger's streams. Read whole: a resync is rare, and each bead that waits or runs may have one."""
    streams: dict[str, list[Entry]] = {}
    wanted = ", ".join(ENTRY_COLUMNS)
    for row in engine.query(f"SELECT {wanted} FROM watch_decision AS OF '{head}' ORDER BY bead_id, version"):
        entry = entry_from(row)
        if entry is not None:
            streams.setdefault(entry.bead, []).append(entry)
    return streams


def _signs(engine: Engine, head: str, beads: Sequence[str], ours: Collection[str]) -> dict[str, Sign]:
    """The last comment or event of each bead that runs, events of our own left out: the row's own time is in its state already."""
    signs: dict[str, Sign] = {}
    for start in range(0, len(beads), 200):
        chunk = beads[start : start + 200]
        marks = ", ".join("?" * len(chunk))
        for table, who in (("comments", "author"), ("events", "actor")):
            rows = engine.query(
                f"SELECT id, issue_id, {who}, created_at FROM {table} AS OF '{head}' WHERE issue_id IN ({marks})", chunk
            )
            for id, bead, actor, created in rows:
                at = told(created)
                if at is not None and id not in ours and (bead not in signs or signs[bead].at < at):
                    signs[bead] = Sign(at, table.removesuffix("s"), actor, "")
    return signs
