"""The writer of the ledger.

Each entry is one row of ``watch_decision`` and one Dolt commit, together with its changes.

There are two kinds of entries. A *decision* is written only if its context is unchanged: HEAD, the
fence, and the key (bead_id, version). After a conflict it is discarded and planned again. An
*outcome entry* is appended at the next free version, again and again until it is in history.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson

from dolt_watch import __version__
from dolt_watch.beads.dependency_graph import Query
from dolt_watch.beads.leases import read_leases
from dolt_watch.beads.readiness import readiness
from dolt_watch.beads.schema import NOT_COMMITTED, READ_FOR_READINESS, TrackerSchema
from dolt_watch.checkpoint.state_store import advance_fence
from dolt_watch.checkpoint.turns import Turns
from dolt_watch.clock import Clock
from dolt_watch.core.decisions.policy import sets_status
from dolt_watch.core.model import (
    BY_HAND,
    GLOBAL,
    IN_PROGRESS,
    Decision,
    EntryEffects,
    EntryKind,
    HoldReason,
    LedgerEntry,
    entry_payloads,
)
from dolt_watch.core.model.columns import KEPT_BY_BD
from dolt_watch.core.model.recorded_inputs import RecordedInputs
from dolt_watch.core.rules.compiled_rule import CompiledRule
from dolt_watch.engines import Engine, Param, Transaction
from dolt_watch.engines.values import normalize_cell
from dolt_watch.errors import (
    BeadNotFound,
    Conflict,
    DatabaseError,
    DoltWatchError,
    MergeInProgress,
    MigrationInProgress,
    MissingRule,
    NoSuchTable,
    OutcomeNotRecorded,
    SchemaChanged,
    Unreachable,
    UnsupportedSchema,
)
from dolt_watch.ledger.codec import (
    ENTRY_COLUMNS,
    bd_snapshot,
    bd_value,
    commit_message,
    decode_entry,
    fit_to_column,
)
from dolt_watch.ledger.decision_context import DecisionContext
from dolt_watch.sanitize import sanitize
from dolt_watch.timestamps import as_utc

OUTCOME_TIMEOUT_SECONDS = 60.0
"""Seconds for which an outcome entry waits for its turn, for the end of a merge, or for the server.
An outcome can't be planned again.
"""

CONTENT = (
    "title",
    "description",
    "design",
    "acceptance_criteria",
    "issue_type",
    "priority",
    "assignee",
)
"""Columns with the content of a bead. With the rule's own columns, and without the cells of
dolt_watch, they make ``bead_hash``.
"""

_BEGIN = """SELECT HASHOF('HEAD'), UTC_TIMESTAMP(6), is_merging, version, hash IS NOT NULL{hashes}
FROM dolt_merge_status LEFT JOIN watch_settings ON hash = ?
LEFT JOIN watch_decision ON bead_id = ? ORDER BY version DESC LIMIT 1"""
"""The facts that a transaction needs before it writes. ``dolt_merge_status`` always has one row.

The query must ask for a merge, because Dolt would take this commit for the merge commit. Dolt
itself refuses to commit with conflicts or violations outside of a merge.
"""

_GUARDED = ("issues", "events", "dependencies")
"""Tables whose hash shows that a transaction reads the rows of the observed HEAD."""

ACTOR_LIMIT = 255
"""Number of characters of the column ``actor``, in the ledger and in bd's ``events``."""
BY_SILENCE = (EntryKind.REAP, EntryKind.REQUEUE, EntryKind.RETRY, EntryKind.GIVE_UP)
"""Decisions that a heartbeat prevents, unless the target itself reports how the job ended."""

GUARDED_BY_RULE = (EntryKind.CLAIM, EntryKind.REAP, EntryKind.REQUEUE)
"""Decisions that are written only if their own transaction finds that the row matches or runs by
the rule.
"""

_MIGRATES = (MigrationInProgress, NoSuchTable, SchemaChanged, UnsupportedSchema)
"""Errors of a transaction while bd migrates its tables."""

