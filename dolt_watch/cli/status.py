"""``dolt_watch status``."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import orjson

from dolt_watch.cli.composition import build_reader
from dolt_watch.cli.options import (
    beads_argument,
    check_rule,
    format_option,
    load_settings,
    rule_option,
    settings_options,
)
from dolt_watch.cli.output import show
from dolt_watch.clock import DatabaseClock
from dolt_watch.core.model import Phase
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import DatabaseError
from dolt_watch.inspection.attempts import tokens_of
from dolt_watch.inspection.bead_ids import require_bead
from dolt_watch.inspection.recent import read_recent
from dolt_watch.inspection.report.place import place_of
from dolt_watch.inspection.screen import Screen, is_dumb
from dolt_watch.inspection.status import collect_status
from dolt_watch.inspection.status_view import GROUP_LIMIT, show_status
from dolt_watch.targets.registry import TargetPool

if TYPE_CHECKING:
    from dolt_watch.config import Settings
    from dolt_watch.engines import Engine
    from dolt_watch.inspection.status import Status

EVERY = 2.0
"""Seconds between two refreshes of --watch."""


@click.command()
@beads_argument(required=False)
@settings_options
@rule_option("Show only beads of this rule.")
@click.option(
    "--state",
    "states",
    type=click.Choice([phase.value for phase in Phase]),
    multiple=True,
    help="Show only beads in this state. Repeatable.",
)
@click.option("--all", "every", is_flag=True, help="Print all beads of each group.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    help=(
        f"Maximum number of beads in each group. Default: as many as fit on the terminal, up to"
        f" {GROUP_LIMIT}; all if the output is not a terminal."
    ),
)
@format_option
@click.option(
    "--watch", is_flag=True, help="Refresh in place every 2 s until Ctrl-C. Needs a terminal."
)
def command(
    beads: tuple[str, ...],
    rule: str | None,
    states: tuple[str, ...],
    every: bool,
    limit: int | None,
    form: str,
    watch: bool,
    **kwargs: Any,
) -> int:
    """Show workers, targets, and beads: first what needs a person, then running beads, then the
    queue in dispatch order.

    Writes nothing. JSON contains all fields and all beads.

    Example: dolt_watch status --format json
    """
    screen = Screen.of_stdout()
    if watch and (form == "json" or not screen.terminal or is_dumb()):
        raise click.UsageError(
            "--watch requires a terminal that can move its cursor. Run `dolt_watch status` instead."
        )
    if every and limit is not None:
        raise click.UsageError("--all and --limit exclude each other.")
    if form == "json" and (every or limit is not None):
        raise click.UsageError("JSON contains all beads: omit --all and --limit.")
    settings = load_settings(kwargs)
    check_rule(settings, rule)
    chosen = _Filter(beads, rule, states)
    if watch:
        return _watch(settings, chosen, 0 if every else limit)
    now = _read(settings, chosen)
    if form == "json":
        click.echo(orjson.dumps(now.to_dict()).decode())
        return 0
    tracker = place_of(settings).tracker
    show(screen, show_status(now, screen, 0 if every else limit, tracker=tracker))
    return 0


class _Filter(NamedTuple):
    """The beads that the user asks for."""

    beads: Sequence[str]
    rule: str | None
    states: Sequence[str]

    def apply(self, engine: Engine, now: Status) -> Status:
        """Return the status with the chosen beads only.

        Raises:
            SettingsError: A bead doesn't exist.
        """
        beads = {require_bead(engine, bead) for bead in self.beads}
        chosen = (
            one
            for one in now.beads
            if (not beads or one.bead in beads)
            and self.rule in (None, one.rule)
            and (not self.states or one.phase in self.states)
        )
        return now._replace(beads=tuple(chosen))


def _read(settings: Settings, chosen: _Filter) -> Status:
    with (
        closing(open_engine(settings.address)) as engine,
        closing(TargetPool(settings.targets)) as targets,
    ):
        reader = build_reader(engine, settings, targets, DatabaseClock())
        now = collect_status(reader, lambda name: targets(name).capacity())
        recent = read_recent(engine, now.now, tokens_of(now.state))
        now = now._replace(recent=recent)
        return chosen.apply(engine, now)


def _watch(settings: Settings, chosen: _Filter, limit: int | None) -> int:
    """Refresh until Ctrl-C. A database error is shown in place, and the next refresh retries."""
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    with suppress(KeyboardInterrupt):
        # Python drops an exception raised in a finalizer, so the flag is checked too.
        while not stopped:
            screen = Screen.of_stdout()
            try:
                lines = show_status(
                    _read(settings, chosen),
                    screen,
                    limit,
                    tracker=place_of(settings).tracker,
                    refresh=f"every {EVERY:g}s",
                )
            except DatabaseError as error:
                lines = [
                    line for text in f"error: {error}".split("\n") for line in screen.prose(text)
                ]
            rest = len(lines) - (screen.height - 1)
            if rest > 0:
                lines = lines[: screen.height - 2] + screen.prose(f"{rest + 1} more lines")
            # Home, each line up to its end, then the rest of the screen: nothing flickers.
            text = "".join(f"{line}\x1b[K\n" for line in screen.as_text(lines))
            click.echo(f"\x1b[H{text}\x1b[J", nl=False, color=True)
            time.sleep(EVERY)
    return 0
