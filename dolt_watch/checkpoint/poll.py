"""The look: the one query of an idle tick, and whether it leaves anything to do.

By itself, and light: an idle command imports this and nothing of the loop.
"""

from __future__ import annotations

import json  # and not orjson, which brings uuid and platform with it: 8 ms of an idle tick
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from dolt_watch.beads.schema import WATCHED_TABLES
from dolt_watch.engines import Engine
from dolt_watch.errors import NoSuchTable, NotABeadsDatabase, NotMigrated
from dolt_watch.log_events import LogEvent, log_condition
from dolt_watch.timestamps import to_utc

logger = logging.getLogger(__name__)

WATCHED = WATCHED_TABLES
"""Tables of beads whose rows mean something to us.

Those that a release of beads lacks are left out.
"""

_EMPTY: Mapping[str, Any] = MappingProxyType({})
_CURSOR = "commit_hash, fence, saved, hashes, dispatch_due, reap_due, rules, compiled, globals"
_FROM = (
    "watch_cursor LEFT JOIN dolt_merge_status ON TRUE LEFT JOIN watch_attempt ON TRUE WHERE id = 1"
    " LIMIT 1"
)
"""Joined, and not asked in subqueries: each of those costs Dolt more than 1 ms."""


class TableState(NamedTuple):
    """A watched table's working hash, since when it is seen, and whether it stands uncommitted."""

    hash: str
    since: datetime
    dirty: bool


class PollResult(NamedTuple):
    """One look: where history stands, what the cursor row says, and the database's clock."""

    head: str
    now: datetime
    hashes: Mapping[str, str]
    commit: str
    """The last commit folded, '' before the first."""
    fence: str
    saved: str
    seen: Mapping[str, TableState]
    due: Mapping[str, datetime | None]
    rules: Mapping[str, Any] = _EMPTY
    compiled: Mapping[str, Any] = _EMPTY
    shared: Mapping[str, Any] = _EMPTY
    merging: bool = False
    """``dolt_merge_status`` says so: cheap.

    Conflicts and violations standing by themselves are asked for by whoever writes.
    """

    has_unsaved_claims: bool = False
    """Are there claims that the saved state does not have yet?

    Each moved HEAD: where HEAD stands as saved, history has lost one.
    """

    @property
    def unchanged(self) -> bool:
        """Nothing happened since the cursor was saved, committed or not."""
        return (
            self.head == self.commit
            and not self.has_unsaved_claims
            and all(
                table in self.seen and self.seen[table].hash == hash
                for table, hash in self.hashes.items()
            )
        )


class Poller:
    """Looks, over one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.tables = list(WATCHED)

    def poll(self) -> PollResult:
        """One query. Raises NotMigrated, NotBeads."""
        while True:
            hashes = ", ".join(f"dolt_hashof_table('{table}')" for table in self.tables)
            try:
                rows = self.engine.query(
                    "SELECT HASHOF('HEAD'), UTC_TIMESTAMP(6), is_merging, bead_id IS NOT NULL,"
                    f" {hashes}, {_CURSOR} FROM {_FROM}"
                )
            except NoSuchTable as error:
                self._without(error)
                continue
            if not rows:
                raise _not_migrated()
            return self._read(rows[0])

    def _without(self, error: NoSuchTable) -> None:
        """One missing table fails the whole statement: find out which, and what that means."""
        have = [table for table in self.tables if self.engine.columns(table)]
        if "issues" not in have:
            raise NotABeadsDatabase from error
        if not self.engine.columns("watch_cursor") or have == self.tables:
            raise _not_migrated() from error
        self.tables = have

    def _read(self, row: Sequence[Any]) -> PollResult:
        count = len(self.tables)
        head, now, merging, attempts, *rest = row
        commit, fence, saved, seen, dispatch, reap, rules, compiled, shared = rest[count:]
        moment = to_utc(now)
        assert moment is not None
        cache = _json(compiled)
        # The rows of an ignored table never come into history, so a change of them is nothing to
        # act on. Only the last tick knows which tables these are: a look is one query.
        unversioned = cache.get("unversioned", ())
        hashes = zip(self.tables, rest[:count], strict=True)
        return PollResult(
            head=head,
            now=moment,
            hashes={table: hash for table, hash in hashes if table not in unversioned},
            commit=commit,
            fence=fence,
            saved=saved,
            seen={table: _seen(value) for table, value in _json(seen).items()},
            due={"dispatch": to_utc(dispatch), "reap": to_utc(reap)},
            rules=_json(rules),
            compiled=cache,
            shared=_json(shared),
            merging=bool(merging),
            has_unsaved_claims=bool(attempts),
        )


def is_idle(
    look: PollResult,
    now: datetime,
    settings_hash: str,
    kinds: Sequence[str],
    settle: timedelta,
    adopt: bool,
) -> bool:
    """Nothing happened since the cursor was saved, under the same settings, and nothing of these
    kinds is due.
    """
    if not look.unchanged or look.rules.get("settings") != settings_hash:
        return False
    dirty = [seen.since for seen in look.seen.values() if seen.dirty]
    if dirty and adopt and max(dirty) + settle <= now:
        return False
    return all(at is None or at > now for at in (look.due.get(kind) for kind in kinds))


NO_BEADS = "no eligible beads (assignee=agent, status=open, has acceptance_criteria)"


def log_idle(look: PollResult, kinds: Sequence[str]) -> bool:
    """Log an idle tick: the original's line if the queue is empty, and each outage that beads
    wait for.

    Returns whether there is such an outage.
    """
    waits = look.shared.get("waiting")
    empty = "dispatch" in kinds and not waits
    words = NO_BEADS if empty else f"nothing new since {look.commit[:8]}"
    log_condition(logger, logging.INFO, words, LogEvent.IDLE)
    down = look.shared.get("down", ()) if "dispatch" in kinds else ()
    for words in down:
        log_condition(logger, logging.INFO, str(words), LogEvent.RULE_HELD, gate="outage")
    return bool(down)


def _not_migrated() -> NotMigrated:
    return NotMigrated(
        "the tables of dolt_watch are not in this database (or not on this branch)",
        fix=(
            f"{NotMigrated.FIX}   (as a user who may create tables; `dolt_watch init"
            " --print-sql` shows what it does)"
        ),
    )


def _json(text: str | None) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text) if text else {}
    return value


def _seen(value: Sequence[Any]) -> TableState:
    since = to_utc(value[1])
    assert since is not None
    return TableState(value[0], since, bool(value[2]))
