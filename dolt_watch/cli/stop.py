"""``dolt_watch stop``."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from dolt_watch.cli.options import (
    beads_argument,
    complain,
    current_user,
    load_settings,
    say,
    settings_options,
)
from dolt_watch.cli.pause import check_reason
from dolt_watch.cli.retry import act, by_hand, check_beads, reason_option
from dolt_watch.core.decisions.manual_actions import NothingToDo, Refusal, stop
from dolt_watch.core.model import Decision, JobReport, Verdict
from dolt_watch.targets.registry import TargetPool

if TYPE_CHECKING:
    from dolt_watch.config import Settings
    from dolt_watch.controller.manual_actions import ManualActions
    from dolt_watch.core.decisions.manual_actions import Found


@click.command()
@beads_argument(required=True)
@settings_options
@reason_option
def command(beads: tuple[str, ...], reason: str, **kwargs: Any) -> int:
    """Stop the agents of beads, and block the beads.

    Works for targets that can end a run. For the kind `kubernetes`, the Job is deleted. For the
    kind `local`, run the command on the machine that runs the agent: the agent and all processes
    that it started get SIGTERM, then SIGKILL. A bead that left its rule, for example because it
    is closed, keeps its status. `dolt_watch retry` tries a blocked bead again. Exit 1 if a run
    could not be ended.

    Example: dolt_watch stop bd-12 --reason "it edits the wrong files"
    """
    check_reason(reason)
    settings = load_settings(kwargs)
    who, code = current_user(), 0
    with closing(TargetPool(settings.targets)) as targets, by_hand(settings) as hand:
        for bead in check_beads(hand, beads):
            code |= _stop(hand, settings, targets, bead, who, reason)
    return code


def _stop(
    hand: ManualActions, settings: Settings, targets: Any, bead: str, who: str, reason: str
) -> int:
    """Stop the run of one bead, and return the exit code."""
    chosen: list[tuple[Any, str, str]] = []

    def decide(found: Found) -> Any:
        answer = stop(found, who, reason)
        if not isinstance(answer, Decision):
            return answer
        rule = next((each for each in settings.rules if each.name == answer.rule), None)
        target: Any = targets(rule.target) if rule is not None else None
        job = answer.job or answer.token
        can_stop = getattr(target, "stop", None) is not None
        report = target.verdict(job, None) if can_stop else None
        # The user took the bead out of its rule. Its agent may have ended long ago.
        if not answer.status and (report is None or report.verdict is not Verdict.RUNNING):
            return NothingToDo(f"{bead} has no attempt under way, and no run of it is alive here")
        refusal = _cannot_stop(report, bead)
        chosen[:] = [] if refusal else [(target, job, answer.status)]
        return refusal or answer

    answer = act(hand, bead, decide)
    if not isinstance(answer, Decision):
        return int(isinstance(answer, Refusal))
    # The entry comes first: if this process dies now, the next tick ends the run.
    target, job, blocks = chosen[0]
    report = target.stop(job, who, reason)
    if not report.dead:
        complain(f"error: Could not end the run of {bead}: {report.error or 'it still runs'}")
        return 1
    how = report.status_text or report.error
    say(f"{bead}: stopped ({how}){', and blocked' if blocks else ''}")
    return 0


def _cannot_stop(report: JobReport | None, bead: str) -> Refusal | None:
    """Return why a run can't be ended from here, or None if it can.

    ``report``: the target's report of the run. None: the target can't end runs.
    """
    if report is None:
        return Refusal(
            f"The target of {bead} can't end a run.",
            f"End the run there, then run `dolt_watch release {bead}`.",
        )
    if report.verdict is Verdict.UNKNOWN:
        return Refusal(
            f"The run of {bead} can't be ended from here: {report.error}.",
            "Run this command on the machine that runs the agent.",
        )
    return None