OUTLIVES = (EntryKind.RESTORE, EntryKind.OVERDUE, EntryKind.RENAMED)
"""Decisions about an attempt and not about a row. Its stream outlives a deleted bead."""


class WriterIdentity(NamedTuple):
    """The writer: actors as in bd's events, the host for the commit's author, and the settings in
    use.
    """

    host: str
    actor_dispatch: str
    actor_reap: str
    settings_hash: str
    settings_text: str

    @property
    def author(self) -> str:
        return f"dolt-watch <dolt-watch@{self.host}>"


class Written(NamedTuple):
    """An entry in history, its commit, and the bead's row as its transaction read it before (None:
    no row).
    """

    entry: LedgerEntry
    commit: str
    row: Mapping[str, Any] | None
    warning: str = ""


class _Begun(NamedTuple):
    """The facts that a transaction found before it wrote."""

    head: str
    now: datetime
    version: int
    """The next free version of the bead's stream."""
    settings_stand: bool
    unchanged: frozenset[str] = frozenset()
    """Tables whose rows and schema are those of the observed HEAD, by their hash."""
    matches: bool = False
    runs: bool = False
    row: Mapping[str, Any] | None = None
    """The bead's row. None for a decision about no bead, and for an outcome entry of a deleted
    bead.
    """


