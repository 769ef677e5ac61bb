"""The work: does the target answer, and which beads, rules and pauses wait for a person?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dolt_watch.core.dispatching import of_no_rule
from dolt_watch.core.outages import hold
from dolt_watch.core.policy import standing
from dolt_watch.doctor import Case, Finding, failed, failure, named, ok, warning
from dolt_watch.errors import DoltWatchError
from dolt_watch.model import Bead, Phase
from dolt_watch.settings import Settings
from dolt_watch.targets import Target
from dolt_watch.times import ago

_WAITS_FOR_A_PERSON = {
    Phase.UNKNOWN: "look whether an agent has it; after `unknown_after` it is tried again or blocked, as `on_unknown` says; `bd update ID --status open` tries it at once",
    Phase.QUARANTINED: "edit the bead to try it again: bd update ID",
    Phase.HELD: "dolt_watch resume   (once you know that no agent has them)",
}


def target(settings: Settings, targets: Callable[[str], Target]) -> Iterator[Finding]:
    """Asks how much it takes now; hands it nothing."""
    for name in sorted({rule.target for rule in settings.rules}):
        try:
            capacity = targets(name).capacity()
        except DoltWatchError as error:
            yield failed("target", error)
            continue
        if capacity.down:
            fix = f"start it, or mend [targets.{name}] url: dolt_watch config shows it"
            yield failure("target", f"{name}: {capacity.why}", fix)
        else:
            takes = "takes as many as may be" if capacity.slots is None else f"{capacity.slots} free"
            says = f"{name}: {takes}" + (f", {capacity.why}" if capacity.why else "")
            if getattr(settings.targets[name], "service_url", None) == "":
                says += (
                    "; without service_url nothing tells of an outage of the service behind it, and a bead must try it"
                )
                fix = (
                    f"set CLAUDE_AGENT_SERVICE_URL, or [targets.{name}] service_url, to claude-agent-service's address"
                )
                yield warning("target", says, fix)
            else:
                yield ok("target", says)
    if settings.notify.target:
        yield _hears(settings.notify.target, targets)


def _hears(name: str, targets: Callable[[str], Target]) -> Finding:
    """Opened only: to be asked, it would have to be told something."""
    try:
        targets(name)
    except DoltWatchError as error:
        return failed("target", error)
    return ok("target", f"{name} can be told of decisions that go wrong")


def beads(case: Case) -> Iterator[Finding]:
    found = case.survey
    troubled = False
    for phase, fix in _WAITS_FOR_A_PERSON.items():
        here = sorted((bead for bead in found.state.beads.values() if bead.phase is phase), key=_since)
        if here:
            troubled = True
            oldest = ago(found.now - here[0].since)
            yield warning(
                "beads", f"{phase.value}: {named([bead.id for bead in here])}, for {oldest}: {here[0].reason}", fix
            )
    if not troubled:
        counts = {phase: sum(bead.phase is phase for bead in found.state.beads.values()) for phase in Phase}
        yield ok("beads", ", ".join(f"{count} {phase.value}" for phase, count in counts.items() if count) or "none")


def _since(bead: Bead) -> tuple[object, str]:
    return bead.since, bead.id


def switches(case: Case) -> Iterator[Finding]:
    found = case.survey
    stopped = [
        rule.name for rule in case.settings.rules if found.state.stopped.get(rule.name) == case.policy.settings_hash
    ]
    for rule in stopped:
        yield failure(
            "switches",
            f"rule {rule} stopped: its target refused our credential",
            f"mend it, then dolt_watch resume --rule {rule}",
        )
    for name in sorted({rule.target for rule in case.settings.rules} & found.state.outages.keys()):
        says = hold(name, found.state.outages[name], found.now).why
        yield warning(
            "switches", says, f"start it; it is tried by itself, and `dolt_watch config` shows [targets.{name}]"
        )
    idle = of_no_rule(found.state, case.policy, found.now)
    pauses = standing(found.state, found.now)
    for pause in pauses:
        if pause in idle:
            says = (
                f"rule {pause.rule} is paused, but there is no such rule (any more): it holds nothing ({pause.reason})"
            )
            fix = "if it was renamed and should still be paused: dolt_watch pause --rule NAME; the next dolt_watch resume ends both"
            yield warning("switches", says, fix)
            continue
        what = pause.rule or "all rules"
        more = "" if pause.until is None else f", until {pause.until.isoformat()}"
        says = f"{what} paused for {ago(found.now - pause.at)} by {pause.by}{more}: {pause.reason}"
        yield warning("switches", says, "dolt_watch resume" + (f" --rule {pause.rule}" if pause.rule else ""))
    if not stopped and not pauses:
        yield ok("switches", "no rule is paused or stopped")
