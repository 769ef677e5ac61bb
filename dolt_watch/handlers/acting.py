"""Who acts on a plan: ``Acting`` for real, ``Telling`` for a dry run, which writes nothing and sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from dolt_watch.core.decide import Plan
from dolt_watch.errors import NothingToCommit
from dolt_watch.handlers.dispatch import dispatch
from dolt_watch.ledger import Ledger, MergeInProgress
from dolt_watch.look import Look
from dolt_watch.model import GLOBAL, Decision, Kind, Rule
from dolt_watch.round import Standing
from dolt_watch.store import Store, take_fence
from dolt_watch.targets import Target
from dolt_watch.text import outside

Say = Callable[[str], None]


class Acting:
    """Writes decisions through the ledger and hands claims to their target."""

    def __init__(self, ledger: Ledger, rules: Sequence[Rule], targets: Callable[[str], Target], say: Say) -> None:
        self.ledger, self.targets, self.say = ledger, targets, say
        self.rules = {rule.name: rule for rule in rules}
        ledger.ready = frozenset(rule.name for rule in rules if rule.ready)

    def handle(self, plan: Plan, standing: Standing) -> Decision | None:
        decision = plan.decisions[0]
        self._know(standing)
        observed, fence = standing.look.head, standing.look.fence
        if decision.kind is not Kind.CLAIM:
            written = self.ledger.decide(decision, observed=observed, fence=fence)
            if written.warning:
                self.say(f"warning: {written.warning}")
            return decision
        rule = self.rules[decision.rule]
        return dispatch(
            decision, standing.state.beads[decision.bead], rule, standing.compiled[rule.name], self.targets(rule.target),
            self.ledger, standing.now, observed=observed, fence=fence, say=self.say,
        )  # fmt: skip

    def adopt(self, look: Look, tables: Sequence[str], beads: Sequence[str]) -> bool:
        """What others left uncommitted becomes a commit of its own, so that nothing is decided on what history does not hold."""
        engine = self.ledger.engine
        trailers = "".join(f"\nBead: {outside(bead)}" for bead in beads[:50])
        message = f"dolt-watch: adopt uncommitted changes\n\nTables: {', '.join(sorted(tables))}{trailers}"
        with engine.transaction() as tx:
            if engine.merging():
                raise MergeInProgress()
            take_fence(tx, look.fence)
            try:
                tx.dolt_commit(sorted(tables), message, self.ledger.identity.author)
            except NothingToCommit:
                return True  # somebody else just did
        self.say(f"adopted uncommitted changes in {', '.join(sorted(tables))}")
        return True

    def resynced(self, standing: Standing, why: str) -> None:
        self._know(standing)
        beads = len(standing.state.beads)
        reason = f"{why}: {beads} beads taken as they are"
        decision = Decision(Kind.RESYNC, GLOBAL, "", 0, standing.look.head, reason=reason)
        decision = replace(decision, detail={"from": standing.look.commit, "to": standing.look.head, "beads": beads})
        self.ledger.decide(decision, observed=standing.look.head, fence=standing.look.fence)

    def save(self, store: Store, look: Look, *more: Any) -> None:
        store.save(look, *more)

    def _know(self, standing: Standing) -> None:
        self.ledger.rules, self.ledger.columns = standing.compiled, standing.columns


class Telling:
    """A dry run: the same loop, and nobody acts."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.told: list[Decision] = []

    def handle(self, plan: Plan, standing: Standing) -> Decision | None:
        for decision in plan.decisions:
            self.told.append(decision)
            verb = "dispatch" if decision.kind is Kind.CLAIM else decision.kind.value
            detail = f": {decision.reason}" if decision.reason else f" under rule {decision.rule}"
            self.say(f"would {verb} {decision.bead}{detail}")
        for bead, hold in sorted(plan.holds.items()):
            self.say(f"holding {bead}: {hold.why}")
        return None

    def adopt(self, look: Look, tables: Sequence[str], beads: Sequence[str]) -> bool:
        named = f" ({', '.join(beads[:10])})" if beads else ""
        self.say(f"would first adopt uncommitted changes in {', '.join(sorted(tables))}{named}")
        return False

    def resynced(self, standing: Standing, why: str) -> None:
        self.say(f"would record a resync: {why}")

    def save(self, store: Store, look: Look, *more: Any) -> None:
        return None
