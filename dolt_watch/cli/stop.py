"""``dolt_watch stop``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dolt_watch.cli.composition import TargetPool
from dolt_watch.cli.options import current_user, load_settings, say, settings_options
from dolt_watch.cli.pause import check_reason
from dolt_watch.cli.retry import by_hand, check_beads
from dolt_watch.core.decisions.manual_actions import NothingToDo, Refusal, stop
from dolt_watch.core.model import Decision, Verdict
from dolt_watch.sanitize import sanitize

if TYPE_CHECKING:
    from dolt_watch.config import Settings
    from dolt_watch.controller.manual_actions import ManualActions
    from dolt_watch.core.decisions.manual_actions import Found


@click.command()
@click.argument("beads", nargs=-1, required=True, metavar="BEAD…")
@settings_options
@click.option(
    "--reason",
    default="asked for",
    show_default=True,
    help="Why. The reason is stored in the history.",
)
def command(beads: tuple[str, ...], reason: str, **kwargs: Any) -> int:
    """End the runs of beads, and block the beads.

    Works for targets that can end a run: `kubernetes` deletes its Job. For the kind `local`, run it
    on the machine that runs the agent. The agent and all processes that it started get SIGTERM,
    then SIGKILL.
    `dolt_watch retry` tries the bead again. Exit 1 if a run could not be ended.

    Example: dolt_watch stop bd-12 --reason "it edits the wrong files"
    """

    check_reason(reason)
    settings = load_settings(kwargs)
    who, code = current_user(), 0
    targets = TargetPool(settings)
    try:
        with by_hand(settings) as hand:
            for bead in check_beads(hand, beads):
                code |= _stop(hand, settings, targets, bead, who, reason)
    finally:
        targets.close()
    return code


def _stop(
    hand: ManualActions, settings: Settings, targets: Any, bead: str, who: str, reason: str
) -> int:

    chosen: list[tuple[Any, str]] = []

    def decide(found: Found) -> Any:
        answer = stop(found, who, reason)
        if not isinstance(answer, Decision):
            return answer
        rule = next((each for each in settings.rules if each.name == answer.rule), None)
        target = targets(rule.target) if rule is not None else None
        job = answer.job or answer.token
        refusal = _cannot_stop(target, job, bead)
        chosen[:] = [] if refusal else [(target, job)]
        return refusal or answer

    answer = hand.do(bead, decide)
    if isinstance(answer, Refusal):
        click.echo(sanitize(f"error: {answer.why}", 1000), err=True)
        click.echo(sanitize(f"  fix:   {answer.fix}", 1000), err=True)
        return 1
    if isinstance(answer, NothingToDo):
        say(f"{answer.why}: nothing to do")
        return 0
    # The entry comes first: if this process dies now, the next tick ends the run.
    target, job = chosen[0]
    report = target.stop(job, who, reason)
    if not report.dead:
        click.echo(
            sanitize(f"error: The run of {bead} could not be ended: {report.error}", 1000), err=True
        )
        return 1
    say(f"{bead}: stopped ({report.status_text}), and blocked")
    return 0


def _cannot_stop(target: Any, job: str, bead: str) -> Any:
    """Return why a run cannot be ended from here. Returns None if it can."""

    if getattr(target, "stop", None) is None:
        return Refusal(
            f"The target of {bead} can't end a run.",
            f"End the run there, then `dolt_watch release {bead}`.",
        )
    report = target.verdict(job, None)
    if report.verdict is Verdict.UNKNOWN:
        return Refusal(
            f"The run of {bead} can't be ended from here: {report.error}.",
            "Run this command on the machine that runs the agent.",
        )
    return None
