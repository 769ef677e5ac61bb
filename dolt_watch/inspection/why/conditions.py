"""The conditions of a dispatch: each current value, and the change that meets the condition.

This module contains no rules of its own: it calls the loop's functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dolt_watch.beads.readiness import READY, own_checks, readiness_at
from dolt_watch.beads.schema import tracker_schema
from dolt_watch.core.decisions.candidates import in_flight, rule_gates, time_gates
from dolt_watch.core.decisions.hold_reasons import Reason
from dolt_watch.core.decisions.policy import (
    UNCOMMITTED,
    UNVERSIONED,
    active_pause,
    last_activity,
    stale_at,
)
from dolt_watch.core.decisions.reap_policy import held_by_lease
from dolt_watch.core.model import (
    IN_FLIGHT,
    Bead,
    Capacity,
    EntryKind,
    HoldReason,
    Phase,
    Rule,
    State,
)
from dolt_watch.core.rules.compiled_rule import Conjunct
from dolt_watch.engines import Engine
from dolt_watch.engines.values import json_value
from dolt_watch.inspection.why.decision_snapshot import DecisionSnapshot
from dolt_watch.sanitize import sanitize
from dolt_watch.timestamps import iso

SHOWN = 60
"""Maximum length in characters of a displayed value."""

REMEDIES = {
    "paused": "run `dolt_watch resume`",
    "stopped": "correct the target's credential, then run `dolt_watch resume`",
    "outage": "make the target reachable",
    "resting": "wait until the target's cooldown ends",
    "max_in_flight": "wait until a bead in flight ends",
    "max_per_hour": "wait until the hourly limit allows another claim",
    "backoff": "wait until the backoff ends, or run `dolt_watch retry ID`",
    "settle": "wait until the bead is unchanged for `settle`",
    READY: "make the bead ready, as `bd ready` defines it",
    UNVERSIONED: "make the bead ready, as `bd ready` defines it",
    "capacity": "wait until the target has a free slot",
    "place": "wait until the beads before it are dispatched",
    "merge": "commit or abort the merge",
    UNCOMMITTED: "commit the uncommitted change or undo it",
    Phase.QUARANTINED: "run `dolt_watch retry ID`, or edit the bead",
    Phase.HELD: "run `dolt_watch retry ID`, or `dolt_watch resume` for all held beads",
}
"""Gate → remedy. ``ID`` is a placeholder for the bead's ID."""
PERMANENT = frozenset({"stopped", Phase.QUARANTINED, Phase.HELD})
"""Gates that open only if a user acts."""


class Condition(NamedTuple):
    """A condition, its current value, and its remedy."""

    name: str
    satisfied: bool
    value: str
    remedy: str
    """The change that meets the condition."""


class RuleEvaluation(NamedTuple):
    """The evaluation of a bead by one rule."""

    rule: str
    conditions: tuple[Condition, ...]
    to_go: tuple[str, ...]
    """The changes that a dispatch requires. Empty if the next dispatch claims the bead, or if the
    bead is running.
    """
    verdict: str
    """One sentence: whether the bead is dispatched, and the reason."""
    reason: str = ""
    """Why the bead waits, as in ``status``, the page, and the log. '' if the bead does not wait."""
    rule_held: str = ""
    """The reason that holds all beads of the rule, or ''."""
    parts: int = 0
    """Number of conditions that are parts of the rule's ``when``. They are the first ones."""

    @property
    def matches(self) -> bool:
        """Return whether the bead's row meets the rule's ``when``."""
        return all(one.satisfied for one in self.conditions[: self.parts])


def evaluate_rule(
    engine: Engine, rule: Rule, bead: str, snapshot: DecisionSnapshot, columns: Iterable[str]
) -> RuleEvaluation:
    """Return the evaluation of the bead by a rule. ``columns``: the columns of issues."""
    state = snapshot.state.beads.get(bead)
    state = state if state is not None and state.rule == rule.name else None
    conjuncts = next(one.parts for one in snapshot.feed_query.rules if one.rule == rule.name)
    row = _row(engine, bead, snapshot.commit, conjuncts, columns)
    if row is None:
        why = f"commit {snapshot.commit[:8]} contains no such row in issues"
        missing = Condition("exists", False, why, "create the bead again")
        verdict = f"{bead} will not be dispatched: it does not exist."
        return RuleEvaluation(rule.name, (missing,), (missing.remedy,), verdict)
    matching = tuple(_of_when(conjuncts, row))
    if state is not None and state.phase in IN_FLIGHT:
        return _evaluate_running(rule, state, snapshot, matching)
    conditions = [
        *matching,
        *_of_bead(engine, rule, bead, state, snapshot, row),
        *_of_rule(rule, bead, snapshot),
    ]
    queue_reasons = snapshot.reasons
    reason = queue_reasons.beads.get(bead) if state is not None else None
    whole = queue_reasons.rules.get(rule.name) if reason is not None else None
    if reason is not None and reason.place:
        conditions.append(_place(rule, reason, queue_reasons.beads, snapshot.state))
    hold = snapshot.plan.holds.get(bead) if state is not None else None
    if hold is not None and all(one.satisfied for one in conditions):  # The plan decides.
        conditions.append(_condition(hold.gate, False, hold.why))
    gates = conditions[len(matching) :]
    conditions = [*matching, *(_for_bead(one, bead) for one in gates)]
    unmet = [one for one in conditions if not one.satisfied]
    # If the bead does not match the rule, the rule's slots are irrelevant.
    deciding = [one for one in matching if not one.satisfied] or unmet
    is_next = not unmet and any(
        one.kind is EntryKind.CLAIM and one.bead == bead for one in snapshot.plan.decisions
    )
    return RuleEvaluation(
        rule=rule.name,
        conditions=tuple(conditions),
        to_go=tuple(dict.fromkeys(f"{one.remedy} ({one.value})" for one in deciding)),
        verdict=_verdict(bead, is_next, deciding, matching, reason, whole),
        reason=reason.why if reason is not None else "",
        rule_held=whole.why if whole is not None else "",
        parts=len(matching),
    )


