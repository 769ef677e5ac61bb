"""What a round hands on: what it stands on, who acts on its plan, what came of it, and how people are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from dolt_watch.core.derive import SKEW
from dolt_watch.core.dispatching import of_no_rule
from dolt_watch.core.policy import ATTEMPTED, Plan, Policy, Questions, Scope
from dolt_watch.core.reaping import last_sign
from dolt_watch.core.rules import CompiledRule
from dolt_watch.engines import Commit
from dolt_watch.feed import Lens
from dolt_watch.ledger import Written
from dolt_watch.look import NO_BEADS, Look
from dolt_watch.model import EMPTY, Capacity, Decision, Entry, Hold, JobReport, Kind, Phase, State
from dolt_watch.store import Store
from dolt_watch.text import Said, Say
from dolt_watch.times import ago, minutes, told


class Watched(NamedTuple):
    """One running bead under the reaper's eyes: a line of `reap --dry-run`."""

    bead: str
    sign: str
    """What was its last sign of life, by whom, in which commit."""
    idle: timedelta
    verdict: str
    """The target's word on its job, '-' where it was not asked."""
    then: str
    """What is done about it."""


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
    kinds: Counter[Kind] = field(default_factory=Counter)
    lag: tuple[int, float] = (0, 0.0)
    """Commits that the first round found unfolded, and the age of the oldest of them in seconds."""
    watched: list[Watched] = field(default_factory=list)
    """Where reaping is looked at: every running bead, as the last round saw it."""

    @property
    def good(self) -> bool:
        """No dispatch failed, none's outcome is unknown, and the target is not down while beads wait. Idle, busy and paused are good."""
        return not (self.failed or self.unknown or self.down)

    @property
    def exit_code(self) -> int:
        return 0 if self.good else 1

    def count(self, kind: Kind) -> None:
        self.kinds[kind] += 1
        match kind:
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
    lens: Lens

    @property
    def compiled(self) -> Mapping[str, CompiledRule]:
        return {one.rule: one for one in self.lens.rules}


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

    def handle(self, plan: Plan, standing: Standing) -> Written | None:
        """Handle the first decision; what became of it, None to stop the tick here. Raises Conflict."""
        ...

    def adopt(self, look: Look, tables: Sequence[str], beads: Sequence[str]) -> bool:
        """Commit what others left uncommitted in these tables. False: left alone. Raises NothingToCommit where nobody can commit them."""
        ...

    def resynced(self, standing: Standing, why: str, missing: Sequence[Decision], held: Sequence[str]) -> State | None:
        """The state was made anew. ``missing``: live attempts that history lost; ``held``: beads that only a resume may let go.

        None: one of these went into history, so look again. Else the state as it would be then. Raises Conflict.
        """
        ...

    def reprocessing(self, standing: Standing, commit: Commit, by: str) -> None:
        """Everything after the commit is folded again: said in history. Raises Conflict."""
        ...

    def save(self, store: Store, look: Look, *more: Any) -> None: ...


SERVICE = "claude-agent-service"
LISTED = 20
"""Of the beads that one gate holds, a tick names so many; of the rest it says how many. `status` names all."""


def announce(say: Say, written: Written, words: str = "") -> None:
    """What was done, in a line, with its facts. ``words``: where the entry's own do not tell it."""
    entry = written.entry
    say(
        Said(
            words or _words(entry),
            bead=entry.bead,
            kind=entry.kind.value,
            version=entry.version,
            rule=entry.rule,
            commit=written.commit,
        )
    )


def _words(entry: Entry) -> str:
    match entry.kind:
        case Kind.DISPATCHED:
            return f"dispatched {entry.bead} as job {entry.job}"
        case Kind.REAP | Kind.REQUEUE:
            if ended := entry.detail.get("ended"):
                return f"REAPED {entry.bead} (job {entry.job} ended {ended})"
            return f"REAPED {entry.bead} (stale {minutes(timedelta(seconds=int(str(entry.detail.get('idle_seconds', 0)))))}m)"
        case Kind.BUSY:
            return f"{entry.bead}: target busy ({entry.reason}) — open again"
        case Kind.UNKNOWN:
            return f"{entry.bead}: outcome unknown ({entry.reason}): not sent again until it is known"
        case Kind.OUTAGE:
            return f"target {entry.detail.get('target')} is unreachable ({entry.reason}): no bead is claimed for it"
        case Kind.RECOVERED:
            since = told(entry.detail.get("since")) or entry.at
            return f"target {entry.detail.get('target')} answers again, after {ago(entry.at - since)}"
        case Kind.STOPPED:
            return f"{entry.bead}: {entry.reason}: rule {entry.rule} stops; mend it, then `dolt_watch resume`"
        case _:
            return f"{entry.bead}: {entry.kind} ({entry.reason})"


