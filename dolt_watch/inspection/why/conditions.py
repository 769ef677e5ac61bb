"""Each condition that stands between a bead and its dispatch, with its value and what would have
to change. No rule of its own: it asks the loop's functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dolt_watch.beads.readiness import READY, own_checks, readiness_at
from dolt_watch.beads.schema import tracker_schema
from dolt_watch.core.decisions.dispatch_policy import in_flight, rule_gates, time_gates
from dolt_watch.core.decisions.hold_reasons import Reason
from dolt_watch.core.decisions.policy import UNCOMMITTED, UNVERSIONED, active_pause
from dolt_watch.core.decisions.reap_policy import held_by_lease, last_activity, stale_at
from dolt_watch.core.model import Bead, Capacity, EntryKind, GateResult, HoldReason, Phase, Rule
from dolt_watch.core.rules.compiled_rule import Conjunct
from dolt_watch.engines import Engine
from dolt_watch.engines.values import json_value
from dolt_watch.inspection.why.decision_snapshot import DecisionSnapshot
from dolt_watch.sanitize import sanitize
from dolt_watch.timestamps import iso

SHOWN = 60
"""Characters of a value that are shown."""

_WAITS = (Phase.WAITING, Phase.BACKOFF)
REMEDIES = {
    "paused": "`dolt_watch resume`",
    "stopped": "the target's credential, then `dolt_watch resume`",
    "outage": "the target must be reachable again",
    "resting": "time alone",
    "max_in_flight": "one of those in flight must end",
    "max_per_hour": "time alone",
    "backoff": "time alone",
    "settle": "time alone",
    "ready": "it must be ready in bd's sense",
    UNVERSIONED: "it must be ready in bd's sense",
    "capacity": "the target must have a free slot",
    "place": "those before it must go first",
    "merge": "the merge must be committed or aborted",
    UNCOMMITTED: "the uncommitted change must be undone, or committed and match",
    Phase.QUARANTINED: "`dolt_watch retry ID`, or somebody must edit the bead",
    Phase.HELD: "`dolt_watch retry ID`, or `dolt_watch resume` for all",
}


class Condition(NamedTuple):
    name: str
    satisfied: bool
    value: str
    remedy: str
    """What would have to change, where it does not hold."""


class RuleEvaluation(NamedTuple):
    """One rule's view of the bead."""

    rule: str
    conditions: tuple[Condition, ...]
    to_go: tuple[str, ...]
    """What would have to change for it to go; empty where the next dispatch takes it, or it
    runs.
    """
    verdict: str
    """In one sentence."""
    reason: str = ""
    """Why it waits, as ``status``, the page and the log say it; '' where it does not wait."""
    rule_held: str = ""
    """What holds all beads of the rule, '' for nothing."""


def evaluate_rule(
    engine: Engine, rule: Rule, bead: str, stands: DecisionSnapshot, columns: Iterable[str]
) -> RuleEvaluation:
    """``columns``: of issues."""
    state = stands.state.beads.get(bead)
    state = state if state is not None and state.rule == rule.name else None
    asked = next(one.parts for one in stands.lens.rules if one.rule == rule.name)
    row = _row(engine, bead, stands.commit, asked, columns)
    if row is None:
        gone = Condition(
            "exists",
            False,
            f"there is no such row in issues at {stands.commit[:8]}",
            "it must be made again",
        )
        return RuleEvaluation(rule.name, (gone,), (gone.remedy,), "it is not there")
    if (
        state is not None
        and state.phase not in _WAITS
        and state.phase not in (Phase.QUARANTINED, Phase.HELD)
    ):
        return _evaluate_running(rule, state, stands, tuple(_of_when(asked, row)))
    conditions = [
        *_of_when(asked, row),
        *_of_bead(engine, rule, bead, state, stands, row),
        *_of_rule(rule, bead, stands),
    ]
    told = stands.reasons
    reason = told.beads.get(bead) if state is not None else None
    whole = told.rules.get(rule.name) if reason is not None else None
    conditions += _place(rule, bead, reason, stands)
    hold = stands.plan.holds.get(bead) if state is not None else None
    if hold is not None and all(one.satisfied for one in conditions):  # the plan has the last word
        conditions.append(_condition(hold.gate, False, hold.why))
    to_go = tuple(
        dict.fromkeys(f"{one.remedy} ({one.value})" for one in conditions if not one.satisfied)
    )
    goes = not to_go and any(
        one.kind is EntryKind.CLAIM and one.bead == bead for one in stands.plan.decisions
    )
    return RuleEvaluation(
        rule.name,
        tuple(conditions),
        to_go,
        "nothing: the next dispatch takes it" if goes else "it does not go now",
        reason.why if reason is not None else "",
        whole.why if whole is not None else "",
    )