def _verdict(
    bead: str,
    is_next: bool,
    deciding: Sequence[Condition],
    matching: Sequence[Condition],
    reason: Reason | None,
    whole: HoldReason | None,
) -> str:
    """Return one sentence. The bead's own reason comes before its rule's reason and its place."""
    if is_next:
        return f"{bead} will be dispatched: the next dispatch claims it."
    mismatch = [one.value for one in deciding if one in matching]
    if mismatch:
        return f"{bead} will not be dispatched: {'; '.join(mismatch)}."
    gates = {one.name for one in deciding}
    permanent = next((gate for gate in PERMANENT if gate in gates), "")
    own = reason.own if reason is not None else None
    why = next((one.why for one in (own, whole) if one is not None and one.why), "")
    why = why or next((one.value for one in deciding), "") or "no dispatch has run since it matched"
    if permanent:
        state = f"it is {permanent}: " if permanent != "stopped" else ""
        return f"{bead} will not be dispatched: {state}{why}."
    return f"{bead} is not dispatched yet: {why}."


def _row(
    engine: Engine, bead: str, commit: str, conjuncts: Sequence[Conjunct], columns: Iterable[str]
) -> dict[str, Any] | None:
    """Return the bead's row, and the value of each part of ``when`` under its index."""
    cells = {str(number): part.sql for number, part in enumerate(conjuncts)}
    cells |= {name: f"`{name}`" for name in columns}
    sql = f"SELECT {', '.join(cells.values())} FROM issues AS OF '{commit}' WHERE id = ?"
    rows = engine.query(sql, (bead,))
    return dict(zip(cells, rows[0], strict=True)) if rows else None


def _of_when(conjuncts: Sequence[Conjunct], row: Mapping[str, Any]) -> Iterator[Condition]:
    for number, part in enumerate(conjuncts):
        value = ", ".join(f"{name} is {_shown(row[name])}" for name in part.columns)
        remedy = f"change the bead so that {part.text}"
        met = bool(row[str(number)])
        yield Condition(part.text, met, value or "the same for every bead", remedy)


def _of_bead(
    engine: Engine,
    rule: Rule,
    bead: str,
    state: Bead | None,
    snapshot: DecisionSnapshot,
    row: Mapping[str, Any],
) -> Iterator[Condition]:
    if state is not None and state.phase in (Phase.QUARANTINED, Phase.HELD):
        yield _condition(state.phase, False, state.reason or state.phase)
    elif state is not None:
        for check in time_gates(state, snapshot.policy, snapshot.now):
            yield _condition(check.gate, check.ok, check.why)
    if rule.ready:
        for check in own_checks(row, snapshot.now):
            yield _condition(check.gate, check.ok, check.why)
        schema = tracker_schema(engine)
        hold = readiness_at(engine, [bead], schema, snapshot.now, snapshot.commit).blocked.get(bead)
        why = hold.why if hold is not None else "no open bead blocks it"
        yield _condition(READY, hold is None, why)
    hold = snapshot.outside.holds.get(bead)
    if hold is not None and hold.gate in (UNCOMMITTED, UNVERSIONED):
        yield _condition(hold.gate, False, hold.why)


def _of_rule(rule: Rule, bead: str, snapshot: DecisionSnapshot) -> Iterator[Condition]:
    if snapshot.merging:
        yield _condition("merge", False, "a merge is not finished")
    for check in rule_gates(snapshot.state, rule, snapshot.policy, snapshot.now):
        yield _condition(check.gate, check.ok, check.why)
    hold = snapshot.plan.holds.get(bead)
    if hold is not None and hold.gate == "capacity":
        yield _condition("capacity", False, f"{rule.target}: {hold.why}")
        return
    capacity = snapshot.outside.capacity.get(rule.target, Capacity(None))
    slots = "not known" if capacity.slots is None else f"{capacity.slots} free"
    why = f", {capacity.why}" if capacity.why else ""
    free = capacity.slots is None or capacity.slots > 0
    yield _condition("capacity", free, f"{rule.target}: {slots}{why}")


