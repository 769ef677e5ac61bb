"""The current state of a tracker, as ``status``, ``why``, ``log`` and the page show it.

All of them read it here, so that they agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dolt_watch.beads.schema import NOT_COMMITTED, uncommitted_migration
from dolt_watch.controller.state_reader import StateReader
from dolt_watch.core.decisions.candidates import orphaned_pauses
from dolt_watch.core.decisions.hold_reasons import Reason, reasons, rule_words
from dolt_watch.core.decisions.policy import BOTH, active_pauses, stale_at
from dolt_watch.core.model import (
    EMPTY,
    Bead,
    Capacity,
    HoldReason,
    LedgerEntry,
    Pause,
    Phase,
    State,
)
from dolt_watch.errors import DoltWatchError
from dolt_watch.inspection.attempts import BeadRow, read_rows
from dolt_watch.inspection.causes import without_ids
from dolt_watch.inspection.recent import Recent
from dolt_watch.inspection.worker_liveness import Liveness, liveness
from dolt_watch.ledger.reader import read_entries
from dolt_watch.timestamps import iso

NAMED = 5
"""Maximum number of beads in one command. The command says how many more there are."""
IDLE = " (no effect: rule {} does not exist)"
NEEDS_A_PERSON = (Phase.QUARANTINED, Phase.UNKNOWN, Phase.HELD)
UNDER_WAY = (Phase.RUNNING, Phase.CLAIMED)
IN_QUEUE = (Phase.WAITING, Phase.BACKOFF)
DISPLAY_ORDER = {phase: n for n, phase in enumerate((*NEEDS_A_PERSON, *UNDER_WAY, *IN_QUEUE))}
COMMANDS = {
    Phase.QUARANTINED: "dolt_watch retry {}",
    Phase.HELD: "dolt_watch retry {}",
    Phase.UNKNOWN: "dolt_watch retry {} --not-running   (or dolt_watch release)",
}
"""The command that resolves each phase that needs a person."""


class BeadStatus(NamedTuple):
    """One tracked bead, and the reason for its phase."""

    bead: str
    phase: str
    rule: str
    since: datetime
    """When the phase began."""
    attempt: int
    job: str
    why: str
    gate: str = ""
    """The gate that holds this bead by itself. '' if it has no reason of its own."""
    place: int | None = None
    """Position in the queue of its rule, from 1. None for a bead that is not in a queue."""
    title: str = ""
    priority: int | None = None
    next: bool = False
    """Whether the next dispatch claims it."""
    silent_at: datetime | None = None
    """RUNNING: when the bead is silent for too long without a further sign of life."""

    @property
    def fix(self) -> str:
        """The command that resolves it. '' if the bead needs no person."""
        command = COMMANDS.get(Phase(self.phase))
        return command.format(self.bead) if command else ""

    def state(self, now: datetime) -> str:
        """Return the phase, or 'silent' for a running bead without a recent sign of life."""
        silent = self.silent_at is not None and self.silent_at <= now
        return "silent" if silent else self.phase


class Need(NamedTuple):
    """Something that a person must resolve, its reason, and the command that helps."""

    kind: str
    """A phase, or 'worker', 'overdue', 'target', 'stopped', 'merge' or 'migration'."""
    why: str
    fix: str
    beads: tuple[str, ...] = ()
    """Beads of the same phase and the same cause."""
    target: str = ""
    since: datetime | None = None
    """None if the time is not known."""


class Status(NamedTuple):
    """The state of one tracker at one moment."""

    now: datetime
    head: str
    folded: str
    """The last commit that was applied, '' before the first."""
    folded_at: datetime | None
    merging: bool
    paused: tuple[Pause, ...]
    """Active pauses."""
    targets: dict[str, Capacity]
    """By name. Empty if no target was asked."""
    beads: tuple[BeadStatus, ...]
    """In display order: beads that need a person, beads under way, then the queue of each rule in
    dispatch order.
    """
    last: LedgerEntry | None
    state: State
    no_rules: frozenset[str] = frozenset()
    """Names that a pause uses although no rule has them."""
    rules: Mapping[str, HoldReason] = EMPTY
    """Rule → what holds all of its beads."""
    worker: Liveness | None = None
    """None if the workers were not checked."""
    recent: Recent | None = None
    """The last day. None if it was not read."""
    migrating: bool = False
    """Whether bd changed the schema and did not commit the change. Until it is committed, nothing
    is adopted and some decisions wait.
    """

    @property
    def counts(self) -> dict[str, int]:
        """Number of beads by phase, in display order, without phases that have no bead."""
        found = Counter(one.phase for one in self.beads)
        return {phase.value: found[phase] for phase in DISPLAY_ORDER if found[phase]}

    @property
    def needs(self) -> tuple[Need, ...]:
        """Problems that a person must resolve: workers, database, targets, then beads by cause."""
        return (*_shared_needs(self), *_bead_needs(self.beads))

    @property
    def under_way(self) -> tuple[BeadStatus, ...]:
        return tuple(one for one in self.beads if one.phase in UNDER_WAY)

    @property
    def queue(self) -> tuple[BeadStatus, ...]:
        """Waiting beads, rule by rule, in the order in which they are dispatched."""
        return tuple(one for one in self.beads if one.phase in IN_QUEUE)

    @property
    def held_rules(self) -> tuple[str, ...]:
        """Each rule that is held as a whole, why, and how many of its beads wait."""
        waiting = Counter(one.rule for one in self.beads if one.place and not one.gate)
        return tuple(rule_words(name, hold, waiting[name]) for name, hold in self.rules.items())

    @property
    def pauses(self) -> tuple[str, ...]:
        """Each active pause in words. A pause of a rule that does not exist has no effect."""
        idle = {one: IDLE.format(one.rule) for one in self.paused if one.rule in self.no_rules}
        return tuple(
            f"{describe_pause(one)} (by {one.by}){idle.get(one, '')}" for one in self.paused
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of ``status --format json``."""
        # Times stay UTC: this is for programs.
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
            "counts": self.counts,
            "last_24h": self.recent.to_dict() if self.recent is not None else None,
            "needs": [one._asdict() for one in self.needs],
            "beads": [
                {**bead._asdict(), "state": bead.state(self.now), "fix": bead.fix or None}
                for bead in self.beads
            ],
            "last_decision": {"bead": last.bead, "kind": last.kind.value, "at": last.at}
            if last
            else None,
        }


