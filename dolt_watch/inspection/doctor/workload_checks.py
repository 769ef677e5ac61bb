"""Checks of the workload: targets, workers, beads, rules and pauses that need a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from dolt_watch.config import Settings
from dolt_watch.core.decisions.candidates import orphaned_pauses
from dolt_watch.core.decisions.circuit_breaker import outage_hold
from dolt_watch.core.decisions.policy import active_pauses
from dolt_watch.core.model import Bead, Capacity, Phase
from dolt_watch.errors import DoltWatchError
from dolt_watch.inspection.doctor.context import DoctorContext
from dolt_watch.inspection.doctor.findings import (
    LONGEST,
    Finding,
    failed,
    failure,
    join_names,
    ok,
    warning,
)
from dolt_watch.inspection.worker_liveness import liveness
from dolt_watch.targets.protocol import Target
from dolt_watch.timestamps import format_span

_WAITS_FOR_A_PERSON = {
    Phase.UNKNOWN: (
        "if no agent has it: dolt_watch retry {ids} --not-running   (otherwise dolt_watch"
        " release {ids})"
    ),
    Phase.QUARANTINED: "dolt_watch retry {ids}   (or edit the bead: bd update ID)",
    Phase.HELD: ("dolt_watch retry {ids}, or dolt_watch resume for all   (if no agent has them)"),
}


def target(settings: Settings, targets: Callable[[str], Target]) -> Iterator[Finding]:
    """Check that each target answers. Nothing is dispatched."""
    for name in sorted({rule.target for rule in settings.rules}):
        try:
            capacity = targets(name).capacity()
        except DoltWatchError as error:
            yield failed(error)
            continue
        problems = list(_problems(name, targets(name)))
        # The target's own checks say more about an outage, and have a fix for each cause.
        if capacity.down and not problems:
            fix = (
                f"Correct what the message names in [targets.{name}]; `dolt_watch config` shows it."
            )
            if hasattr(settings.targets[name], "url"):
                fix = f"start it, or correct [targets.{name}] url (see dolt_watch config)"
            yield failure(f"{name}: {capacity.why}", fix)
        elif not capacity.down:
            takes = "accepts any number" if capacity.slots is None else f"{capacity.slots} free"
            says = f"{name}: {takes}" + (f", {capacity.why}" if capacity.why else "")
            # BeadBoard answers while its service is down, and accepts beads that no agent takes up.
            if getattr(settings.targets[name], "service_url", None) == "":
                says += (
                    "; without service_url, only a dispatch can detect an outage of the service"
                    " behind it"
                )
                fix = (
                    f"set CLAUDE_AGENT_SERVICE_URL, or [targets.{name}] service_url, to"
                    " claude-agent-service's address"
                )
                yield warning(says, fix)
            else:
                yield ok(says)
            yield from _leftovers(name, targets(name))
        yield from problems
    if settings.notify.target:
        try:
            targets(settings.notify.target)  # Nothing is sent.
            yield ok(f"{settings.notify.target} receives notifications")
        except DoltWatchError as error:
            yield failed(error)


def _problems(name: str, target: Target) -> Iterator[Finding]:
    """Yield what prevents the target from running agents, if it can check that."""
    for says, fix in getattr(target, "check", tuple)():
        yield failure(f"{name}: {says}", fix)


def _leftovers(name: str, target: Target) -> Iterator[Finding]:
    """Yield leftovers of ended runs that the target does not remove."""
    found = list(getattr(target, "leftovers", tuple)())
    for says, fix in found[:LONGEST]:
        yield warning(f"{name}: {says}", fix)
    if len(found) > LONGEST:
        more = f"{name}: {len(found) - LONGEST} more worktrees of ended runs"
        yield warning(more, "git worktree list")


def worker(case: DoctorContext) -> Iterator[Finding]:
    """Check that a worker is alive: it fails if work is due for longer than twice its interval."""
    found = case.survey
    names = {rule.target for rule in case.settings.rules}
    # With the capacity of the targets: a bead that waits for a slot isn't late.
    capacity: dict[str, Capacity] = {}
    for name in sorted(names):
        with suppress(DoltWatchError):  # Another check reports a target that fails.
            capacity[name] = case.capacity(name)
    here = liveness(case.engine, found, found.under(capacity), case.settings.poll)
    start = "start `dolt_watch run`, or check its CronJob: kubectl get cronjobs,jobs"
    # A leader that does nothing blocks all standbys.
    if here.late and here.leads:
        yield failure(
            here.words, "stop it: another worker takes over, or its supervisor restarts it"
        )
    elif here.late:
        yield failure(here.words, start)
    elif here.due and not here.leads and here.due_since is None:
        says = f"{here.words}; since when is not known"
        yield warning(says, f"if this persists for some minutes: {start}")
    else:
        yield ok(here.words)
    if here.overdue:
        says = (
            "silent for longer than stale_after and one interval of the reaper:"
            f" {join_names(here.overdue)}"
        )
        yield warning(says, "dolt_watch reap --dry-run   (shows what spares each of them)")


def beads(case: DoctorContext) -> Iterator[Finding]:
    phases: dict[Phase, list[Bead]] = {phase: [] for phase in Phase}
    for bead in sorted(case.survey.state.beads.values(), key=lambda bead: (bead.since, bead.id)):
        phases[bead.phase].append(bead)
    for phase, fix in _WAITS_FOR_A_PERSON.items():
        if here := phases[phase]:
            oldest, ids = here[0], [bead.id for bead in here]
            yield warning(
                f"{phase.value}: {join_names(ids)}, for"
                f" {format_span(case.survey.now - oldest.since)}: {oldest.reason}",
                fix.replace("{ids}", " ".join(ids[:LONGEST])),
            )
    if not any(phases[phase] for phase in _WAITS_FOR_A_PERSON):
        counts = [f"{len(here)} {phase.value}" for phase, here in phases.items() if here]
        yield ok(", ".join(counts) or "none")


def switches(case: DoctorContext) -> Iterator[Finding]:
    found = case.survey
    stopped = [
        rule.name
        for rule in case.settings.rules
        if found.state.halted_rules.get(rule.name) == case.policy.settings_hash
    ]
    # Switches that stop beads until a user acts come first.
    for rule in stopped:
        yield failure(
            f"rule {rule} is stopped: its target refused the credential",
            f"correct the credential, then dolt_watch resume --rule {rule}",
        )
    # Outages end by themselves.
    for name in sorted({rule.target for rule in case.settings.rules} & found.state.outages.keys()):
        says = outage_hold(name, found.state.outages[name]).why
        yield warning(
            says, f"start it (see [targets.{name}] in `dolt_watch config`); retries are automatic"
        )
    # A pause of a rule that was renamed protects nothing.
    idle = orphaned_pauses(found.state, case.policy, found.now)
    pauses = active_pauses(found.state, found.now)
    for pause in pauses:
        if pause in idle:
            says = (
                f"rule {pause.rule} is paused, but no such rule exists: the pause has no effect"
                f" ({pause.reason})"
            )
            fix = (
                "if the rule was renamed: dolt_watch pause --rule NAME; the next dolt_watch resume"
                " ends both"
            )
        else:
            more = "" if pause.until is None else f", until {pause.until.isoformat()}"
            says = (
                f"{pause.rule or 'all rules'} paused for {format_span(found.now - pause.at)} by"
                f" {pause.by}{more}: {pause.reason}"
            )
            fix = "dolt_watch resume" + (f" --rule {pause.rule}" if pause.rule else "")
        yield warning(says, fix)
    if not stopped and not pauses:
        yield ok("no rule is paused or stopped")