def _place(rule: Rule, reason: Reason, beads: Mapping[str, Reason], state: State) -> Condition:
    """Return the bead's place in the queue of its rule, and the beads before it."""
    line = sorted(
        (one.place, id) for id, one in beads.items() if one.rule == rule.name and one.own is None
    )
    before = [id for place, id in line if place < reason.place]
    more = ", …" if len(before) > 3 else ""
    names = f"; before it: {', '.join(before[:3])}{more}" if before else ""
    where = f"place {reason.place} of {reason.length}" if reason.own is None else "held back"
    free = max(1, rule.max_in_flight - len(in_flight(state, rule)))
    return _condition("place", reason.place <= free, f"{where} in the queue{names}")


def _evaluate_running(
    rule: Rule, bead: Bead, snapshot: DecisionSnapshot, matching: tuple[Condition, ...]
) -> RuleEvaluation:
    """Return the state of a claimed, unknown, or running bead, and the end of its attempt."""
    which = f"attempt {bead.attempt}" if bead.token else "dispatched by a user"
    job = f", job {bead.job}" if bead.job else ""

    def found(conditions: Iterable[Condition], sentence: str) -> RuleEvaluation:
        shown = tuple(conditions)
        return RuleEvaluation(rule.name, shown, (), f"{bead.id} {sentence}.", parts=len(matching))

    # Before the request ends, nothing else applies.
    if bead.phase is Phase.CLAIMED:
        until = f" until {iso(bead.deadline)}" if bead.deadline is not None else ""
        return found(matching, f"is claimed ({which}): its worker may be sending it{until}")
    if bead.phase is Phase.UNKNOWN:
        at = iso(bead.since + rule.unknown_after)
        sentence = (
            f"may be running: the outcome of its request is unknown ({which}: {bead.reason});"
            f" a sign of life settles it, else time at {at}, or"
            f" `dolt_watch retry {bead.id} --not-running`, `dolt_watch release {bead.id}`"
        )
        return found((*matching, *_lease(rule, bead, snapshot)), sentence)
    # A running bead: what keeps it, then what ends it.
    conditions = [*matching, _alive(rule, bead, snapshot), *_lease(rule, bead, snapshot)]
    pause = active_pause(snapshot.state, rule.name, snapshot.now, reaping=True)
    if pause is not None:
        value = f"paused by {pause.by}: {pause.reason}"
        conditions.append(Condition("reaping", False, value, REMEDIES["paused"]))
    if bead.id in snapshot.outside.verdicts:
        report = snapshot.outside.verdicts[bead.id]
        value = f"the target says of job {bead.job}: {report.status_text or report.verdict}"
        conditions.append(Condition("verdict", True, value, ""))
    # The plan decides, not these conditions: they explain it.
    for one in snapshot.plan.decisions:
        if one.bead == bead.id and one.kind in (EntryKind.REAP, EntryKind.REQUEUE):
            return found(
                conditions, f"is silent: the next reap takes it ({one.kind}: {one.reason})"
            )
    sentence = (
        f"is running since {iso(bead.since)} ({which}{job}); without a further sign of life it is"
        f" reaped at {iso(stale_at(bead, rule))}"
    )
    return found(conditions, sentence)


def _alive(rule: Rule, bead: Bead, snapshot: DecisionSnapshot) -> Condition:
    sign = f": {bead.sign.what} by {bead.sign.who}" if bead.sign is not None else ", its start"
    at = stale_at(bead, rule)
    return Condition(
        "sign of life",
        at > snapshot.now,
        f"last at {iso(last_activity(bead))}{sign}; too old at {iso(at)}",
        "a sign of life",
    )


def _lease(rule: Rule, bead: Bead, snapshot: DecisionSnapshot) -> Iterator[Condition]:
    """Yield the bead's lease, if bd keeps one. A fresh lease protects the bead from the reaper."""
    lease = snapshot.outside.leases.get(bead.id)
    if lease is not None:
        fresh = held_by_lease(bead, rule, snapshot.outside, snapshot.now) is not None
        value = (
            f"{sanitize(lease.holder, SHOWN)}, heartbeat at {iso(lease.heartbeat)}, expires at"
            f" {iso(lease.expires)}"
        )
        yield Condition("lease", fresh, value, "a heartbeat")


def _condition(name: str, holds: bool, value: str) -> Condition:
    return Condition(str(name), holds, value, REMEDIES.get(name, name))


def _for_bead(gate: Condition, bead: str) -> Condition:
    return gate._replace(remedy=gate.remedy.replace("ID", bead))


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "empty" if value == "" else "NULL"
    text = str(json_value(value))
    if isinstance(value, int | float):
        return text
    return f"'{sanitize(text, SHOWN)}'{f' ({len(text)} characters)' if len(text) > SHOWN else ''}"
