"""``dolt_watch resume``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from dolt_watch.cli.options import current_user, rule_option, say, settings_options
from dolt_watch.cli.pause import Detail, check_reason, write
from dolt_watch.core.decisions.policy import active_pauses
from dolt_watch.core.model import Phase, entry_payloads
from dolt_watch.inspection.status import describe_pause

if TYPE_CHECKING:
    from dolt_watch.core.model import State


@click.command()
@settings_options
@rule_option("Resume only this rule. Default: all rules.")
@click.option(
    "--reason",
    metavar="TEXT",
    default="resumed",
    help="The reason, which is stored in history.",
)
def command(rule: str | None, reason: str, **kwargs: Any) -> int:
    """Start dispatching beads again.

    Ends a pause. Restarts a rule that was halted because its target refused it. Frees beads that
    are held because the ledger comes from another tracker.

    Example: dolt_watch resume
    """
    check_reason(reason)
    name = f"rule {rule}" if rule is not None else "all rules"
    lines = [f"resumed {name}"]

    def decide(state: State | None, now: datetime) -> Detail | None:
        detail = entry_payloads.Resumed(current_user()).encode()
        if state is None:
            return detail
        if not _ends(state, rule, now):
            subject = "no rule is" if rule is None else f"rule {rule} is not"
            lines[0] = f"nothing to resume: {subject} paused or halted, and no bead is held"
            detail = {}
        elif rule is not None and any(not one.rule for one in active_pauses(state, now)):
            # The pause of all rules covers this one too.
            lines[0] = f"resumed {name}, but all rules are paused"
        if rule is not None:
            lines.extend(
                f"still paused: {describe_pause(one)}"
                for one in active_pauses(state, now)
                if not one.rule
            )
        return detail or None

    write("resume", rule, reason, decide, kwargs)
    for line in lines:
        say(line)
    return 0


def _ends(state: State, rule: str | None, now: datetime) -> bool:
    """Return whether a resume would end anything."""
    return (
        any(rule in (None, one.rule) for one in active_pauses(state, now))
        or any(rule in (None, name) for name in state.halted_rules)
        or any(
            bead.phase is Phase.HELD and rule in (None, bead.rule) for bead in state.beads.values()
        )
    )
