"""Observations for a plan: gates, capacity, verdicts. Only what can make a difference is asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import orjson

from dolt_watch.beads.feed_query import FeedQuery
from dolt_watch.beads.leases import read_leases
from dolt_watch.beads.schema import READ_FOR_READINESS, uncommitted_migration
from dolt_watch.checkpoint.poll import TableState
from dolt_watch.core.decisions.policy import (
    RECHECK_INTERVAL,
    UNCOMMITTED,
    Candidates,
    Observations,
    Policy,
)
from dolt_watch.core.decisions.reap_policy import silence_cutoffs
from dolt_watch.core.model import Bead, Capacity, HoldReason, JobReport, RowChange, Verdict
from dolt_watch.engines import Engine
from dolt_watch.history import change_feed
from dolt_watch.ledger.decision_context import DecisionContext

if TYPE_CHECKING:
    from dolt_watch.targets.protocol import Target


class Observed(NamedTuple):
    """The observations."""

    answers: Observations
    target_down: bool
    """A target that a bead waits for, or that is tried, can't be reached."""
    unversioned_readiness: frozenset[str]
    """Ready beads whose readiness also depends on rows outside of history."""


@dataclass(eq=False, repr=False)
class Observer:
    """Reads rows, and asks targets by name."""

    engine: Engine
    policy: Policy
    targets: Callable[[str], Target]
    _last_asked: dict[str, tuple[datetime, JobReport]] = field(default_factory=dict)
    """Token → when its target was last asked about it, and the answer."""

    def observe(
        self,
        context: DecisionContext,
        candidates: Candidates,
        tables: Mapping[str, TableState],
        uncommitted: Uncommitted,
        *,
        after_conflict: bool,
    ) -> Observed:
        """Observe the candidates: gates first, then the targets of those that remain.

        Args:
            context: The context of the decision.
            candidates: The candidates.
            tables: The state of each table.
            uncommitted: The uncommitted changes.
            after_conflict: Another writer committed during the tick, so rows are read as they are
                now.
        """
        now = context.now
        holds, unsure = self._holds(context, candidates, tables, uncommitted, after_conflict)
        capacity, target_down = self._capacity(candidates, holds)
        settled = self._settled(candidates.unsettled, now) if candidates.unsettled else {}
        silent = [*(bead.id for bead in (*candidates.stale, *candidates.unknown)), *settled]
        leases = read_leases(self.engine.query, context.feed_query.schema, silent) if silent else {}
        verdicts = self._stale_verdicts(candidates.stale, holds) if candidates.stale else {}
        verdicts |= settled
        if candidates.jobs:
            loose = {row.bead for row in uncommitted.rows}
            verdicts |= self._ended(candidates.jobs, now, loose)
        # Answers about ended attempts are dropped.
        self._last_asked = {
            bead.token: heard
            for bead in (*candidates.jobs, *candidates.unsettled)
            if (heard := self._last_asked.get(bead.token)) is not None
        }
        jitter = 0.0
        if capacity:
            # The import takes 1 ms, which a tick that asks no target must not spend.
            from random import random

            jitter = round(random(), 6)
        observations = Observations(capacity, holds, verdicts, leases, jitter)
        return Observed(observations, target_down, unsure)

    def _holds(
        self,
        context: DecisionContext,
        candidates: Candidates,
        tables: Mapping[str, TableState],
        uncommitted: Uncommitted,
        after_conflict: bool,
    ) -> tuple[dict[str, HoldReason], frozenset[str]]:
        """Return the holds by the rows: signs of life of stale beads, uncommitted changes, and
        readiness for as many beads as there are slots.

        Also return the ready beads for which rows outside of history count.
        """
        head, now = context.poll.head, context.now
        stale: dict[str, datetime] = {}
        holds: dict[str, HoldReason] = {}
        unsure: set[str] = set()
        # Children are read for stale beads only. A command that reaps nothing has none.
        if candidates.stale:
            # Late: few ticks have a stale bead.
            from dolt_watch.beads.child_activity import spared_by_children

            stale = silence_cutoffs(candidates.stale, self.policy, now)
            holds |= spared_by_children(self.engine, stale, head, now)
        if uncommitted.rows:
            names = [rule.name for rule in self.policy.rules]
            holds |= uncommitted_holds(uncommitted.rows, candidates, names, stale, tables)
        # Also after a conflict: a claim checks the rows as they are, and another writer may have
        # changed them since the poll.
        beside = after_conflict or uncommitted.affects_readiness
        for rule in self.policy.rules:
            queue = [bead.id for bead in candidates.queues.get(rule.name, ())]
            if rule.ready and queue:
                # Late: a tick without a bead to dispatch reads no dependencies.
                from dolt_watch.beads.readiness import unready_until_enough

                free = candidates.slots[rule.name]
                schema = context.feed_query.schema
                found = unready_until_enough(
                    self.engine, queue, free, holds, schema, now, head, beside
                )
                holds |= found.holds
                unsure |= found.unsure
        return holds, frozenset(unsure)

    def _capacity(
        self, candidates: Candidates, holds: Collection[str]
    ) -> tuple[dict[str, Capacity], bool]:
        """Return each target's capacity, and whether one that beads wait for is down.

        A target is asked if a bead could be dispatched, if its idleness would settle an attempt of
        unknown outcome, or if its outage may be over.
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
        """Ask about the jobs of stale beads that are not spared."""
        found = {}
        for bead in stale:
            rule = self.policy.rule(bead.rule)
            if bead.job and rule is not None and bead.id not in holds:
                found[bead.id] = self.targets(rule.target).verdict(bead.job, bead.sent_at)
        return found

    def _settled(self, unsettled: Sequence[Bead], now: datetime) -> dict[str, JobReport]:
        """Ask targets that deduplicate about attempts of unknown outcome.

        Only the site that claimed an attempt knows the answer. The claim names it.
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
        # Late: few targets deduplicate.
        from dolt_watch.core.model.entry_payloads import Claimed

        rows = self.engine.query(
            "SELECT detail FROM watch_decision WHERE token = ? AND kind = 'claim'", (bead.token,)
        )
        detail = orjson.loads(rows[0][0]) if rows else {}
        return Claimed.decode(detail).site if isinstance(detail, dict) else ""

    def _last_report(self, bead: Bead, now: datetime) -> JobReport | None:
        """Return the target's answer about an attempt if it is younger than ``RECHECK_INTERVAL``.

        Only one decision is made at a time, so reports on other beads are kept until their turn.
        """
        at, report = self._last_asked.get(bead.token, (None, None))
        return report if at is not None and at + RECHECK_INTERVAL > now else None

    def _ended(
        self, jobs: Sequence[Bead], now: datetime, loose: Collection[str]
    ) -> dict[str, JobReport]:
        """Return reports of jobs that ended before their bead was stale.

        A bead with uncommitted changes is left out, since it may just have been closed.
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


_NOT_HERE = JobReport(Verdict.UNKNOWN, error="only the site of the claim knows")


class Uncommitted(NamedTuple):
    """The working set's difference to HEAD in the watched tables."""

    tables: list[str]
    migration: frozenset[str]
    """Tables whose schema change is not committed."""
    rows: list[RowChange]
    """Without rows in which only columns that bd computes differ."""

    @property
    def affects_readiness(self) -> bool:
        """Return whether uncommitted rows may affect readiness."""
        return not READ_FOR_READINESS.isdisjoint(self.tables)


