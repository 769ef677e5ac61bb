"""Verification: every recorded decision is computed again with ``select_candidates`` and
``make_plan``, on the state at the commit that the decision observed.

Only the clock, capacity, job reports and answers come from the record (``given``). Idle time, queue
order, gates, attempt and phase are computed again, and the result must equal the record. Streams
must have no gaps, entries must follow the commit that they observed, rows must be unchanged,
settings must match their hash, and commits must contain exactly the cells that their decision
lists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from dolt_watch.beads.child_activity import spared_by_children
from dolt_watch.beads.feed_query import CELLS
from dolt_watch.beads.readiness import (
    changes_readiness,
    growing_chunks,
)
from dolt_watch.beads.readiness_v1 import readiness_v1
from dolt_watch.beads.schema import READ_FOR_READINESS, schema_at
from dolt_watch.config import hash_of_text
from dolt_watch.core.decisions.candidates import select_candidates
from dolt_watch.core.decisions.circuit_breaker import with_recorded_tries
from dolt_watch.core.decisions.planner import make_plan
from dolt_watch.core.decisions.policy import (
    ATTEMPTED,
    UNCOMMITTED,
    UNVERSIONED,
    Observations,
    Plan,
    Scope,
)
from dolt_watch.core.decisions.reap_policy import silence_cutoffs
from dolt_watch.core.decisions.settlement import settle
from dolt_watch.core.model import (
    GLOBAL,
    REPORTS,
    Bead,
    CommitChanges,
    Decision,
    EntryKind,
    HoldReason,
    LedgerEntry,
    Phase,
    State,
)
from dolt_watch.core.model.bead import UNKNOWN_WRITER
from dolt_watch.core.model.recorded_inputs import RecordedInputs, decode_answer
from dolt_watch.core.rules.compiled_rule import CompiledRule
from dolt_watch.engines import Commit
from dolt_watch.engines.protocol import Edge
from dolt_watch.errors import NoSuchTable
from dolt_watch.ledger.writer import CONTENT, bead_hash
from dolt_watch.replay.past_readiness import KnownReadiness
from dolt_watch.replay.queue_front import QueueFront
from dolt_watch.replay.replayer import HistoryReplayer, ReplayStep, SettingsVersion

DECIDED = frozenset(
    {
        EntryKind.CLAIM,
        EntryKind.OVERDUE,
        EntryKind.RETRY,
        EntryKind.GIVE_UP,
        EntryKind.REAP,
        EntryKind.REQUEUE,
        EntryKind.NOTE,
        EntryKind.OUTAGE,
        EntryKind.RECOVERED,
    }
)

INPUTS = tuple(RecordedInputs().encode())
"""Keys of the recorded inputs in a detail. They are inputs of the computation, so they are not
compared with its result.
"""
WORDED = ("deferred_note", "why")
"""Keys of a detail that contain a sentence. Only its presence is compared, because releases word
it differently.
"""
EARLIER_UNKNOWN_WRITER = "somebody"
"""Earlier releases recorded this word for ``UNKNOWN_WRITER``."""

FOREIGN = "the row is no entry of this release"
GONE = "the observed commit is no longer in this history"
EARLIER = (
    "the decision is older than the rule that a merge or an older row releases no attempt"
    " (decision page 0015)"
)


class Difference(NamedTuple):
    """A field whose recorded and computed values differ."""

    bead: str
    version: int
    kind: str
    field: str
    recorded: str
    computed: str


@dataclass
class VerificationResult:
    """The result of a verification. It is updated while history is read."""

    same: int = 0
    """Number of decisions and reports that equal the record."""
    not_recomputable: int = 0
    """Number of entries that are not decisions: pauses, resumes, resyncs, releases."""
    unverifiable: Counter[str] = field(default_factory=Counter)
    """Reason → number of entries."""
    differences: list[Difference] = field(default_factory=list)
    planned_not_made: list[tuple[str, str]] = field(default_factory=list)
    """Claims of a plan with recorded capacity that were never made: bead, commit."""
    settings: set[str] = field(default_factory=set)
    """Hashes of the settings of decisions."""


def verify(
    replayer: HistoryReplayer,
    report_progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> VerificationResult:
    """Recompute every recorded decision.

    Reads history once from its first replayable commit, and sends two short queries for each
    decision. After a reprocessing, the history before it is read a second time.

    Args:
        report_progress: Progress callback. Its arguments are the phase, the number of processed
            commits and entries, and their total.
    """
    out = VerificationResult()
    out.differences += _streams(replayer)
    out.differences += _settings(replayer)
    if foreign := _rows(replayer) - len(replayer.entries):
        out.unverifiable[FOREIGN] += foreign
    waiting: dict[str, list[LedgerEntry]] = {}
    for entry in replayer.entries:
        out.settings.add(entry.settings_hash)
        if entry.kind in DECIDED | REPORTS:
            waiting.setdefault(entry.observed, []).append(entry)
        else:
            out.not_recomputable += 1
    begin = replayer.first_replayable_commit()
    altered: set[tuple[str, int]] = set()
    """Entries that were changed later, or invented."""
    if begin is not None:
        check, places = _EntryVerifier(replayer, out), _Places(replayer, begin)
        check.begin(replayer.line(begin) or ())
        start = replayer.projection_at(begin, replayer.settings_at(begin))
        check.verify_at(waiting.pop(begin, []), start.state())
        total = len(replayer.line(begin) or ()) + sum(map(len, waiting.values()))
        done = 0
        for step in replayer.steps(begin, start=start, cells=check.cells):
            # The progress counts both: verifying a decision takes about as long as a commit.
            done += 1 + len(waiting.get(step.commit.hash, ()))
            report_progress("verifying", done, total)
            check.follow(step)
            out.differences += _altered(step.changes)
            misplaced = list(places.follow(step))
            out.differences += misplaced
            altered |= {(bead, version) for bead, version, _ in step.changes.altered}
            altered |= {(one.bead, one.version) for one in misplaced}
            out.differences += check.written(step.changes, step.settings)
            if step.commit.hash in waiting:
                check.verify_at(waiting.pop(step.commit.hash), step.projection.state())
        check.verify_deferred()
        report_progress("verifying", total, total)
        # An entry that was altered later does not count as reproduced.
        out.same = len(check.agreed - altered)
    for entries in waiting.values():
        out.unverifiable[GONE] += len(entries)
    return out


# -- the ledger --------------------


def _streams(replayer: HistoryReplayer) -> Iterator[Difference]:
    expected: dict[str, int] = {}
    for entry in sorted(replayer.entries, key=lambda entry: (entry.bead, entry.version)):
        expected[entry.bead] = expected.get(entry.bead, 0) + 1
        if entry.version != expected[entry.bead]:
            missing = f"{expected[entry.bead]}: the entry before is missing"
            yield _difference(entry, "version", entry.version, missing)
            expected[entry.bead] = entry.version


def _rows(replayer: HistoryReplayer) -> int:
    """Return the number of rows of the ledger. Rows of other programs are no entries."""
    with suppress(NoSuchTable):
        sql = "SELECT bead_id FROM watch_decision AS OF ?"
        return len(replayer.engine.query(sql, (replayer.until,)))
    return 0


class _Places:
    """The versions that each stream had at each commit of a line.

    An entry is the next version of its stream at the commit that it observed. The copy of an entry
    under a later version would otherwise equal the computation.
    """

    def __init__(self, replayer: HistoryReplayer, begin: str) -> None:
        self._places = {begin: 0}
        self._versions: dict[str, list[tuple[int, int]]] = {}
        """Bead → place of a commit and version of an entry in it, in the order of the line."""
        with suppress(NoSuchTable):
            sql = "SELECT bead_id, MAX(version) FROM watch_decision AS OF ? GROUP BY bead_id"
            for bead, version in replayer.engine.query(sql, (begin,)):
                self._versions[bead] = [(0, version)]

    def follow(self, step: ReplayStep) -> Iterator[Difference]:
        """Yield the entries of a commit that can't follow the commit that they observed.

        An entry that observed a commit of another line, as of a clone, is left out.
        """
        here = len(self._places)
        for entry in step.changes.entries:
            at, stream = self._places.get(entry.observed), self._versions.get(entry.bead, [])
            if at is not None:
                last = next((version for place, version in reversed(stream) if place <= at), 0)
                if entry.version != last + 1:
                    computed = f"{last + 1}: the next one at the observed commit"
                    yield _difference(entry, "version", entry.version, computed)
        for entry in step.changes.entries:
            self._versions.setdefault(entry.bead, []).append((here, entry.version))
        self._places[step.commit.hash] = here


def _settings(replayer: HistoryReplayer) -> Iterator[Difference]:
    for hash, text in replayer.texts.items():
        if hash_of_text(text) != hash:
            yield Difference("", 0, "settings", "text", hash, hash_of_text(text))


def _altered(changes: CommitChanges) -> Iterator[Difference]:
    for bead, version, kind in changes.altered:
        recorded = f"{kind} in {changes.commit} by {changes.author}"
        yield Difference(bead, version, "entry", "row", recorded, "append-only")


def _difference(entry: LedgerEntry, field: str, recorded: object, computed: object) -> Difference:
    return Difference(
        entry.bead, entry.version, entry.kind.value, field, _text(recorded), _text(computed)
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def _outlived(bead: Bead) -> bool:
    """Return whether earlier releases released the attempt after a change of the bead's row."""
    return bead.reverted or bool(bead.unclear) or (bead.phase is Phase.HELD and bool(bead.token))