@dataclass(eq=False, repr=False)
class LedgerWriter:
    """Writes entries with one engine."""

    engine: Engine
    identity: WriterIdentity
    clock: Clock
    turns: Turns
    """Of this worker, when others on the server compete with it."""
    under_way: Decision | None = field(default=None, init=False)
    """The attempt that is begun and not recorded: its claim, and after the target's answer its
    outcome entry.
    """

    @contextmanager
    def attempt(self, claim: Decision) -> Iterator[None]:
        """Keep ``claim`` as the attempt under way until the block ends.

        Its outcome entry replaces it.
        """
        self.under_way = claim
        try:
            yield
        finally:
            self.under_way = None

    def append_decision(
        self, context: DecisionContext, decision: Decision, valid: timedelta | None = None
    ) -> Written:
        """Append a decision.

        Args:
            context: The context of the decision.
            decision: The decision.
            valid: How long a claim belongs to its holder, from the time of its transaction.

        Raises:
            Conflict: Something in the context changed, the bead's row included. Nothing is written.
        """
        try:
            return self._write(context, decision, guarded=True, valid=valid)
        except BeadNotFound as error:
            if decision.kind in OUTLIVES:
                return self._write(context, decision._replace(note=""), guarded=True, alone=True)
            raise Conflict("The bead was deleted at the same moment.") from error

    def record(self, decision: Decision) -> Written:
        """Append a decision about no bead, for example a pause.

        Raises OutcomeNotRecorded as ``append_outcome``.
        """
        if decision.bead != GLOBAL:
            raise ValueError(f"a decision about {decision.bead} needs its context")
        return self._append_until_written(None, decision)

    def append_outcome(self, context: DecisionContext, decision: Decision) -> Written:
        """Append an outcome entry.

        Raises:
            OutcomeNotRecorded: Nothing could be written for ``OUTCOME_TIMEOUT_SECONDS``.
        """
        if self.under_way is not None and self.under_way.token == decision.token:
            self.under_way = decision
        return self._append_until_written(context, decision)

    def _append_until_written(self, context: DecisionContext | None, decision: Decision) -> Written:
        alone, unsure, tries, waited = False, False, 0, 0.0
        while True:
            try:
                self.turns.begin()
                return (unsure and self.find_recorded(decision)) or self._write(
                    context, decision, alone=alone
                )
            except BeadNotFound:
                decision, alone = decision._replace(note=""), True  # The stream outlives the bead.
            except (Conflict, DatabaseError) as error:
                # A user can repeat a command. An outcome is lost if it isn't written now.
                if decision.bead == GLOBAL and not isinstance(error, Conflict | Unreachable):
                    raise
                # The entry alone commits nothing of bd's migration, and reads no table or column
                # that the migration dropped. The row follows later.
                if isinstance(error, _MIGRATES) and not alone:
                    withheld = entry_payloads.Withheld(decision.note, decision.status)
                    ended = entry_payloads.Ended(withheld=withheld)
                    detail = {**decision.detail, **ended.encode()}
                    decision, alone = decision._replace(note="", status="", detail=detail), True
                    continue
                unsure = unsure or not isinstance(error, Conflict)
                if waited >= OUTCOME_TIMEOUT_SECONDS:
                    raise _not_recorded(decision, error) from error
                tries += 1
                self.turns.end()
                pause = min(0.005 * tries, 1.0)
                self.clock.sleep(pause)
                waited += pause

    def find_recorded(self, decision: Decision) -> Written | None:
        """Return the entry of a decision with a token if it is in history.

        A commit whose answer was lost may have succeeded.
        """
        rows = self.engine.query(
            f"SELECT {', '.join(ENTRY_COLUMNS)} FROM watch_decision WHERE bead_id = ? AND token = ?"
            " AND kind = ?",
            (decision.bead, decision.token, decision.kind.value),
        )
        entry = decode_entry(rows[0]) if rows and decision.token else None
        return Written(entry, "", None) if entry is not None else None

    def _write(
        self,
        context: DecisionContext | None,
        decision: Decision,
        *,
        guarded: bool = False,
        alone: bool = False,
        valid: timedelta | None = None,
    ) -> Written:
        """Write the entry and its changes in one commit.

        Args:
            context: The context. None for a decision about no bead.
            decision: The decision.
            guarded: Write only on the HEAD and the fence of the context.
            alone: Write without the bead's row.
            valid: How long a claim belongs to its holder.

        Raises:
            Conflict: The context changed.
            BeadNotFound: The bead has no row.
            MergeInProgress: A merge is not committed.
            MigrationInProgress: A migration of bd is not committed.
        """
        held = context if guarded else None
        about = None if alone or decision.bead == GLOBAL else context
        with self.engine.transaction() as tx:
            # The decision still holds: HEAD is the observed one, bd's migration is not under way,
            # and the row passes the guards as this transaction reads it.
            begun = self._read_snapshot(tx, about, decision)
            if held is not None and begun.head != held.poll.head:
                raise Conflict("History changed since this was decided.")
            beads: list[str] = []
            if about is not None:
                unversioned = about.feed_query.schema.unversioned
                beads = [table for table in ("issues", "events") if table not in unversioned]
                unsure = set(beads) - begun.unchanged
                if unsure and self.engine.uncommitted_schema(unsure):
                    raise MigrationInProgress(NOT_COMMITTED)
                self._recheck_guards(tx, about, decision, begun)
            # The fence serializes workers on one server; clones meet at the primary key of the
            # entry instead.
            fence = advance_fence(tx, held.poll.fence if held is not None else None)
            entry, changes, warning = self._entry(about, decision, begun, valid)
            if about is not None:
                self._apply(tx, about.feed_query.schema, decision, begun, changes, entry)
            self._append(tx, entry, begun.settings_stand)
            # Only these tables: a user's uncommitted changes in others stay uncommitted.
            settings = () if begun.settings_stand else ("watch_settings",)
            tables = ["watch_decision", *settings, *beads]
            commit = tx.dolt_commit(tables, commit_message(entry), self.identity.author)
        self.turns.on_write(fence)
        return Written(entry, commit, begun.row, warning)

    def _read_snapshot(
        self, tx: Transaction, context: DecisionContext | None, decision: Decision
    ) -> _Begun:
        """Return the facts for the transaction. ``context`` is ``None`` if no bead's row is read.

        Raises:
            MergeInProgress: A merge is not committed.
            BeadNotFound: The decision is about a bead without a row.
            MissingRule: The settings lack the rule that guards the decision.
        """
        # Both queries read the snapshot of the transaction.
        observed = context.committed if context is not None else {}
        tables = [table for table in _GUARDED if table in observed]
        hashes = "".join(f", dolt_hashof_table('{table}')" for table in tables)
        [(head, clock, merging, last, settings, *found)] = tx.query(
            _BEGIN.format(hashes=hashes), (self.identity.settings_hash, decision.bead)
        )
        if merging:
            raise MergeInProgress()
        free = (
            max(int(last or 0), 0) + 1
        )  # An imported entry may have a version below 1, and projection reads 0 as applied.
        begun = _Begun(head, self.clock.now(as_utc(clock)), free, bool(settings))
        if context is None:
            return begun
        # The rule's `when` and `running` guard these decisions. Others don't depend on their rule,
        # which may be removed from the settings.
        asks: Sequence[str] = ()
        if decision.kind in GUARDED_BY_RULE:
            compiled = context.compiled.get(decision.rule)
            if compiled is None:
                raise MissingRule(
                    f"{decision.kind.value} {decision.bead}: there is no rule"
                    f" {decision.rule!r} to check its row."
                )
            asks = (compiled.when_row, compiled.running_row)
        names = ", ".join((*asks, *context.feed_query.columns))
        rows = tx.query(f"SELECT {names} FROM issues WHERE id = ?", (decision.bead,))
        if not rows:
            raise BeadNotFound(f"Bead {decision.bead} does not exist.")
        values = rows[0]
        (matches, runs), cells = values[:2] if asks else (False, False), values[len(asks) :]
        return begun._replace(
            unchanged=frozenset(
                table
                for table, hash in zip(tables, found, strict=True)
                if head == context.poll.head and hash == observed[table]
            ),
            matches=bool(matches),
            runs=bool(runs),
            row=dict(zip(context.feed_query.columns, cells, strict=True)),
        )

    def _recheck_guards(
        self, tx: Transaction, context: DecisionContext, decision: Decision, begun: _Begun
    ) -> None:
        """Check the decision against the row as this transaction sees it. Raises Conflict."""
        bead, row = decision.bead, begun.row
        assert row is not None
        # A claim: the row matches its rule, and the bead is ready. A claim that sends again has
        # the row as the first claim left it.
        resent = entry_payloads.Claimed.decode(decision.detail).resend is not None
        if decision.kind is EntryKind.CLAIM and resent:
            if not begun.runs:
                raise Conflict(f"{bead} is no longer in progress.")
        elif decision.kind is EntryKind.CLAIM:
            if not begun.matches:
                raise Conflict(f"{bead} no longer matches.")
            # The plan rests on the readiness at the observed HEAD. The same rows give the same
            # answer, except where rows outside of history count too.
            observed = begun.unchanged.issuperset(READ_FOR_READINESS)
            hold = (
                None
                if observed and bead not in context.unversioned_readiness
                else self._unready(tx.query, context, decision.rule, bead, begun.now)
            )
            if hold is not None:
                raise Conflict(f"{bead} is not ready: {hold.why}")
        if decision.kind in (EntryKind.REAP, EntryKind.REQUEUE) and not begun.runs:
            raise Conflict(f"{bead} is no longer in progress.")
        # A person's decision was about the status that they saw.
        if (
            decision.kind in BY_HAND
            and row["status"] != entry_payloads.ByHand.decode(decision.detail).row
        ):
            raise Conflict(f"{bead} is now {row['status']}, and that is not committed yet.")
        by_silence = decision.kind in BY_SILENCE or resent
        if by_silence and not entry_payloads.Reaped.decode(decision.detail).ended:
            # A heartbeat changes neither HEAD nor the fence, so it is compared with the one in the
            # context.
            seen = RecordedInputs.decode(decision.detail).leases
            if read_leases(tx.query, context.feed_query.schema, [bead]).get(bead) != seen.get(bead):
                raise Conflict(f"The lease of {bead} has changed.")

    def unready(self, context: DecisionContext, entry: LedgerEntry) -> HoldReason | None:
        """Return why a claimed bead may not be sent, if its rule requires readiness."""
        return self._unready(self.engine.query, context, entry.rule, entry.bead, entry.at)

    def _unready(
        self, query: Query, context: DecisionContext, rule: str, bead: str, now: datetime
    ) -> HoldReason | None:
        if rule not in context.ready:
            return None
        return readiness(query, [bead], context.feed_query.schema, now).holds.get(bead)

    def _entry(
        self,
        context: DecisionContext | None,
        decision: Decision,
        begun: _Begun,
        valid: timedelta | None,
    ) -> tuple[LedgerEntry, dict[str, Any], str]:
        """Return the entry, the changed cells, and a warning.

        ``context`` is ``None`` if no row was read.
        """
        kind, now, row = decision.kind, begun.now, begun.row
        changes: dict[str, Any] = {}
        cells: dict[str, tuple[Any, Any]] = {}
        warning = ""
        note = decision.note
        # The cells that change, before and after: replay tells them from a user's changes by these.
        if row is not None and context is not None:
            if sets_status(decision, str(row["status"])):
                changes["status"] = decision.status
                if (
                    decision.status == IN_PROGRESS
                    and "started_at" in row
                    and row["started_at"] is None
                ):
                    changes["started_at"] = now.replace(microsecond=0)
            cells = {
                name: (normalize_cell(name, row[name]), normalize_cell(name, value))
                for name, value in changes.items()
            }
            # A writer that had read the notes before may have written them back.
            if kind is EntryKind.NOTE:
                lines = (row["notes"] or "").splitlines()
                note = "\n".join(line for line in note.splitlines() if line not in lines)
            # A note that the column can't hold is left out of the row: the entry must be written.
            size = len((row["notes"] or "").encode()) + len(note.encode()) + 1
            if note and size > context.feed_query.schema.text_limit("issues", "notes"):
                warning, note = (
                    f"the notes of {decision.bead} are full, so only the ledger contains '{note}'",
                    "",
                )
        # bd records each change of a row as an event, so this change gets one too.
        events = (str(uuid.uuid4()),) if row is not None and (changes or note) else ()
        in_history = not events or context is None or context.feed_query.schema.events_in_history
        wrote = EntryEffects(cells, note, events, in_history)
        # The deadline counts from this transaction's clock, not from the plan's.
        claimed = entry_payloads.Claimed(deadline=now + valid if valid is not None else None)
        envelope = entry_payloads.Envelope(
            __version__, self.identity.host, wrote, decision.reason_code
        )
        detail = {**decision.detail, **claimed.encode(), **envelope.encode()}
        actor = self.identity.actor_dispatch
        if kind in BY_HAND:
            actor = sanitize(entry_payloads.ByHand.decode(decision.detail).by, ACTOR_LIMIT)
        elif kind in (EntryKind.REAP, EntryKind.REQUEUE):
            actor = self.identity.actor_reap
        asked_for = ""
        if context is not None and row is not None:
            asked_for = bead_hash(row, context.compiled.get(decision.rule))
        entry = LedgerEntry(
            bead=decision.bead,
            version=begun.version,
            kind=kind,
            attempt=decision.attempt,
            rule=decision.rule,
            token=decision.token,
            cause=decision.cause,
            observed=begun.head,
            at=now,
            job=decision.job,
            reason=sanitize(decision.reason),
            bead_hash=asked_for,
            settings_hash=self.identity.settings_hash,
            actor=actor,
            detail=detail,
            wrote=wrote,
            reason_code=decision.reason_code,
        )
        return entry, changes, warning

    def _apply(
        self,
        tx: Transaction,
        schema: TrackerSchema,
        decision: Decision,
        begun: _Begun,
        changes: Mapping[str, Any],
        entry: LedgerEntry,
    ) -> None:
        """Write the bead's row, and the row of ``events`` that bd itself would write."""
        note, row = entry.wrote.note, begun.row
        if not entry.wrote.events or row is None:
            return
        # The changed cells only: Dolt merges concurrent writes of a row cell by cell.
        second = entry.at.replace(microsecond=0)
        sets = [f"{name} = ?" for name in changes]
        params: list[Param] = list(changes.values())
        cells: dict[str, Any] = {name: value for name, value in changes.items() if name == "status"}
        if note:
            sets.append("notes = CASE WHEN notes = '' THEN ? ELSE CONCAT(notes, '\n', ?) END")
            params += [note, note]
            cells["notes"] = f"{row['notes']}\n{note}" if row["notes"] else note
        sets.append("updated_at = ?")
        params.append(second)
        if "row_lock" in row:
            # As bd does with each write of the row. Dolt merges concurrent writes of one row cell
            # by cell. Two new values of one cell conflict, so bd's write and this one can't both
            # succeed.
            sets.append("row_lock = ?")
            params.append(uuid.uuid4().int % 2**63)
        tx.write(f"UPDATE issues SET {', '.join(sets)} WHERE id = ?", (*params, decision.bead))
        tx.write(
            "INSERT INTO events (id, issue_id, event_type, actor, old_value, new_value, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                entry.wrote.events[0],
                entry.bead,
                "status_changed" if "status" in changes else "updated",
                entry.actor,
                fit_to_column(
                    bd_snapshot(row),
                    {name: bd_value(row[name]) for name in changes},
                    schema.text_limit("events", "old_value"),
                ),
                fit_to_column(
                    cells,
                    {name: value for name, value in cells.items() if name != "notes"},
                    schema.text_limit("events", "new_value"),
                ),
                second,
            ),
        )

    def _append(self, tx: Transaction, entry: LedgerEntry, settings_stand: bool) -> None:
        """Insert the ledger's row.

        The text of the settings is committed with the first decision under them.
        """
        if not settings_stand:
            tx.write(
                "INSERT IGNORE INTO watch_settings (hash, text) VALUES (?, ?)",
                (self.identity.settings_hash, self.identity.settings_text),
            )
        # The primary key (bead, version) admits one entry: a second writer gets a conflict.
        marks = ", ".join("?" * len(ENTRY_COLUMNS))
        tx.write(
            f"INSERT INTO watch_decision ({', '.join(ENTRY_COLUMNS)}) VALUES ({marks})",
            (
                entry.bead,
                entry.version,
                entry.kind.value,
                entry.attempt,
                entry.rule,
                entry.token,
                entry.cause,
                entry.observed,
                entry.at,
                entry.job,
                entry.reason,
                entry.bead_hash,
                entry.settings_hash,
                entry.actor,
                orjson.dumps(entry.detail).decode(),
            ),
        )
        # A claim is recorded outside of history too, until the saved state contains it. If history
        # loses this commit, the attempt is still known.
        if entry.kind is EntryKind.CLAIM:
            tx.write(
                "REPLACE INTO watch_attempt (bead_id, attempt, rule, token, claimed_at, deadline,"
                " worker) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    entry.bead,
                    entry.attempt,
                    entry.rule,
                    entry.token,
                    entry.at,
                    entry_payloads.Claimed.decode(entry.detail).deadline,
                    self.identity.host,
                ),
            )


