"""How things stand now: what ``status`` prints, and the report's first numbers. Asked once, told the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from dolt_watch.core.dispatching import of_no_rule
from dolt_watch.core.policy import Scope
from dolt_watch.engines import Engine
from dolt_watch.errors import DoltWatchError
from dolt_watch.journal import entries
from dolt_watch.model import Capacity, Entry, State
from dolt_watch.tick import Loop

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
    pauses: tuple[str, ...]
    targets: dict[str, Capacity]
    """By name; empty where nobody was asked."""
    beads: tuple[Standing, ...]
    last: Entry | None
    state: State

    def facts(self) -> dict[str, Any]:
        """As ``status --format json`` has them."""
        last = self.last
        return {
            "schema": 1, "now": self.now, "head": self.head, "folded": self.folded or None, "folded_at": self.folded_at,
            "behind": self.head != self.folded, "merging": self.merging, "pauses": list(self.pauses),
            "targets": {
                name: {"slots": one.slots, "why": one.why, "down": one.down} for name, one in self.targets.items()
            },
            "beads": [bead._asdict() for bead in self.beads],
            "last_decision": {"bead": last.bead, "kind": last.kind.value, "at": last.at} if last else None,
        }  # fmt: skip


def ask(loop: Loop, engine: Engine, capacity: Callable[[str], Capacity] | None = None) -> Now:
    """One survey; ``capacity`` asks each target for its own, None asks none. Writes nothing."""
    seen = loop.survey(Scope(dispatch=True, reap=True))
    folded = engine.commit_of(seen.look.commit) if seen.look.commit else None
    last = next(iter(entries(engine, limit=1)), None)
    idle = of_no_rule(seen.state, loop.policy, seen.now)
    names = sorted({rule.target for rule in loop.policy.rules}) if capacity is not None else []
    beads = []
    for bead in sorted(seen.state.beads.values(), key=lambda bead: (bead.phase, bead.since, bead.id)):
        hold = seen.plan.holds.get(bead.id)
        why = hold.why if hold is not None else bead.reason
        beads.append(Standing(bead.id, bead.phase.value, bead.rule, bead.since, bead.attempt, bead.job, why))
    return Now(
        seen.now, seen.look.head, seen.look.commit, folded.date if folded else None, seen.merging,
        tuple(pause.reason + (IDLE.format(pause.rule) if pause in idle else "") for pause in seen.state.pauses.values()),
        {name: _told(capacity, name) for name in names if capacity is not None}, tuple(beads), last, seen.state,
    )  # fmt: skip


def _told(capacity: Callable[[str], Capacity], name: str) -> Capacity:
    try:
        return capacity(name)
    except DoltWatchError as error:
        return Capacity(None, error.message, down=True)