def _decides(entry: LedgerEntry) -> bool:
    """Return whether the entry records a decision and not the answer of a target.

    The quarantine after the last attempt of unknown outcome is a decision. Its entry has a scope
    and no answer.
    """
    given = RecordedInputs.decode(entry.detail)
    return entry.kind in DECIDED or (
        entry.kind in REPORTS and given.scope is not None and given.answer is None
    )


# -- one entry --------------------


class _Case(NamedTuple):
    """An entry, and all that its decision depended on."""

    entry: LedgerEntry
    given: RecordedInputs
    now: datetime
    state: State
    under: SettingsVersion


class _EntryVerifier:
    """Recomputes entries, and adds the result to a ``VerificationResult``."""

    def __init__(self, replayer: HistoryReplayer, out: VerificationResult) -> None:
        self.replayer, self.out = replayer, out
        self.claims = {
            entry.token: entry for entry in replayer.entries if entry.kind is EntryKind.CLAIM
        }
        self.last = {
            entry.bead: entry.version
            for entry in sorted(replayer.entries, key=lambda entry: entry.version)
        }
        self.agreed: set[tuple[str, int]] = set()
        """Bead and version of the entries that equal the computation."""
        content = {*CONTENT, *(name for one in replayer.current.compiled for name in one.columns)}
        self.cells = [*CELLS, *sorted(content.intersection(replayer.columns).difference(CELLS))]
        """Columns for the hash of a bead. They are read with the changes, in one query."""
        self._ready = KnownReadiness(replayer)
        """Cleared after each commit that can change readiness."""
        self._front = QueueFront()
        self._altered: frozenset[str] = frozenset()
        """Commits that change the schema of a table that readiness depends on."""
        self._elsewhere: dict[str, dict[str, list[LedgerEntry]]] = {}
        """Commit of a rebuild → observed commit → entries whose state this pass doesn't have."""

    def begin(self, line: Sequence[Commit]) -> None:
        """Prepare for one pass over a line of history."""
        self._ready.clear()
        self._front = QueueFront()
        edges = [Edge(commit.parents[0], commit.hash) for commit in line if commit.parents]
        altered = self.replayer.engine.altered(sorted(READ_FOR_READINESS), edges) if edges else {}
        self._altered = frozenset(edge.commit for some in altered.values() for edge in some)

    def follow(self, step: ReplayStep) -> None:
        """Follow a commit, and clear the known readiness if the commit can change it."""
        self._front.follow(step)
        commit = step.commit
        altered = not self._altered.isdisjoint((commit.hash, *commit.parents))
        if altered or changes_readiness(step.changes):
            self._ready.clear()

    def verify_at(self, entries: list[LedgerEntry], state: State) -> None:
        for entry in entries:
            if self._stands_on(entry, state.made):
                self._check([entry], state)

    def _stands_on(self, entry: LedgerEntry, made: str) -> bool:
        """Return whether this pass has the state of the entry.

        Each reprocessing rebuilds the state at an older commit. Entries that depend on the state
        before the rebuild are deferred to another pass.
        """
        own = RecordedInputs.decode(entry.detail).made
        if own == made or own not in self.replayer.rebuild_points:
            return True
        if not self.replayer.engine.is_ancestor(own, entry.observed):
            return True  # This is impossible. The check reports a difference.
        self._elsewhere.setdefault(own, {}).setdefault(entry.observed, []).append(entry)
        return False

    def verify_deferred(self) -> None:
        """Verify the deferred entries. Replay history from the rebuild of each."""
        for made, waiting in self._elsewhere.items():
            under = self.replayer.settings_or_current(self.replayer.rebuild_points[made])
            start = self.replayer.projection_at(made, under)
            self.begin(self.replayer.line(made) or ())
            self._check(waiting.pop(made, []), start.state())
            for step in self.replayer.steps(made, under, start=start) if waiting else ():
                self.follow(step)
                self._check(waiting.pop(step.commit.hash, []), step.projection.state())
                if not waiting:
                    break
            for entries in waiting.values():
                self.out.unverifiable[GONE] += len(entries)

    def _check(self, entries: list[LedgerEntry], state: State) -> None:
        for entry in entries:
            under = self.replayer.find_settings(entry.settings_hash)
            if under is None:
                self.out.unverifiable["its settings are not in history"] += 1
                continue
            given = RecordedInputs.decode(entry.detail)
            if given.now is None:
                self.out.unverifiable["its inputs were not recorded"] += 1
            else:
                differences = self._differences(_Case(entry, given, given.now, state, under))
                if differences and not given.acts and any(map(_outlived, state.beads.values())):
                    self.out.unverifiable[EARLIER] += 1
                    continue
                self.out.differences += differences
                if not differences:
                    self.agreed.add((entry.bead, entry.version))

    def _differences(self, case: _Case) -> list[Difference]:
        """Recompute an entry, and return the differences.

        In nearly all cases, the beads at the head of the queue suffice. If their result differs,
        the entry is recomputed with all beads.
        """
        entry, state = case.entry, case.state
        if not _decides(entry):
            return list(_compare(entry, self._reported(case)))
        front = self._front.of(state, case.under.policy)
        plan = self._planned(case._replace(state=front))
        found = list(_compare(entry, next(iter(plan.decisions), None)))
        if found and len(front.beads) < len(state.beads):
            plan = self._planned(case)
            found = list(_compare(entry, next(iter(plan.decisions), None)))
        for beside in plan.decisions[1:]:
            last = self.last.get(beside.bead, 0)
            if beside.kind is EntryKind.CLAIM and last <= state.beads[beside.bead].version:
                self.out.planned_not_made.append((beside.bead, entry.observed))
        return found

    def _planned(self, case: _Case) -> Plan:
        """Return the plan of the tick that made the entry, from its recorded inputs."""
        entry, given, now, state, (policy, _) = case
        scope, passed = Scope.of(given.scope or ()), given.passed
        state = with_recorded_tries(state, given.outages)
        attempted = [bead for bead, gate in passed.items() if gate == ATTEMPTED]
        candidates = select_candidates(state, policy, now, scope, attempted)
        stale = silence_cutoffs(candidates.stale, policy, now)
        holds = spared_by_children(self.replayer.engine, stale, entry.observed, now)
        holds |= {
            bead: HoldReason(gate, "as recorded")
            for bead, gate in passed.items()
            if gate in (UNCOMMITTED, UNVERSIONED)
        }
        for rule in policy.rules:
            queue = candidates.queues.get(rule.name, ())
            if rule.ready and queue:
                ids = [bead.id for bead in queue]
                enough = candidates.slots.get(rule.name, 0)
                holds |= self._readiness(case, ids, enough, holds)
        jitter = given.jitter or 0.0
        observations = Observations(given.capacity, holds, given.verdicts, given.leases, jitter)
        return make_plan(state, policy, now, scope, candidates, observations)

    def _readiness(
        self, case: _Case, ids: list[str], enough: int, held: Collection[str]
    ) -> Mapping[str, HoldReason]:
        """Return the holds of beads that are not ready, by the decision's version of readiness.

        Beads are checked in queue order, as in the loop, until ``enough`` beads are ready and not
        ``held``. Beads further back can't be claimed.
        """
        engine, now, commit = self.replayer.engine, case.now, case.entry.observed
        holds: dict[str, HoldReason] = {}
        for chunk in growing_chunks(ids, enough):
            if case.given.readiness in (None, 1):  # Entries without a version use version 1.
                schema = schema_at(engine, commit)
                holds |= readiness_v1(engine.query, chunk, schema, now, commit)
            else:
                holds |= self._ready.holds(chunk, now, commit)
            enough -= sum(bead not in holds and bead not in held for bead in chunk)
            if enough <= 0:
                break
        return holds

    def _reported(self, case: _Case) -> Decision | None:
        """Return the report that follows from the recorded answer."""
        entry, given = case.entry, case.given
        answer, rule = decode_answer(entry), case.under.policy.rule(entry.rule)
        claim = self.claims.get(entry.token)
        if answer is None or rule is None or claim is None:
            return None
        bead = case.state.beads.get(entry.bead)
        if bead is None or bead.token != entry.token:  # The bead left during the request.
            bead = Bead(
                id=entry.bead,
                phase=Phase.CLAIMED,
                rule=claim.rule,
                since=claim.at,
                cause=entry.cause,
                attempt=claim.attempt,
                token=claim.token,
                sent_at=claim.at,
            )
        return settle(answer, bead, rule, case.now, given.jitter or 0.0, given.health)

    def written(self, changes: CommitChanges, under: SettingsVersion) -> Iterator[Difference]:
        """Yield the differences between a commit and the cells that its entries list.

        ``under`` replaces settings that history lacks.
        """
        rows = {row.bead: row for row in changes.rows if row.table == "issues"}
        events = {row.key for row in changes.rows if row.table == "events"}
        for entry in changes.entries:
            settings = (self.replayer.find_settings(entry.settings_hash) or under).compiled
            compiled = next((one for one in settings if one.rule == entry.rule), None)
            row = rows.get(entry.bead)
            if entry.bead == GLOBAL or (row is not None and row.kind == "removed"):
                continue
            for name, (before, after) in entry.wrote.cells.items():
                current = before if row is None else row.after.get(name)
                if current != after:
                    yield _difference(entry, f"wrote {name}", after, current)
            notes = str((row and row.after.get("notes")) or "")
            if entry.wrote.note and entry.wrote.note not in notes:
                yield _difference(entry, "wrote notes", entry.wrote.note, "not in this commit")
            for event in entry.wrote.events if entry.wrote.events_in_history else ():
                if event not in events:
                    yield _difference(entry, "wrote events", event, "not in this commit")
            # In most cases, the hash is that of the row in the commit. No query is necessary.
            here = bead_hash(row.after, compiled) if row is not None else ""
            if entry.bead_hash not in ("", here) and entry.bead_hash not in self._hashes(
                entry, changes.commit, compiled
            ):
                yield _difference(
                    entry, "bead_hash", entry.bead_hash, "no row in either commit has this hash"
                )

    def _hashes(
        self, entry: LedgerEntry, commit: str, compiled: CompiledRule | None
    ) -> Iterator[str]:
        """Yield the hashes of the bead's row in the entry's commit and in the observed commit.

        The entry's commit can contain changes that were uncommitted before.
        """
        current = list(self.replayer.columns)
        for at in (commit, entry.observed):
            if self.replayer.engine.commit_of(at) is None:
                # Other users can write the ledger. Its text is used in SQL only if it names a
                # commit.
                continue
            yield from self._hashes_at(at, entry.bead, current, compiled)
            # The columns of the commit are read only if the current columns don't match the hash.
            then = list(self.replayer.engine.columns("issues", at))
            if then != current:
                yield from self._hashes_at(at, entry.bead, then, compiled)

    def _hashes_at(
        self, commit: str, bead: str, columns: Sequence[str], compiled: CompiledRule | None
    ) -> Iterator[str]:
        names = ", ".join(f"`{name}`" for name in columns)
        sql = f"SELECT {names} FROM issues AS OF '{commit}' WHERE id = ?"
        for row in self.replayer.engine.query(sql, (bead,)) if columns else ():
            yield bead_hash(dict(zip(columns, row, strict=True)), compiled)


