"""``dolt_watch release``."""

from __future__ import annotations

from typing import Any

import click

from dolt_watch.cli.options import current_user, load_settings, settings_options
from dolt_watch.cli.pause import check_reason
from dolt_watch.cli.retry import by_hand, check_beads, do
from dolt_watch.core.decisions.manual_actions import release


@click.command()
@click.argument("beads", nargs=-1, required=True, metavar="BEAD…")
@settings_options
@click.option("--reason", default="asked for", show_default=True, help="Why: it stands in history.")
def command(beads: tuple[str, ...], reason: str, **kwargs: Any) -> int:
    """Take running or unknown beads over: their slots are free, and no job is stopped.

    The row stays in progress, as with a dispatch of your own: the reaper still watches it, by
    its signs of life. To take it out of its rule, give it to somebody. Exit 1 where a bead holds
    no slot.

    Example: dolt_watch release bd-12 --reason "I go on by hand"
    """

    check_reason(reason)
    who = current_user()
    with by_hand(load_settings(kwargs)) as hand:
        chosen = check_beads(hand, beads)
        return do(
            hand, chosen, lambda found: release(found, who, reason), "released, its slot is free"
        )
