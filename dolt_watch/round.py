"""What a round hands on: what it stands on, who acts on its plan, what came of it, and how people are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from dolt_watch.core.policy import ATTEMPTED, Plan, Policy, Questions, Scope
from dolt_watch.core.reaping import last_sign
from dolt_watch.core.rules import CompiledRule
from dolt_watch.feed import Lens
from dolt_watch.look import NO_BEADS, Look
from dolt_watch.model import Decision, Hold, Kind, Phase, State
from dolt_watch.store import Store
from dolt_watch.times import minutes

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What a tick did. ``exit_code`` as a CronJob should show it."""

    dispatched: int = 0
    reaped: int = 0
    failed: int = 0
    unknown: int = 0
    busy: int = 0
    others: int = 0
    rounds: int = 0
    conflicts: int = 0
    down: bool = False
    holds: Mapping[str, Hold] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        return 1 if self.failed or self.unknown or self.down else 0

    def count(self, report: Decision) -> None:
        match report.kind:
            case Kind.DISPATCHED:
                self.dispatched += 1
            case Kind.REAP | Kind.REQUEUE:
                self.reaped += 1
            case Kind.FAILED | Kind.QUARANTINED | Kind.STOPPED | Kind.RETRY | Kind.GIVE_UP:
                self.failed += 1
            case Kind.UNKNOWN | Kind.OVERDUE:
                self.unknown += 1
            case Kind.BUSY:
                self.busy += 1
            case _:
                self.others += 1


class Standing(NamedTuple):
    """Everything that a plan was made on: what its handler must check again."""

    look: Look
    state: State
    now: datetime
    compiled: Mapping[str, CompiledRule]
    columns: Sequence[str]


class Survey(NamedTuple):
    """The state at HEAD and what would be decided on it."""

    look: Look
    state: State
    now: datetime
    plan: Plan
    merging: bool
    policy: Policy
    asked: Questions
    lens: Lens


class Actor(Protocol):
    """Who acts on a plan: for real, or telling what would be done."""

    def handle(self, plan: Plan, standing: Standing) -> Decision | None:
        """Handle the first decision; what became of it, None to stop the tick here. Raises Conflict."""
        ...

    def adopt(self, look: Look, tables: Sequence[str], beads: Sequence[str]) -> bool:
        """Commit what others left uncommitted in these tables. False: left alone."""
        ...

    def resynced(self, standing: Standing, why: str, missing: Sequence[Decision], held: Sequence[str]) -> State | None:
        """The state was made anew. ``missing``: live attempts that history lost; ``held``: beads that only a resume may let go.

        None: one of these went into history, so look again. Else the state as it would be then. Raises Conflict.
        """
        ...

    def save(self, store: Store, look: Look, *more: Any) -> None: ...


def announce(say: Say, report: Decision) -> None:
    match report.kind:
        case Kind.DISPATCHED:
            say(f"dispatched {report.bead} as job {report.job}")
        case Kind.REAP | Kind.REQUEUE:
            idle = timedelta(seconds=int(str(report.detail.get("idle_seconds", 0))))
            say(f"REAPED {report.bead} (stale {minutes(idle)}m)")
        case Kind.BUSY:
            say(f"{report.bead}: target busy ({report.reason}) — open again")
        case Kind.UNKNOWN:
            say(f"{report.bead}: outcome unknown ({report.reason}): not sent again until it is known")
        case Kind.STOPPED:
            say(f"{report.bead}: {report.reason}: rule {report.rule} stops; mend it, then `dolt_watch resume`")
        case _:
            say(f"{report.bead}: {report.kind} ({report.reason})")


def tell(say: Say, state: State, plan: Plan, policy: Policy, now: datetime, scope: Scope, outcome: Outcome) -> None:
    waiting = [bead for bead in state.beads.values() if bead.matches]
    if scope.dispatch and not waiting:
        say(NO_BEADS)
    for bead in waiting if scope.dispatch else ():
        hold = plan.holds.get(bead.id)
        if hold is not None and hold.gate != ATTEMPTED:
            say(f"holding {bead.id}: {hold.why}")
    if any(hold.gate == "stopped" for hold in plan.holds.values()):
        outcome.failed += 1
    if any(hold.gate == "capacity" and "busy" in hold.why for hold in plan.holds.values()):
        say("claude-agent-service is busy — skipping tick")
    for bead in state.beads.values() if scope.reap else ():
        rule = policy.rule(bead.rule)
        if bead.phase is Phase.RUNNING and rule is not None:
            age = minutes(now - last_sign(bead))
            why = plan.holds.get(bead.id)
            if why is not None:
                say(f"keeping {bead.id} ({why.why})")
            else:
                say(f"keeping {bead.id} (age {age}m < {minutes(rule.stale_after) or '<1'}m)")
