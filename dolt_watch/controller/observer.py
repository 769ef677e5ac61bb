"""What a decision needs to know of the world beside history: gates, capacity, verdicts.

Asked only where it would make a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from dolt_watch.beads import feed_query
from dolt_watch.beads.child_activity import spared_by_children
from dolt_watch.beads.leases import read_leases
from dolt_watch.beads.migration import uncommitted_migration
from dolt_watch.beads.queue_readiness import READ_FOR_READINESS, unready_until_enough
from dolt_watch.beads.uncommitted import uncommitted
from dolt_watch.checkpoint.poll import PollResult, TableState
from dolt_watch.controller.tick_result import TickResult
from dolt_watch.core.decisions.policy import RECHECK_INTERVAL, Candidates, Observations, Policy
from dolt_watch.core.decisions.reap_policy import silence_cutoffs
from dolt_watch.core.model import Bead, Capacity, JobReport, RowChange, Verdict
from dolt_watch.core.model.entry_payloads import Claimed
from dolt_watch.engines import Engine
from dolt_watch.history import change_feed

if TYPE_CHECKING:
    from dolt_watch.targets.protocol import Target


class Observer:
    """The rows as they are, and the targets by name."""

    def __init__(self, engine: Engine, policy: Policy, targets: Callable[[str], Target]) -> None:
        self.engine, self.policy, self.targets = engine, policy, targets
        self._last_asked: dict[str, tuple[datetime, JobReport]] = {}
        """Token → when its target was last asked about it, and the answer."""

    def observe(
        self,
        look: PollResult,
        asked: Candidates,
        now: datetime,
        lens: feed_query.FeedQuery,
        seen: Mapping[str, TableState],
        loose: Sequence[Any],
        outcome: TickResult,
    ) -> Observations:
        """Put the questions: gates first, and the targets only where somebody is left who could
        go.
        """
        capacity: dict[str, Capacity] = {}
        verdicts: dict[str, JobReport] = {}
        stale = silence_cutoffs(asked.stale, self.policy, now)
        holds = spared_by_children(self.engine, stale, look.head, now)
        # after a conflict too: a claim asks the rows as they are, and somebody may have written
        # since the look
        beside = bool(outcome.conflicts) or has_uncommitted_readiness_rows(seen)
        since = {table: one.since for table, one in seen.items()}
        holds |= uncommitted(loose, asked, [rule.name for rule in self.policy.rules], stale, since)
        for rule in self.policy.rules:
            queue = asked.queues.get(rule.name, ())
            if rule.ready and queue:
                ids = [bead.id for bead in queue]
                free = asked.slots[rule.name]
                holds |= unready_until_enough(
                    self.engine, ids, free, holds, lens.schema, now, look.head, beside
                )
            waits = any(bead.id not in holds for bead in queue)
            doubts = any(bead.rule == rule.name for bead in asked.unknown)
            tried = rule.target in asked.tries
            if (waits or doubts or tried) and rule.target not in capacity:
                capacity[rule.target] = self.targets(rule.target).capacity()
            if (waits or tried) and capacity[rule.target].down:
                outcome.down = True
        settled = self._settled(asked.unsettled, now)
        silent = [*(bead.id for bead in (*asked.stale, *asked.unknown)), *settled]
        leases = read_leases(self.engine.query, lens.schema, silent) if silent else {}
        for bead in asked.stale:
            named = self.policy.rule(bead.rule)
            if bead.job and named is not None and bead.id not in holds:
                verdicts[bead.id] = self.targets(named.target).verdict(bead.job, bead.sent_at)
        verdicts |= settled
        verdicts |= self._ended(asked.jobs, now, {row.bead for row in loose})
        self._last_asked = {
            bead.token: heard
            for bead in (*asked.jobs, *asked.unsettled)
            if (heard := self._last_asked.get(bead.token)) is not None
        }
        return Observations(capacity, holds, verdicts, leases, _drawn() if capacity else 0.0)

    def _settled(self, unsettled: Sequence[Bead], now: datetime) -> dict[str, JobReport]:
        """Ask targets that deduplicate what became of attempts of unknown outcome.

        Only the site that claimed an attempt can tell: the claim names it.
        """
        found = {}
        for bead in unsettled:
            rule = self.policy.rule(bead.rule)
            if rule is None or rule.target not in self.policy.deduplicating:
                continue
            report = self._last_report(bead, now)
            if report is None:
                report = self._settle(bead, self.targets(rule.target))
                self._last_asked[bead.token] = (now, report)
            if report is not _NOT_HERE:
                found[bead.id] = report
        return found

    def _settle(self, bead: Bead, target: Target) -> JobReport:
        settle, site = getattr(target, "settle", None), getattr(target, "site", "")
        if settle is None or not site or site != self._site_of(bead):
            return _NOT_HERE
        report: JobReport = settle(bead.token)
        return report

    def _site_of(self, bead: Bead) -> str:
        rows = self.engine.query(
            "SELECT detail FROM watch_decision WHERE token = ? AND kind = 'claim'", (bead.token,)
        )
        detail = orjson.loads(rows[0][0]) if rows else {}
        return Claimed.decode(detail).site if isinstance(detail, dict) else ""

    def _last_report(self, bead: Bead, now: datetime) -> JobReport | None:
        """Return what the target said of an attempt less than ``RECHECK_INTERVAL`` ago.

        One decision is made at a time: reports on other beads are kept until their turn.
        """
        at, report = self._last_asked.get(bead.token, (None, None))
        return report if at is not None and at + RECHECK_INTERVAL > now else None

    def _ended(
        self, jobs: Sequence[Bead], now: datetime, loose: Collection[str]
    ) -> dict[str, JobReport]:
        """What ended while its bead was not silent yet; one that stands uncommitted may just
        have been closed.
        """
        found = {}
        for bead in jobs:
            rule = self.policy.rule(bead.rule)
            if (
                rule is None
                or rule.target not in self.policy.job_reporting_targets
                or bead.id in loose
            ):
                continue
            report = self._last_report(bead, now)
            if report is None:
                report = self.targets(rule.target).verdict(bead.job, bead.sent_at)
                self._last_asked[bead.token] = (now, report)
            if report.failed or report.verdict is Verdict.FINISHED:
                found[bead.id] = report
        return found


_NOT_HERE = JobReport(Verdict.UNKNOWN, error="only the site that claimed it can tell")


def _drawn() -> float:
    from random import random  # 1 ms, which a tick need not pay that asks no target

    return round(random(), 6)


class Uncommitted(NamedTuple):
    """The working set's difference to HEAD in the watched tables."""

    tables: list[str]
    migration: frozenset[str]
    """Tables whose schema change is not committed."""
    rows: list[RowChange]
    """Without rows in which only columns that bd computes differ."""


def read_uncommitted(
    engine: Engine, head: str, seen: Mapping[str, TableState], lens: feed_query.FeedQuery
) -> Uncommitted:
    """Read the uncommitted changes. Nothing is asked if no table has any."""
    tables = [table for table, one in seen.items() if one.dirty]
    if not tables:
        return Uncommitted([], frozenset(), [])
    migration = uncommitted_migration(engine)
    rows = change_feed.read_uncommitted(engine, head, tables, lens, migration)
    return Uncommitted(tables, migration, [row for row in rows if not change_feed.kept_by_bd(row)])


def has_uncommitted_readiness_rows(seen: Mapping[str, TableState]) -> bool:
    """May rows that stand uncommitted keep a bead back?"""
    return any(seen[table].dirty for table in READ_FOR_READINESS if table in seen)