def _row(
    engine: Engine, bead: str, commit: str, asked: Sequence[Conjunct], columns: Iterable[str]
) -> dict[str, Any] | None:
    """The bead's row, and the answer of each part under its number."""
    names = [*columns]
    sql = ", ".join([*(part.sql for part in asked), *(f"`{name}`" for name in names)])
    rows = engine.query(f"SELECT {sql} FROM issues AS OF '{commit}' WHERE id = ?", (bead,))
    return dict(zip([*map(str, range(len(asked))), *names], rows[0], strict=True)) if rows else None


def _of_when(asked: Sequence[Conjunct], row: Mapping[str, Any]) -> Iterator[Condition]:
    for number, part in enumerate(asked):
        said = (
            ", ".join(f"{name} is {_shown(row[name])}" for name in part.columns)
            or "the same for every bead"
        )
        yield Condition(part.text, bool(row[str(number)]), said, f"{part.text} must hold")


def _of_bead(
    engine: Engine,
    rule: Rule,
    bead: str,
    state: Bead | None,
    stands: DecisionSnapshot,
    row: Mapping[str, Any],
) -> Iterator[Condition]:
    if state is not None and state.phase in (Phase.QUARANTINED, Phase.HELD):
        one = _condition(state.phase, False, state.reason or state.phase)
        yield one._replace(remedy=one.remedy.replace("ID", state.id))
    elif state is not None:
        for check in time_gates(state, stands.policy, stands.now):
            yield _checked(check)
    if rule.ready:
        for check in own_checks(row, stands.now):
            yield _checked(check)
        schema = tracker_schema(engine)
        hold = readiness_at(engine, [bead], schema, stands.now, stands.commit).blocked.get(bead)
        why = hold.why if hold is not None else "blocked by nothing that is open"
        yield _condition(READY, hold is None, why)
    hold = stands.outside.holds.get(bead)
    if hold is not None and hold.gate in (UNCOMMITTED, UNVERSIONED):
        yield _condition(hold.gate, False, hold.why)


def _of_rule(rule: Rule, bead: str, stands: DecisionSnapshot) -> Iterator[Condition]:
    if stands.merging:
        yield _condition("merge", False, "somebody's merge stands unfinished")
    for check in rule_gates(stands.state, rule, stands.policy, stands.now):
        yield _checked(check)
    hold = stands.plan.holds.get(bead)
    capacity = stands.outside.capacity.get(rule.target, Capacity(None))
    free = capacity.slots is None or capacity.slots > 0
    yield _condition(
        "capacity", free and not _by(hold, "capacity"), _slots(rule.target, capacity, hold)
    )


def _place(
    rule: Rule, bead: str, reason: Reason | None, stands: DecisionSnapshot
) -> Iterator[Condition]:
    """Where it is in the queue of its rule, and which beads go before it."""
    if reason is None or not reason.place:
        return
    beads = stands.reasons.beads
    line = sorted(
        (one.place, id) for id, one in beads.items() if one.rule == rule.name and one.own is None
    )
    before = [id for place, id in line if place < reason.place]
    more = ", …" if len(before) > 3 else ""
    names = f"; before it: {', '.join(before[:3])}{more}" if before else ""
    where = f"place {reason.place} of {reason.length}" if reason.own is None else "held back"
    free = max(1, rule.max_in_flight - len(in_flight(stands.state, rule)))
    value = f"{where} in the queue{names}"
    yield _condition("place", reason.place <= free, value)


def _by(hold: HoldReason | None, gate: str) -> bool:
    return hold is not None and hold.gate == gate