def collect_status(
    reader: StateReader, capacity: Callable[[str], Capacity] | None = None
) -> Status:
    """Return the current state. Writes nothing.

    Args:
        capacity: asks a target for its free slots; None asks no target.
    """
    engine, seen = reader.engine, reader.survey(BOTH)
    folded = engine.commit_of(seen.poll.commit) if seen.poll.commit else None
    last = next(iter(read_entries(engine, limit=1)), None)
    idle = frozenset(pause.rule for pause in orphaned_pauses(seen.state, reader.policy, seen.now))
    # The targets are asked before the plan is read: without capacity, everything is held.
    capacities = {}
    if capacity is not None:
        for name in sorted({rule.target for rule in reader.policy.rules}):
            try:
                capacities[name] = capacity(name)
            except DoltWatchError as error:
                capacities[name] = Capacity(None, error.message, down=True)
    plan = seen.under(capacities) if capacities else seen.plan
    found = reasons(seen.state, seen.policy, plan)
    worker = liveness(engine, seen, plan, reader.poll_interval)
    rules = {rule.name: rule for rule in seen.policy.rules}
    rows = read_rows(engine, seen.state.beads)
    beads = []
    # One row a bead, in the order of the queue.
    for bead in _in_display_order(seen.state.beads.values(), found.beads):
        reason = found.beads.get(bead.id)
        rule = rules.get(bead.rule)
        row = rows.get(bead.id, BeadRow())
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
                title=row.title,
                priority=row.priority,
                next=reason is not None and reason.goes,
                silent_at=stale_at(bead, rule) if rule and bead.phase is Phase.RUNNING else None,
            )
        )
    return Status(
        now=seen.now,
        head=seen.poll.head,
        folded=seen.poll.commit,
        folded_at=folded.date if folded else None,
        merging=seen.merging,
        paused=active_pauses(seen.state, seen.now),
        targets=capacities,
        beads=tuple(beads),
        last=last,
        state=seen.state,
        no_rules=idle,
        rules=found.rules,
        worker=worker,
        migrating=bool(uncommitted_migration(engine)),
    )