def _in_current_words(value: Any) -> Any:
    """Return a value of a detail with the terms of this release."""
    if isinstance(value, dict) and value.get("who") == EARLIER_UNKNOWN_WRITER:
        return {**value, "who": UNKNOWN_WRITER}
    return value


def _compare(entry: LedgerEntry, made: Decision | None) -> Iterator[Difference]:
    if made is None:
        yield _difference(entry, "decision", entry.kind.value, "no decision")
        return
    if (made.kind, made.bead) != (entry.kind, entry.bead):
        yield _difference(
            entry, "decision", f"{entry.kind.value} {entry.bead}", f"{made.kind.value} {made.bead}"
        )
        return
    pairs = {
        "rule": (entry.rule, made.rule),
        "attempt": (entry.attempt, made.attempt),
        "job": (entry.job, made.job),
        "cause": (entry.cause, made.cause),
        "reason_code": (entry.reason_code, made.reason_code),
    }
    # An entry has no note if the bead was deleted or its notes were full. A NOTE entry restores
    # only the notes that are still missing.
    if entry.wrote.note and entry.kind is not EntryKind.NOTE:
        pairs["note"] = (True, bool(made.note))
    if "status" in entry.wrote.cells:
        pairs["status"] = (entry.wrote.cells["status"][1], made.status)
    detail, was = orjson.loads(orjson.dumps({**made.detail})), entry.detail
    pairs |= {
        f"detail.{name}": (_in_current_words(was.get(name)), _in_current_words(value))
        for name, value in detail.items()
        if name not in (*INPUTS, *WORDED)
    }
    pairs |= {f"detail.{name}": (bool(was.get(name)), bool(detail.get(name))) for name in WORDED}
    for name, (recorded, computed) in pairs.items():
        if recorded != computed:
            yield _difference(entry, name, recorded, computed)