def _slots(target: str, capacity: Capacity, hold: HoldReason | None) -> str:
    if hold is not None and hold.gate == "capacity":
        return f"{target}: {hold.why}"
    slots = "not known" if capacity.slots is None else f"{capacity.slots} free"
    return f"{target}: {slots}{', ' + capacity.why if capacity.why else ''}"


def _evaluate_running(
    rule: Rule, bead: Bead, stands: DecisionSnapshot, matching: tuple[Condition, ...]
) -> RuleEvaluation:
    """Claimed, unknown or running: what is known of it, and what ends it."""
    which = f"attempt {bead.attempt}" if bead.token else "a person's own dispatch"
    job = f", job {bead.job}" if bead.job else ""
    if bead.phase is Phase.CLAIMED:
        until = f" until {iso(bead.deadline)}" if bead.deadline is not None else ""
        return RuleEvaluation(
            rule.name,
            matching,
            (),
            f"nothing: it is claimed ({which}), and its worker may be sending it{until}",
        )
    if bead.phase is Phase.UNKNOWN:
        at = iso(bead.since + rule.unknown_after)
        sentence = (
            f"a sign of life, or time: nobody knows whether it runs ({which}: {bead.reason});"
            f" settled after {at}"
        )
        sentence += f"; or {_by_hand(bead.id)}"
        return RuleEvaluation(rule.name, (*matching, *_lease(rule, bead, stands)), (), sentence)
    conditions = [*matching, _alive(rule, bead, stands), *_lease(rule, bead, stands)]
    pause = active_pause(stands.state, rule.name, stands.now, reaping=True)
    if pause is not None:
        conditions.append(
            Condition(
                "reaping", False, f"paused by {pause.by}: {pause.reason}", "`dolt_watch resume`"
            )
        )
    if bead.id in stands.outside.verdicts:
        report = stands.outside.verdicts[bead.id]
        conditions.append(
            Condition(
                "verdict",
                True,
                f"the target says of job {bead.job}: {report.status_text or report.verdict}",
                "",
            )
        )
    reaped = next(
        (
            one
            for one in stands.plan.decisions
            if one.bead == bead.id and one.kind in (EntryKind.REAP, EntryKind.REQUEUE)
        ),
        None,
    )
    if reaped is not None:
        return RuleEvaluation(
            rule.name,
            tuple(conditions),
            (),
            f"nothing: the next reap takes it ({reaped.kind}: {reaped.reason})",
        )
    sentence = (
        f"nothing: it runs since {iso(bead.since)} ({which}{job}); without a sign of life it is"
        f" reaped at {iso(stale_at(bead, rule))}"
    )
    return RuleEvaluation(rule.name, tuple(conditions), (), sentence)


def _by_hand(bead: str) -> str:
    return f"`dolt_watch retry {bead} --not-running`, `dolt_watch release {bead}`"


def _alive(rule: Rule, bead: Bead, stands: DecisionSnapshot) -> Condition:
    sign = f": {bead.sign.what} by {bead.sign.who}" if bead.sign is not None else ", when it began"
    at = stale_at(bead, rule)
    return Condition(
        "sign of life",
        at > stands.now,
        f"last at {iso(last_activity(bead))}{sign}; silent for too long at {iso(at)}",
        "a sign of life",
    )


def _lease(rule: Rule, bead: Bead, stands: DecisionSnapshot) -> Iterator[Condition]:
    """Yield the bead's lease, if bd keeps one: whether it is fresh enough to spare the bead."""
    lease = stands.outside.leases.get(bead.id)
    if lease is not None:
        fresh = held_by_lease(bead, rule, stands.outside, stands.now) is not None
        said = (
            f"{sanitize(lease.holder, SHOWN)}, heartbeat at {iso(lease.heartbeat)}, expires at"
            f" {iso(lease.expires)}"
        )
        yield Condition("lease", fresh, said, "a heartbeat")


def _checked(check: GateResult) -> Condition:
    return _condition(check.gate, check.ok, check.why)


def _condition(name: str, holds: bool, value: str) -> Condition:
    return Condition(str(name), holds, value, REMEDIES.get(name, name))


def _shown(value: Any) -> str:
    if value is None:
        return "NULL"
    text = str(json_value(value))
    if isinstance(value, int | float):
        return text
    return f"'{sanitize(text, SHOWN)}'{f' ({len(text)} characters)' if len(text) > SHOWN else ''}"