def read_uncommitted(
    engine: Engine, head: str, seen: Mapping[str, TableState], feed_query: FeedQuery
) -> Uncommitted:
    """Read the uncommitted changes. Nothing is read if no table has any."""
    tables = [table for table, one in seen.items() if one.dirty]
    if not tables:
        return Uncommitted([], frozenset(), [])
    migration = uncommitted_migration(engine)
    rows = change_feed.read_uncommitted(engine, head, tables, feed_query, migration)
    return Uncommitted(tables, migration, [row for row in rows if not change_feed.kept_by_bd(row)])


def uncommitted_holds(
    loose: Sequence[RowChange],
    candidates: Candidates,
    rules: Sequence[str],
    quiet: Mapping[str, datetime],
    tables: Mapping[str, TableState],
) -> dict[str, HoldReason]:
    """Return the beads that an uncommitted row holds or spares.

    A row that is never committed is one sign of life, not a permanent one: it counts from the time
    at which its table was first seen with its current rows.

    Args:
        loose: The uncommitted rows.
        candidates: The candidates.
        rules: Names, in the order of the answers of the rows.
        quiet: As ``silence_cutoffs`` returns it.
        tables: The state of each table.
    """
    place = {name: number for number, name in enumerate(rules)}
    waits = {bead.id: place[name] for name, queue in candidates.queues.items() for bead in queue}
    runs = {bead.id: place[bead.rule] for bead in candidates.stale if bead.rule in place}
    holds: dict[str, HoldReason] = {}
    for row in loose:
        own = row.answers if row.table == "issues" else ()
        if row.bead in runs:
            if own and not own[runs[row.bead]].runs:
                holds[row.bead] = HoldReason(UNCOMMITTED, "an uncommitted change ends it")
            elif tables[row.table].since > quiet[row.bead]:
                holds[row.bead] = HoldReason(
                    UNCOMMITTED, f"uncommitted change in {row.table}: it is alive"
                )
        elif own and not (
            own[waits[row.bead]].matches if row.bead in waits else any(one.matches for one in own)
        ):
            holds[row.bead] = HoldReason(
                UNCOMMITTED, "an uncommitted change takes it out of its rule"
            )
    return holds
