"""The poll: the only query of an idle tick, and whether there is anything to do.

The module is light: an idle command imports it, and nothing of the loop.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from dolt_watch.beads.schema import WATCHED_TABLES
from dolt_watch.engines import Engine, Row
from dolt_watch.errors import DatabaseError, NoSuchTable, NotABeadsDatabase, NotMigrated
from dolt_watch.log_events import LogEvent, log_condition
from dolt_watch.timestamps import as_utc, to_utc

logger = logging.getLogger(__name__)

WATCHED = WATCHED_TABLES
"""The tables of bd that dolt_watch reads. Tables that a release of bd lacks are left out."""

_EMPTY: Mapping[str, Any] = MappingProxyType({})
_CURSOR = "commit_hash, fence, saved, hashes, dispatch_due, reap_due, rules, compiled, globals"
_FROM = (
    "watch_cursor LEFT JOIN dolt_merge_status ON TRUE LEFT JOIN watch_attempt ON TRUE WHERE id = 1"
    " LIMIT 2"
)
"""Joins instead of subqueries: each subquery costs Dolt more than 1 ms. One row for each claim that
is not saved; two of them are enough to know that there are several.
"""


class TableState(NamedTuple):
    """The working hash of a table, since when it is known, and whether it is uncommitted."""

    hash: str
    since: datetime
    dirty: bool


class PollResult(NamedTuple):
    """One poll: HEAD, the cursor row, the tables' hashes, and the database's clock."""

    head: str
    now: datetime
    hashes: Mapping[str, str]
    commit: str
    """The last applied commit, '' before the first."""
    fence: str
    saved: str
    seen: Mapping[str, TableState]
    due: Mapping[str, datetime | None]
    rules: Mapping[str, Any] = _EMPTY
    compiled: Mapping[str, Any] = _EMPTY
    shared: Mapping[str, Any] = _EMPTY
    merging: bool = False
    """Whether a merge is unfinished, by ``dolt_merge_status``, which is cheap.

    Writers also check for conflicts and constraint violations without a merge.
    """

    has_unsaved_claims: bool = False
    """Whether there are claims that the saved state does not have.

    Each claim moved HEAD. If HEAD is as saved, history has lost a claim.
    """

    unsaved_claim: tuple[str, str] | None = None
    """Bead and token of the claim that the saved state does not have, if there is only one."""

    @property
    def unchanged(self) -> bool:
        """Whether nothing has changed since the cursor was saved, committed or not."""
        return (
            self.head == self.commit
            and not self.has_unsaved_claims
            and all(
                table in self.seen and self.seen[table].hash == hash
                for table, hash in self.hashes.items()
            )
        )


class Poller:
    """Polls through one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.tables = list(WATCHED)
        """The tables of ``WATCHED`` that the last poll found."""

    def poll(self) -> PollResult:
        """Poll with one query.

        Raises:
            NotMigrated: a table of dolt_watch is missing.
            NotABeadsDatabase: the tables of bd are missing.
            DatabaseError: the row of watch_cursor is damaged.
        """
        self.tables = list(WATCHED)  # A table that was missing can be back.
        while True:
            reads = ", ".join(f"dolt_hashof_table('{table}')" for table in self.tables)
            try:
                rows = self.engine.query(
                    "SELECT HASHOF('HEAD'), UTC_TIMESTAMP(6), is_merging, bead_id, token,"
                    f" {reads}, {_CURSOR} FROM {_FROM}"
                )
                break
            except NoSuchTable as error:
                self._without(error)
        if not rows:
            raise _not_migrated()
        try:
            return self._result(rows)
        except (ValueError, TypeError, AttributeError) as error:
            raise DatabaseError(
                f"The row of watch_cursor is damaged ({error}).",
                fix="Run `DELETE FROM watch_cursor` in the database, then `dolt_watch init`. The"
                " next tick rebuilds the state from history.",
            ) from error

    def _result(self, rows: Sequence[Row]) -> PollResult:
        """Return the result of the query. Raises ValueError and others if the row is damaged."""
        count = len(self.tables)
        head, now, merging, bead, token, *rest = rows[0]
        commit, fence, saved, seen, dispatch, reap, rules, compiled, shared = rest[count:]
        cache = orjson.loads(compiled or "{}")
        # Rows of an ignored table never enter history, so a change of them needs no action. Only
        # the last tick knows these tables, because a poll is one query.
        unversioned = cache.get("unversioned", ())
        hashes = zip(self.tables, rest[:count], strict=True)
        return PollResult(
            head=head,
            now=as_utc(now),
            hashes={table: hash for table, hash in hashes if table not in unversioned},
            commit=commit,
            fence=fence,
            saved=saved,
            seen={
                table: TableState(hash, as_utc(since), bool(dirty))
                for table, (hash, since, dirty) in orjson.loads(seen or "{}").items()
            },
            due={"dispatch": to_utc(dispatch), "reap": to_utc(reap)},
            rules=orjson.loads(rules or "{}"),
            compiled=cache,
            shared=orjson.loads(shared or "{}"),
            merging=bool(merging),
            has_unsaved_claims=bead is not None,
            unsaved_claim=(bead, token) if bead is not None and len(rows) == 1 else None,
        )

    def _without(self, error: NoSuchTable) -> None:
        """Find the missing table that failed the statement, and raise or leave it out."""
        have = [table for table in self.tables if self.engine.columns(table)]
        if "issues" not in have:
            raise NotABeadsDatabase from error
        if not self.engine.columns("watch_cursor") or have == self.tables:
            raise _not_migrated() from error
        self.tables = have


def is_idle(
    poll: PollResult,
    now: datetime,
    settings_hash: str,
    kinds: Sequence[str],
    settle: timedelta,
    adopt: bool,
) -> bool:
    """Return whether nothing has changed since the cursor was saved, under the same settings, and
    no decision of these kinds is due.
    """
    if not poll.unchanged or poll.rules.get("settings") != settings_hash:
        return False
    dirty = [seen.since for seen in poll.seen.values() if seen.dirty]
    if dirty and adopt and max(dirty) + settle <= now:
        return False
    return all(at is None or at > now for at in (poll.due.get(kind) for kind in kinds))


NO_BEADS = "no eligible beads (assignee=agent, status=open, has acceptance_criteria)"


def log_idle(poll: PollResult, kinds: Sequence[str]) -> bool:
    """Log an idle tick: the original's line if the queue is empty, and each outage that delays
    beads.

    Return whether there is such an outage.
    """
    waits = poll.shared.get("waiting")
    empty = "dispatch" in kinds and not waits
    words = NO_BEADS if empty else f"nothing new since {poll.commit[:8]}"
    log_condition(logger, logging.INFO, words, LogEvent.IDLE)
    down = poll.shared.get("down", ()) if "dispatch" in kinds else ()
    for words in down:
        log_condition(logger, logging.INFO, str(words), LogEvent.RULE_HELD, gate="outage")
    return bool(down)


def _not_migrated() -> NotMigrated:
    return NotMigrated(
        "The tables of dolt_watch are not in this database, or not on this branch.",
        fix=(
            f"{NotMigrated.FIX} It needs a user who may create tables. `dolt_watch init"
            " --print-sql` shows the statements."
        ),
    )
