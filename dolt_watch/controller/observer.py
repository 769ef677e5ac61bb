"""What a decision needs to know of the world beside history: gates, capacity, verdicts.

Asked only where it would make a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import orjson

from dolt_watch.beads import feed_query
from dolt_watch.beads.child_activity import spared_by_children
from dolt_watch.beads.leases import read_leases
from dolt_watch.beads.migration import uncommitted_migration
from dolt_watch.beads.queue_readiness import READ_FOR_READINESS, unready_until_enough
from dolt_watch.beads.uncommitted import uncommitted
from dolt_watch.checkpoint.poll import TableState
from dolt_watch.core.decisions.policy import RECHECK_INTERVAL, Candidates, Observations, Policy
from dolt_watch.core.decisions.reap_policy import silence_cutoffs
from dolt_watch.core.model import Bead, Capacity, HoldReason, JobReport, RowChange, Verdict
from dolt_watch.core.model.entry_payloads import Claimed
from dolt_watch.engines import Engine
from dolt_watch.history import change_feed
from dolt_watch.ledger.decision_context import DecisionContext

if TYPE_CHECKING:
    from dolt_watch.targets.protocol import Target


class Observed(NamedTuple):
    """What the world answered."""

    answers: Observations
    target_down: bool
    """A target that a bead waits for, or that is tried, cannot be reached."""


class Observer:
    """The rows as they are, and the targets by name."""

    def __init__(self, engine: Engine, policy: Policy, targets: Callable[[str], Target]) -> None:
        self.engine, self.policy, self.targets = engine, policy, targets
        self._last_asked: dict[str, tuple[datetime, JobReport]] = {}
        """Token → when its target was last asked about it, and the answer."""

    def observe(
        self,
        context: DecisionContext,
        candidates: Candidates,
        tables: Mapping[str, TableState],
        loose: Sequence[RowChange],
        *,
        after_conflict: bool,
    ) -> Observed:
        """Ask about the candidates: gates first, and the targets only where somebody is left who
        could go.

        ``loose``: the uncommitted rows. ``after_conflict``: another writer was at work since the
        tick began, so rows are read as they are now.
        """
        now = context.now
        holds = self._holds(context, candidates, tables, loose, after_conflict)
        capacity, target_down = self._capacity(candidates, holds)
        settled = self._settled(candidates.unsettled, now)
        silent = [*(bead.id for bead in (*candidates.stale, *candidates.unknown)), *settled]
        leases = read_leases(self.engine.query, context.feed_query.schema, silent) if silent else {}
        verdicts = self._stale_verdicts(candidates.stale, holds) | settled
        verdicts |= self._ended(candidates.jobs, now, {row.bead for row in loose})
        # What was said of attempts that are over is forgotten.
        self._last_asked = {
            bead.token: heard
            for bead in (*candidates.jobs, *candidates.unsettled)
            if (heard := self._last_asked.get(bead.token)) is not None
        }
        jitter = _drawn() if capacity else 0.0
        return Observed(Observations(capacity, holds, verdicts, leases, jitter), target_down)

    def _holds(
        self,
        context: DecisionContext,
        candidates: Candidates,
        tables: Mapping[str, TableState],
        loose: Sequence[RowChange],
        after_conflict: bool,
    ) -> dict[str, HoldReason]:
        """Bead → why it is held, by the rows: signs of life of stale beads, uncommitted changes,
        readiness as far down the queues as there are slots.
        """
        head, now = context.poll.head, context.now
        # Children are asked for stale beads only: a command that reaps nothing has none.
        stale = silence_cutoffs(candidates.stale, self.policy, now)
        holds = spared_by_children(self.engine, stale, head, now) if stale else {}
        since = {table: one.since for table, one in tables.items()}
        names = [rule.name for rule in self.policy.rules]
        holds |= uncommitted(loose, candidates, names, stale, since)
        # after a conflict too: a claim asks the rows as they are, and somebody may have written
        # since the look
        beside = after_conflict or has_uncommitted_readiness_rows(tables)
        for rule in self.policy.rules:
            queue = [bead.id for bead in candidates.queues.get(rule.name, ())]
            if rule.ready and queue:
                free = candidates.slots[rule.name]
                holds |= unready_until_enough(
                    self.engine, queue, free, holds, context.feed_query.schema, now, head, beside
                )
        return holds

    def _capacity(
        self, candidates: Candidates, holds: Collection[str]
    ) -> tuple[dict[str, Capacity], bool]:
        """Return each target's capacity, and whether one that is waited for is down.

        A target is asked if a bead could go, if it may tell that an attempt of unknown outcome
        runs nowhere, or if its outage may be over.
        """
        capacity: dict[str, Capacity] = {}
        target_down = False
        for rule in self.policy.rules:
            waits = any(bead.id not in holds for bead in candidates.queues.get(rule.name, ()))
            doubts = any(bead.rule == rule.name for bead in candidates.unknown)
            tried = rule.target in candidates.tries
            if (waits or doubts or tried) and rule.target not in capacity:
                capacity[rule.target] = self.targets(rule.target).capacity()
            target_down |= (waits or tried) and capacity[rule.target].down
        return capacity, target_down

    def _stale_verdicts(
        self, stale: Sequence[Bead], holds: Collection[str]
    ) -> dict[str, JobReport]:
        """Ask about the jobs of stale beads that nothing spares."""
        found = {}
        for bead in stale:
            rule = self.policy.rule(bead.rule)
            if bead.job and rule is not None and bead.id not in holds:
                found[bead.id] = self.targets(rule.target).verdict(bead.job, bead.sent_at)
        return found

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