def _not_recorded(decision: Decision, error: DoltWatchError) -> OutcomeNotRecorded:
    if decision.bead == GLOBAL:
        return OutcomeNotRecorded(
            f'Could not record "{decision.kind.value}" within {OUTCOME_TIMEOUT_SECONDS:.0f} s:'
            f" {error.message}",
            fix="Fix the database error, then run the command again.",
        )
    job = f" (job {decision.job})" if decision.job else ""
    return OutcomeNotRecorded(
        f'Could not record "{decision.kind.value}{job}" for {decision.bead} within'
        f" {OUTCOME_TIMEOUT_SECONDS:.0f} s: {error.message}",
        where=f"attempt {decision.attempt}, token {decision.token}",
        fix=(
            f"Fix the database error, then add the note manually: `bd note {decision.bead}"
            f" '{decision.kind.value}{job}'`. Don't reopen the bead while that job is"
            " running."
        ),
    )


def bead_hash(row: Mapping[str, Any], compiled: CompiledRule | None) -> str:
    """Return a hash of the content of the bead without the cells of dolt_watch.

    An edit by a user changes it, dolt_watch doesn't.
    """
    names = {*CONTENT, *(compiled.columns if compiled else ())} - {
        "status",
        "notes",
        "updated_at",
        *KEPT_BY_BD,
    }
    cells = {name: normalize_cell(name, row[name]) for name in sorted(names) if name in row}
    return hashlib.sha256(orjson.dumps(cells)).hexdigest()[:32]
