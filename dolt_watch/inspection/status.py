"""How things stand now: what ``status`` prints, and the report's first numbers.

Asked once, told the same everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dolt_watch.beads.migration import uncommitted_migration
from dolt_watch.controller.state_reader import StateReader
from dolt_watch.core.decisions.dispatch_policy import orphaned_pauses
from dolt_watch.core.decisions.hold_reasons import reasons, rule_words
from dolt_watch.core.decisions.policy import BOTH, active_pauses
from dolt_watch.core.model import EMPTY, Capacity, HoldReason, LedgerEntry, Pause, State
from dolt_watch.engines import Engine
from dolt_watch.errors import DoltWatchError
from dolt_watch.inspection.worker_liveness import Liveness, liveness
from dolt_watch.ledger.reader import read_entries
from dolt_watch.timestamps import iso

NAMED = 5
"""Beads that one command names; it says how many more there are."""
IDLE = " (holds nothing: there is no rule {} any more)"


class BeadStatus(NamedTuple):
    """One bead with us, and why it is where it is."""

    bead: str
    phase: str
    rule: str
    since: datetime
    attempt: int
    job: str
    why: str
    gate: str = ""
    """The gate of its own reason; '' where it has none."""
    place: int | None = None
    """In the queue of its rule, from 1; None for a bead in no queue."""


class Status(NamedTuple):
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
    beads: tuple[BeadStatus, ...]
    last: LedgerEntry | None
    state: State
    no_rules: frozenset[str] = frozenset()
    """Names under which something is paused, and no rule is called so."""
    rules: Mapping[str, HoldReason] = EMPTY
    """Rule → what holds all of its beads."""
    worker: Liveness | None = None
    """Of the workers; None where nobody asked."""
    migrating: bool = False
    """Whether bd has changed the schema and not committed that: nothing is adopted, and some
    decisions wait.
    """

    @property
    def fixes(self) -> tuple[str, ...]:
        """The commands for beads that wait for a person, a phase a line."""
        commands = {
            "quarantined": "dolt_watch retry {}",
            "held": "dolt_watch retry {}",
            "unknown": "dolt_watch retry {} --not-running   (or dolt_watch release)",
        }
        found = []
        for phase, command in commands.items():
            beads = [one.bead for one in self.beads if one.phase == phase]
            if beads:
                more = f"   ({len(beads) - NAMED} more)" if len(beads) > NAMED else ""
                found.append(f"{phase}: {command.format(' '.join(beads[:NAMED]))}{more}")
        return tuple(found)

    @property
    def held_rules(self) -> tuple[str, ...]:
        """In words: each rule that something holds as a whole, and how many of its beads wait."""
        waiting = Counter(one.rule for one in self.beads if one.place and not one.gate)
        return tuple(rule_words(name, hold, waiting[name]) for name, hold in self.rules.items())

    @property
    def pauses(self) -> tuple[str, ...]:
        """In words, those of a rule that there is none of (any more) too: they hold nothing."""
        idle = {one: IDLE.format(one.rule) for one in self.paused if one.rule in self.no_rules}
        return tuple(
            f"{describe_pause(one)} (by {one.by}){idle.get(one, '')}" for one in self.paused
        )

    def to_dict(self) -> dict[str, Any]:
        """As ``status --format json`` has them."""
        last = self.last
        return {
            "schema": 1,
            "now": self.now,
            "head": self.head,
            "folded": self.folded or None,
            "folded_at": self.folded_at,
            "behind": self.head != self.folded,
            "merging": self.merging,
            "migrating": self.migrating,
            "pauses": [one.reason for one in self.paused],
            "paused": [one._asdict() for one in self.paused],
            "targets": {
                name: {"slots": one.slots, "why": one.why, "down": one.down}
                for name, one in self.targets.items()
            },
            "worker": self.worker.facts() if self.worker is not None else None,
            "rules": {name: hold._asdict() for name, hold in self.rules.items()},
            "beads": [bead._asdict() for bead in self.beads],
            "last_decision": {"bead": last.bead, "kind": last.kind.value, "at": last.at}
            if last
            else None,
        }


def collect_status(
    reader: StateReader, engine: Engine, capacity: Callable[[str], Capacity] | None = None
) -> Status:
    """One survey; ``capacity`` asks each target for its own, None asks none. Writes nothing."""
    seen = reader.survey(BOTH)
    folded = engine.commit_of(seen.look.commit) if seen.look.commit else None
    last = next(iter(read_entries(engine, limit=1)), None)
    idle = frozenset(pause.rule for pause in orphaned_pauses(seen.state, reader.policy, seen.now))
    names = sorted({rule.target for rule in reader.policy.rules}) if capacity is not None else []
    told = {name: _told(capacity, name) for name in names if capacity is not None}
    plan = seen.under(told) if told else seen.plan
    found = reasons(seen.state, seen.policy, plan)
    worker = liveness(engine, seen, plan, reader.poll_interval)
    beads = []
    for bead in sorted(
        seen.state.beads.values(), key=lambda bead: (bead.phase, bead.since, bead.id)
    ):
        reason = found.beads.get(bead.id)
        beads.append(
            BeadStatus(
                bead=bead.id,
                phase=bead.phase.value,
                rule=bead.rule,
                since=bead.since,
                attempt=bead.attempt,
                job=bead.job,
                why=bead.reason if reason is None else reason.why,
                gate=reason.own.gate if reason is not None and reason.own is not None else "",
                place=(reason.place or None) if reason is not None else None,
            )
        )
    return Status(
        now=seen.now,
        head=seen.look.head,
        folded=seen.look.commit,
        folded_at=folded.date if folded else None,
        merging=seen.merging,
        paused=active_pauses(seen.state, seen.now),
        targets=told,
        beads=tuple(beads),
        last=last,
        state=seen.state,
        no_rules=idle,
        rules=found.rules,
        worker=worker,
        migrating=bool(uncommitted_migration(engine)),
    )


def describe_pause(pause: Pause) -> str:
    """Of what, until when, why: as pause, status and the report say it."""
    what = f"rule {pause.rule}" if pause.rule else "all rules"
    end = f"until {iso(pause.until)}" if pause.until else "until resumed"
    return f"{what}, {end}, {'reaping too' if pause.reaping else 'reaping goes on'}: {pause.reason}"


def _told(capacity: Callable[[str], Capacity], name: str) -> Capacity:
    try:
        return capacity(name)
    except DoltWatchError as error:
        return Capacity(None, error.message, down=True)