def tell(
    say: Say, state: State, plan: Plan, policy: Policy, now: datetime, scope: Scope, capacity: Mapping[str, Capacity] = EMPTY
) -> None:  # fmt: skip
    waiting = [bead for bead in state.beads.values() if bead.matches]
    if scope.dispatch and not waiting:
        say(NO_BEADS)
    held = Counter[str]()
    for bead in waiting if scope.dispatch else ():
        hold = plan.holds.get(bead.id)
        if hold is not None and hold.gate != ATTEMPTED:
            held[hold.gate] += 1
            if held[hold.gate] <= LISTED:
                say(f"holding {bead.id}: {hold.why}")
    ahead = [bead for bead in state.beads.values() if bead.matched_at is not None and bead.matched_at > now + SKEW]
    if ahead and scope.dispatch:
        first, more = ahead[0], f" and {len(ahead) - 1} more" if len(ahead) > 1 else ""
        by = ago((first.matched_at or now) - now)
        say(f"warning: {first.id}{more} matched {by} in the future: a clock is wrong, so that counts as settled")
    for gate, count in held.items():
        if count > LISTED:
            say(f"holding {count - LISTED} more: {gate} (dolt_watch status names them)")
    for pause in of_no_rule(state, policy, now):
        say(
            f"warning: rule {pause.rule} is paused ({pause.reason}), but there is no such rule (any more): it holds nothing"
        )
    for name, one in capacity.items() if held["capacity"] else ():
        if one.slots == 0 and not one.down:  # what a target that is down says of itself may hold any word
            who = SERVICE if one.why.startswith(SERVICE) else f"target {name}"
            say(f"{who} is busy — skipping tick")
    for bead in state.beads.values() if scope.reap else ():
        rule = policy.rule(bead.rule) if bead.phase is Phase.RUNNING else None
        if rule is None:
            continue
        age = minutes(now - last_sign(bead))
        why = plan.holds.get(bead.id)
        said = why.why if why is not None else f"age {age}m < {minutes(rule.stale_after) or '<1'}m"
        say(f"keeping {bead.id} ({said})")
        if bead.sign is not None and abs(timedelta(seconds=bead.sign.off)) > SKEW:
            say(
                f"warning: a {bead.sign.what} of {bead.id} by {bead.sign.who} is dated {_off(bead.sign.off)}: a clock or a zone is wrong; its commit's date counts"
            )
        if last_sign(bead) > now + SKEW:
            say(
                f"warning: the last sign of {bead.id} lies {ago(last_sign(bead) - now)} in the future: a clock is wrong, so it cannot be called silent"
            )


def watched(state: State, plan: Plan, verdicts: Mapping[str, JobReport], now: datetime) -> list[Watched]:
    """The reaper's table: who was silent longest first."""
    decided = {one.bead: one for one in plan.decisions if one.kind in (Kind.REAP, Kind.REQUEUE)}
    rows = []
    for bead in state.beads.values():
        if bead.phase is not Phase.RUNNING:
            continue
        sign, report, hold = bead.sign, verdicts.get(bead.id), plan.holds.get(bead.id)
        last = f"{sign.what} by {sign.who} ({sign.commit[:8]})" if sign else "none since it began"
        then = "requeue" if (one := decided.get(bead.id)) and one.kind is Kind.REQUEUE else "block" if one else "keep"
        if hold is not None:
            then += f" ({hold.why})"
        rows.append(
            Watched(
                bead.id, last, now - last_sign(bead), (report.word or report.verdict.value) if report else "-", then
            )
        )
    return sorted(rows, key=lambda row: (-row.idle, row.bead))


def _off(seconds: int) -> str:
    return f"{ago(timedelta(seconds=abs(seconds)))} {'ahead of' if seconds > 0 else 'behind'} its commit"