def describe_pause(pause: Pause) -> str:
    """Return what is paused, until when and why, as pause, status and the page show it."""
    what = f"rule {pause.rule}" if pause.rule else "all rules"
    end = f"until {iso(pause.until) if pause.until else 'resumed'}"
    reaping = "reaping too" if pause.reaping else "reaping continues"
    return f"{what}, {end}, {reaping}: {pause.reason}"


def _in_display_order(beads: Iterable[Bead], queued: Mapping[str, Reason]) -> list[Bead]:
    """``queued``: why each waiting bead waits, in the order of the queues."""
    places = {bead: number for number, bead in enumerate(queued)}
    never = len(places)

    def key(bead: Bead) -> tuple[int, int, datetime, str]:
        waits = bead.phase in IN_QUEUE
        group = DISPLAY_ORDER[Phase.WAITING if waits else bead.phase]
        return group, places.get(bead.id, never) if waits else 0, bead.since, bead.id

    return sorted(beads, key=key)


def _shared_needs(status: Status) -> Iterator[Need]:
    worker = status.worker
    if worker is not None and worker.late:
        fix = "dolt_watch run   (or check the CronJobs)"
        yield Need("worker", worker.words, fix, since=worker.due_since)
    if worker is not None and worker.overdue:
        why = "silent for longer than stale_after and not reaped yet"
        yield Need("overdue", why, "dolt_watch reap   (or check its CronJob)", worker.overdue)
    if status.merging:
        why = "A merge is not finished. Nothing is decided until it is committed or aborted."
        yield Need("merge", why, "commit or abort the merge")
    if status.migrating:
        yield Need("migration", NOT_COMMITTED, "bd dolt commit")
    outages = status.state.outages
    for name, outage in outages.items():
        yield Need("target", outage.why, "dolt_watch doctor", target=name, since=outage.since)
    for name, capacity in status.targets.items():
        if capacity.down and name not in outages:
            yield Need("target", capacity.why, "dolt_watch doctor", target=name)
    for rule, hold in status.rules.items():
        if hold.gate == "stopped":
            yield Need("stopped", f"rule {rule}: {hold.why}", f"dolt_watch resume --rule {rule}")


def _bead_needs(beads: Iterable[BeadStatus]) -> Iterator[Need]:
    """Beads of one phase whose reasons have the same cause are one need."""
    causes: dict[tuple[str, str], list[BeadStatus]] = {}
    for one in beads:
        if one.phase in NEEDS_A_PERSON:
            cause = without_ids(one.why, {one.bead}, one.job)
            causes.setdefault((one.phase, cause), []).append(one)
    for (phase, cause), same in causes.items():
        why = same[0].why if len({one.why for one in same}) == 1 else cause
        ids = [one.bead for one in same]
        since = min(one.since for one in same)
        yield Need(phase, why, _command(Phase(phase), ids), tuple(ids), since=since)


def _command(phase: Phase, beads: list[str]) -> str:
    more = f"   ({len(beads) - NAMED} more)" if len(beads) > NAMED else ""
    return f"{COMMANDS[phase].format(' '.join(beads[:NAMED]))}{more}"
