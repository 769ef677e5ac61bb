"""How things stand now: what ``status`` prints, and the report's first numbers. Asked once, told the same everywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dolt_watch.core.dispatching import of_no_rule
from dolt_watch.core.policy import BOTH, Plan, standing
from dolt_watch.engines import Engine
from dolt_watch.errors import DoltWatchError
from dolt_watch.journal import entries
from dolt_watch.model import Capacity, Entry, Kind, Pause, State
from dolt_watch.tick import Loop
from dolt_watch.times import iso

IDLE = " (holds nothing: there is no rule {} any more)"


class Standing(NamedTuple):
    """One bead with us, and why it is where it is."""

    bead: str
    phase: str
    rule: str
    since: datetime
    attempt: int
    job: str
    why: str


class Now(NamedTuple):
    now: datetime
    head: str
    folded: str
    """The last commit folded, '' before the first."""
    folded_at: datetime | None
    merging: bool
    paused: tuple[Pause, ...]
    """Those that stand; one whose end is over does not."""
    targets: dict[str, Capacity]
    """By name; empty where nobody was asked."""
    beads: tuple[Standing, ...]
    last: Entry | None
    state: State
    no_rules: frozenset[str] = frozenset()
    """Names under which something is paused, and no rule is called so."""

    @property
    def pauses(self) -> tuple[str, ...]:
        """In words, those of a rule that there is none of (any more) too: they hold nothing."""
        idle = {one: IDLE.format(one.rule) for one in self.paused if one.rule in self.no_rules}
        return tuple(f"{pause_words(one)} (by {one.by}){idle.get(one, '')}" for one in self.paused)

    def facts(self) -> dict[str, Any]:
        """As ``status --format json`` has them."""
        last = self.last
        return {
            "schema": 1, "now": self.now, "head": self.head, "folded": self.folded or None, "folded_at": self.folded_at,
            "behind": self.head != self.folded, "merging": self.merging, "pauses": [one.reason for one in self.paused], "paused": [one._asdict() for one in self.paused],
            "targets": {
                name: {"slots": one.slots, "why": one.why, "down": one.down} for name, one in self.targets.items()
            },
            "beads": [bead._asdict() for bead in self.beads],
            "last_decision": {"bead": last.bead, "kind": last.kind.value, "at": last.at} if last else None,
        }  # fmt: skip


def ask(loop: Loop, engine: Engine, capacity: Callable[[str], Capacity] | None = None) -> Now:
    """One survey; ``capacity`` asks each target for its own, None asks none. Writes nothing."""
    seen = loop.survey(BOTH)
    folded = engine.commit_of(seen.look.commit) if seen.look.commit else None
    last = next(iter(entries(engine, limit=1)), None)
    idle = frozenset(pause.rule for pause in of_no_rule(seen.state, loop.policy, seen.now))
    names = sorted({rule.target for rule in loop.policy.rules}) if capacity is not None else []
    told = {name: _told(capacity, name) for name in names if capacity is not None}
    asks = dict(_turned_away(seen.plan, loop, told))
    beads = []
    for bead in sorted(seen.state.beads.values(), key=lambda bead: (bead.phase, bead.since, bead.id)):
        hold = seen.plan.holds.get(bead.id)
        why = hold.why if hold is not None else asks.get(bead.id, bead.reason)
        beads.append(Standing(bead.id, bead.phase.value, bead.rule, bead.since, bead.attempt, bead.job, why))
    return Now(
        seen.now, seen.look.head, seen.look.commit, folded.date if folded else None, seen.merging,
        standing(seen.state, seen.now),
        told, tuple(beads), last, seen.state, idle,
    )  # fmt: skip


def _turned_away(plan: Plan, loop: Loop, told: Mapping[str, Capacity]) -> Iterator[tuple[str, str]]:
    """Who would go, were it not for its target, and the target's word: the plan took it as free."""
    taken = Counter[str]()
    for one in plan.decisions:
        rule = loop.policy.rule(one.rule) if one.kind is Kind.CLAIM else None
        capacity = told.get(rule.target) if rule is not None else None
        if rule is None or capacity is None or capacity.slots is None:
            continue
        taken[rule.target] += 1
        if taken[rule.target] > capacity.slots:
            yield one.bead, capacity.why or f"target {rule.target} takes {capacity.slots} more"


def pause_words(pause: Pause) -> str:
    """Of what, until when, why: as pause, status and the report say it."""
    what = f"rule {pause.rule}" if pause.rule else "all rules"
    end = f"until {iso(pause.until)}" if pause.until else "until resumed"
    return f"{what}, {end}, {'reaping too' if pause.reaping else 'reaping goes on'}: {pause.reason}"


def _told(capacity: Callable[[str], Capacity], name: str) -> Capacity:
    try:
        return capacity(name)
    except DoltWatchError as error:
        return Capacity(None, error.message, down=True)
