"""``dolt_watch release``."""

from __future__ import annotations

from typing import Any

import click

from dolt_watch.cli.options import beads_argument, current_user, load_settings, settings_options
from dolt_watch.cli.pause import check_reason
from dolt_watch.cli.retry import by_hand, check_beads, do, reason_option
from dolt_watch.core.decisions.manual_actions import release


@click.command()
@beads_argument(required=True)
@settings_options
@reason_option
def command(beads: tuple[str, ...], reason: str, **kwargs: Any) -> int:
    """Take over running or unknown beads by hand. This frees their slots, and stops no job.

    A bead stays in progress, as after a manual dispatch, and the reaper still watches its
    activity. To remove a bead from its rule, assign it to another user. Exit 1 if a bead has no
    slot.

    Example: dolt_watch release bd-12 --reason "I continue by hand"
    """
    check_reason(reason)
    who = current_user()
    with by_hand(load_settings(kwargs)) as hand:
        chosen = check_beads(hand, beads)
        return do(
            hand, chosen, lambda found: release(found, who, reason), "released, its slot is free"
        )
