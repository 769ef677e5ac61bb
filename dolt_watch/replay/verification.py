"""Every recorded decision, decided again: ``select_candidates`` and ``make_plan`` on the state
at the commit that the decision observed.

Only the clock, capacity, verdicts and answers are read from the record (``given``). Idle time,
queue order, gates, attempt and phase are computed again, and what comes out must be what was
recorded. Beside that: streams without gaps, rows never altered, settings that hash to their
name, and commits that hold exactly what their decision says it wrote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from dolt_watch.beads.child_activity import spared_by_children
from dolt_watch.beads.readiness import readiness_at
from dolt_watch.beads.readiness_v1 import readiness_v1
from dolt_watch.beads.schema import schema_at
from dolt_watch.config import hash_of_text
from dolt_watch.core.decisions.circuit_breaker import with_recorded_tries
from dolt_watch.core.decisions.planner import make_plan, select_candidates
from dolt_watch.core.decisions.policy import ATTEMPTED, UNCOMMITTED, UNVERSIONED, Observations
from dolt_watch.core.decisions.reap_policy import silence_cutoffs
from dolt_watch.core.decisions.recorded_inputs import RecordedInputs, read_inputs
from dolt_watch.core.decisions.settlement import decode_answer, settle
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
from dolt_watch.core.rules.compiled_rule import CompiledRule
from dolt_watch.ledger.writer import bead_hash
from dolt_watch.replay.replayer import HistoryReplayer, SettingsVersion

DECIDED = frozenset(
    {
        EntryKind.CLAIM,
        EntryKind.OVERDUE,
        EntryKind.RETRY,
        EntryKind.GIVE_UP,
        EntryKind.REAP,
        EntryKind.REQUEUE,
        EntryKind.NOTE,
    }
)
DECIDED |= {EntryKind.OUTAGE, EntryKind.RECOVERED}

WORDED = ("deferred_note", "why")
"""Keys of a detail that contain a sentence. Only its presence is compared: a release may word it
differently.
"""
EARLIER_UNKNOWN_WRITER = "somebody"
"""Earlier releases recorded this word for ``UNKNOWN_WRITER``."""

GONE = "what it observed is not in this history any more"
EARLIER = (
    "it was decided before a merge or an older row stopped releasing attempts (decision page 0015)"
)


class Difference(NamedTuple):
    """Where the record is not what comes out."""

    bead: str
    version: int
    kind: str
    field: str
    recorded: str
    computed: str


@dataclass
class VerificationResult:
    """The result, filled while history is read."""

    same: int = 0
    """Decisions and reports that came out as recorded."""
    not_recomputable: int = 0
    """Entries that nothing decides: pauses, resumes, resyncs, releases."""
    unverifiable: Counter[str] = field(default_factory=Counter)
    """Why → how many."""
    differences: list[Difference] = field(default_factory=list)
    planned_not_made: list[tuple[str, str]] = field(default_factory=list)
    """Claims that were planned beside a recorded one, capacity included, and never made: bead,
    commit.
    """
    settings: set[str] = field(default_factory=set)
    """Hashes of settings that decisions were made under."""


def verify(
    past: HistoryReplayer, told: Callable[[datetime], None] = lambda at: None
) -> VerificationResult:
    """Costs one pass over history from where decisions can be folded again, and two short reads
    a decision; where something was reprocessed, another pass over what had been decided by then.

    ``told``: called with the date of each commit as it is read.
    """
    out = VerificationResult()
    out.differences += _streams(past)
    out.differences += _settings(past)
    waiting: dict[str, list[LedgerEntry]] = {}
    for entry in past.entries:
        out.settings.add(entry.settings_hash)
        if entry.kind in DECIDED | REPORTS:
            waiting.setdefault(entry.observed, []).append(entry)
        else:
            out.not_recomputable += 1
    begin = past.first_replayable_commit()
    altered: set[tuple[str, int]] = set()
    if begin is not None:
        check = _EntryVerifier(past, out)
        start = past.projection_at(begin, past.settings_at(begin))
        check.verify_at(waiting.pop(begin, []), start.state())
        for step in past.steps(begin, start=start):
            told(step.commit.date)
            out.differences += _altered(step.changes)
            altered |= {(bead, version) for bead, version, _ in step.changes.altered}
            out.differences += check.written(step.changes, step.settings)
            if step.commit.hash in waiting:
                check.verify_at(waiting.pop(step.commit.hash), step.projection.state())
        check.verify_deferred()
        # A row that somebody changed later is not the entry that was recorded.
        out.same = len(check.agreed - altered)
    for entries in waiting.values():
        out.unverifiable[GONE] += len(entries)
    return out


# -- the ledger by itself --------------------


def _streams(past: HistoryReplayer) -> Iterator[Difference]:
    expected: dict[str, int] = {}
    for entry in sorted(past.entries, key=lambda entry: (entry.bead, entry.version)):
        expected[entry.bead] = expected.get(entry.bead, 0) + 1
        if entry.version != expected[entry.bead]:
            yield _difference(
                entry,
                "version",
                entry.version,
                f"{expected[entry.bead]}: an entry before it is missing",
            )
            expected[entry.bead] = entry.version


def _settings(past: HistoryReplayer) -> Iterator[Difference]:
    for hash, text in past.texts.items():
        if hash_of_text(text) != hash:
            yield Difference("", 0, "settings", "text", hash, hash_of_text(text))


def _altered(changes: CommitChanges) -> Iterator[Difference]:
    for bead, version, kind in changes.altered:
        yield Difference(
            bead,
            version,
            "entry",
            "row",
            f"{kind} in {changes.commit} by {changes.author}",
            "append-only",
        )


def _difference(entry: LedgerEntry, field: str, recorded: object, computed: object) -> Difference:
    return Difference(
        entry.bead, entry.version, entry.kind.value, field, _text(recorded), _text(computed)
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def _outlived(bead: Bead) -> bool:
    """Does its attempt go on only because no act released it? Before, any change of its row did."""
    return bead.reverted or bool(bead.unclear) or (bead.phase is Phase.HELD and bool(bead.token))


def _decides(entry: LedgerEntry) -> bool:
    """An unknown attempt that turns out to run nowhere may be its bead's last: quarantined too,
    but by a decision, with a scope and no answer.
    """
    given = entry.given
    return entry.kind in DECIDED or (
        entry.kind in REPORTS and "scope" in given and "answer" not in given
    )


# -- one entry --------------------


class _EntryVerifier:
    def __init__(self, past: HistoryReplayer, out: VerificationResult) -> None:
        self.past, self.out = past, out
        self.claims = {
            entry.token: entry for entry in past.entries if entry.kind is EntryKind.CLAIM
        }
        self.last = {
            entry.bead: entry.version
            for entry in sorted(past.entries, key=lambda entry: entry.version)
        }
        self.agreed: set[tuple[str, int]] = set()
        """Bead and version of the entries that are decided again, and the same."""
        self._elsewhere: dict[str, dict[str, list[LedgerEntry]]] = {}
        """Commit at which its state was made anew → commit observed → entries that stand on
        another state than this pass has there.
        """

    def verify_at(self, entries: list[LedgerEntry], state: State) -> None:
        for entry in entries:
            if self._stands_on(entry, state.made):
                self._check([entry], state)

    def _stands_on(self, entry: LedgerEntry, made: str) -> bool:
        """History is read once, and each reprocessing made the state anew in its middle: what
        had been decided by then is kept for ``elsewhere``.
        """
        own = entry.given.get("made")
        if not isinstance(own, str) or own == made or own not in self.past.rebuild_points:
            return True
        if not self.past.engine.is_ancestor(own, entry.observed):
            return True  # nobody can have stood there: it is said as a difference
        self._elsewhere.setdefault(own, {}).setdefault(entry.observed, []).append(entry)
        return False

    def verify_deferred(self) -> None:
        """Folded from where their own state was made anew, up to the last of them."""
        for made, waiting in self._elsewhere.items():
            under = self.past.settings_or_current(self.past.rebuild_points[made])
            start = self.past.projection_at(made, under)
            self._check(waiting.pop(made, []), start.state())
            for step in self.past.steps(made, under, start=start) if waiting else ():
                self._check(waiting.pop(step.commit.hash, []), step.projection.state())
                if not waiting:
                    break
            for entries in waiting.values():
                self.out.unverifiable[GONE] += len(entries)

    def _check(self, entries: list[LedgerEntry], state: State) -> None:
        for entry in entries:
            under = self.past.find_settings(entry.settings_hash)
            if under is None:
                self.out.unverifiable["its settings are not in history"] += 1
                continue
            given = read_inputs(entry)
            if given.now is None:
                self.out.unverifiable["it was recorded without what it rests on"] += 1
            else:
                again = self._decided if _decides(entry) else self._reported
                differences = list(_compare(entry, again(entry, given, given.now, state, under)))
                if differences and not given.acts and any(map(_outlived, state.beads.values())):
                    self.out.unverifiable[EARLIER] += 1
                    continue
                self.out.differences += differences
                if not differences:
                    self.agreed.add((entry.bead, entry.version))

    def _decided(
        self,
        entry: LedgerEntry,
        given: RecordedInputs,
        now: datetime,
        state: State,
        under: SettingsVersion,
    ) -> Decision | None:
        """What ``decide`` says first, given what was given."""
        scope, passed = given.scope, given.passed
        state = with_recorded_tries(state, given.outages)
        asked = select_candidates(
            state,
            under.policy,
            now,
            scope,
            [bead for bead, gate in passed.items() if gate == ATTEMPTED],
        )
        stale = silence_cutoffs(asked.stale, under.policy, now)
        holds = spared_by_children(self.past.engine, stale, entry.observed, now)
        holds |= {
            bead: HoldReason(gate, "as recorded")
            for bead, gate in passed.items()
            if gate in (UNCOMMITTED, UNVERSIONED)
        }
        for rule in under.policy.rules:
            queue = asked.queues.get(rule.name, ())
            if rule.ready and queue:
                ids = [bead.id for bead in queue]
                holds |= self._readiness(ids, given, now, entry.observed)
        world = Observations(given.capacity, holds, given.verdicts, given.leases, given.jitter)
        plan = make_plan(state, under.policy, now, scope, asked, world)
        for beside in plan.decisions[1:]:
            if (
                beside.kind is EntryKind.CLAIM
                and self.last.get(beside.bead, 0) <= state.beads[beside.bead].version
            ):
                self.out.planned_not_made.append((beside.bead, entry.observed))
        return plan.decisions[0] if plan.decisions else None

    def _readiness(
        self, ids: list[str], given: RecordedInputs, now: datetime, commit: str
    ) -> Mapping[str, HoldReason]:
        """Ask by the rule that the decision was made by, under the schema of the commit that it
        observed.
        """
        engine = self.past.engine
        if given.readiness == 1:
            return readiness_v1(engine.query, ids, schema_at(engine, commit), now, commit)
        return readiness_at(engine, ids, self.past.schema, now, commit).holds

    def _reported(
        self,
        entry: LedgerEntry,
        given: RecordedInputs,
        now: datetime,
        state: State,
        under: SettingsVersion,
    ) -> Decision | None:
        """What the answer, as recorded, comes to."""
        answer, rule = decode_answer(entry), under.policy.rule(entry.rule)
        claim = self.claims.get(entry.token)
        if answer is None or rule is None or claim is None:
            return None
        bead = state.beads.get(entry.bead)
        if bead is None or bead.token != entry.token:  # it left while it was being sent
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
        return settle(answer, bead, rule, now, given.jitter, given.health)

    def written(self, changes: CommitChanges, under: SettingsVersion) -> Iterator[Difference]:
        """Does the commit hold what its entries say they wrote?

        ``under``: for those whose settings history does not hold.
        """
        rows = {row.bead: row for row in changes.rows if row.table == "issues"}
        events = {row.key for row in changes.rows if row.table == "events"}
        for entry in changes.entries:
            rules = {
                one.rule: one
                for one in (self.past.find_settings(entry.settings_hash) or under).compiled
            }
            row = rows.get(entry.bead)
            if entry.bead == GLOBAL or (row is not None and row.kind == "removed"):
                continue
            for name, (before, after) in entry.wrote.cells.items():
                stands = before if row is None else row.after.get(name)
                if stands != after:
                    yield _difference(entry, f"wrote {name}", after, stands)
            if entry.wrote.note and entry.wrote.note not in str(
                (row and row.after.get("notes")) or ""
            ):
                yield _difference(entry, "wrote notes", entry.wrote.note, "not in this commit")
            for event in entry.wrote.events if entry.wrote.events_in_history else ():
                if event not in events:
                    yield _difference(entry, "wrote events", event, "not in this commit")
            if entry.bead_hash and entry.bead_hash not in self._hashes(
                entry, changes.commit, rules.get(entry.rule)
            ):
                yield _difference(
                    entry, "bead_hash", entry.bead_hash, "of no row that it can have read"
                )

    def _hashes(
        self, entry: LedgerEntry, commit: str, compiled: CompiledRule | None
    ) -> Iterator[str]:
        """Of the bead's row in its own commit, which may hold what somebody had left
        uncommitted; and in the commit observed.
        """
        for at in (commit, entry.observed):
            if self.past.engine.commit_of(at) is None:
                # 'observed' is text that whoever may write to the ledger chose: it is built into
                # SQL only where it is a commit
                continue
            yield from self._hashes_at(at, entry.bead, list(self.past.columns), compiled)
            then = list(
                self.past.engine.columns("issues", at)
            )  # asked only where today's columns do not explain it
            if then != list(self.past.columns):
                yield from self._hashes_at(at, entry.bead, then, compiled)

    def _hashes_at(
        self, commit: str, bead: str, columns: Sequence[str], compiled: CompiledRule | None
    ) -> Iterator[str]:
        sql = (
            f"SELECT {', '.join(f'`{name}`' for name in columns)} FROM issues AS OF '{commit}'"
            " WHERE id = ?"
        )
        for row in self.past.engine.query(sql, (bead,)) if columns else ():
            yield bead_hash(dict(zip(columns, row, strict=True)), compiled)


def _in_current_words(value: Any) -> Any:
    """Return a value of a detail in the words of this release."""
    if isinstance(value, dict) and value.get("who") == EARLIER_UNKNOWN_WRITER:
        return {**value, "who": UNKNOWN_WRITER}
    return value


def _compare(entry: LedgerEntry, made: Decision | None) -> Iterator[Difference]:
    if made is None:
        yield _difference(entry, "decision", entry.kind.value, "nothing would be decided")
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
    if (
        entry.wrote.note and entry.kind is not EntryKind.NOTE
    ):  # none where the bead was gone, or its notes full; of lost ones, those that nobody put back
        pairs["note"] = (True, bool(made.note))
    if "status" in entry.wrote.cells:
        pairs["status"] = (entry.wrote.cells["status"][1], made.status)
    detail = orjson.loads(orjson.dumps({**made.detail}))
    pairs |= {
        f"detail.{name}": (_in_current_words(entry.detail.get(name)), _in_current_words(value))
        for name, value in detail.items()
        if name not in ("given", *WORDED)
    }
    pairs |= {
        f"detail.{name}": (bool(entry.detail.get(name)), bool(made.detail.get(name)))
        for name in WORDED
    }
    for name, (recorded, computed) in pairs.items():
        if recorded != computed:
            yield _difference(entry, name, recorded, computed)
