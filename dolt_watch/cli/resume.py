"""``dolt_watch resume``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from dolt_watch.cli.options import current_user, say, settings_options
from dolt_watch.cli.pause import Detail, check_reason, write
from dolt_watch.core.decisions.policy import active_pauses
from dolt_watch.core.model import Phase, entry_payloads
from dolt_watch.inspection.status import describe_pause

if TYPE_CHECKING:
    from dolt_watch.core.model import State


@click.command()
@settings_options
@click.option("--rule", metavar="NAME", help="Only this rule; default: all.")
@click.option("--reason", default="resumed", help="Why: it stands in history.")
def command(rule: str | None, reason: str, **kwargs: Any) -> int:
    """Hand out beads again: ends a pause, and a rule's stop after its target refused it; lets go
    of beads that are held because the ledger came from elsewhere.

    Example: dolt_watch resume
    """

    check_reason(reason)
    what = f"rule {rule}" if rule is not None else "all rules"
    lines = [f"resumed {rule or 'all rules'}"]

    def decide(state: State | None, now: datetime) -> Detail | None:
        detail = entry_payloads.Resumed(current_user()).encode()
        if state is None:
            return detail
        pauses = active_pauses(state, now)
        lines.extend(
            f"all rules are still paused: {describe_pause(one)}"
            for one in pauses
            if rule and not one.rule
        )
        if _ends(state, rule, now):
            return detail
        lines[0] = (
            f"nothing to resume: {what} {'is' if rule else 'are'} not paused or stopped, and"
            " nothing is held"
        )
        return None

    write("resume", rule, reason, decide, kwargs)
    for line in lines:
        say(line)
    return 0


def _ends(state: State, rule: str | None, now: datetime) -> bool:
    """Is there anything that a resume would end?"""

    return (
        any(rule in (None, one.rule) for one in active_pauses(state, now))
        or any(rule in (None, name) for name in state.halted_rules)
        or any(
            bead.phase is Phase.HELD and rule in (None, bead.rule) for bead in state.beads.values()
        )
    )
