"""What every command shares: the options that choose settings, and how an error is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn, TypeVar

import click

from dolt_watch.config import Settings, load
from dolt_watch.errors import DoltWatchError
from dolt_watch.sanitize import sanitize

LONGEST_LINE = 4000
EARLIEST = 1970
"""No tracker is older; before the first date that there is, sums with a time fail."""
_Command = TypeVar("_Command", bound=Callable[..., Any])
_OPTIONS = (
    click.option(
        "--config", metavar="FILE", help="Settings file; default: dolt_watch.toml here or above."
    ),
    click.option(
        "--database",
        metavar="URL",
        help="dolt://user@host:port/database[/branch] or doltlite:///path.",
    ),
    click.option(
        "--set",
        metavar="KEY=VALUE",
        multiple=True,
        help="One setting: rules.agent.stale_after=15m. Repeatable.",
    ),
)


def settings_options(command: _Command) -> _Command:
    """Adds --config, --database and --set; hand the command's arguments to ``load_settings``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def load_settings(kwargs: dict[str, Any]) -> Settings:
    """Takes the arguments of ``settings_options`` out of ``kwargs``. Raises SettingsError."""
    return load({name: kwargs.pop(name, None) for name in ("config", "database", "set")})


def say(line: str) -> None:
    """One line on stdout.

    What others wrote may be in it: it stays one line, and moves no cursor.
    """
    click.echo(sanitize(line, LONGEST_LINE))


def exit_with_error(error: DoltWatchError) -> NoReturn:
    """Tell an error on stderr, and end with its exit code."""
    complain(f"error: {error}")
    sys.exit(error.exit_code)


def complain(text: str) -> None:
    """Write the lines of an error to stderr."""
    for line in text.split("\n"):
        click.echo(sanitize(line, LONGEST_LINE), err=True)


def current_user() -> str:
    """Who runs this command, for history. A container's user is often a number without a name."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        return f"uid {os.getuid()}"


def tick_options(command: _Command) -> _Command:
    """Adds --dry-run, and --now, which only goes with it: a real tick decides by the database's
    clock; and --metrics-file.
    """
    metrics = click.option(
        "--metrics-file",
        metavar="FILE",
        envvar="DOLT_WATCH_METRICS_FILE",
        callback=_file,
        help="Write Prometheus metrics of this tick here, whole or not at all. Not with --dry-run.",
    )
    now = click.option(
        "--now",
        metavar="TIME",
        callback=_moment,
        help="With --dry-run: as if it were this time (ISO 8601).",
    )
    dry = click.option(
        "--dry-run",
        is_flag=True,
        is_eager=True,
        help="Say what would be done; write and send nothing.",
    )
    return dry(now(metrics(command)))


def parse_moment(
    text: str, now: datetime, option: str = "--since", *, ahead: bool = False
) -> datetime:
    """What an option says: a time, or a span back from now (``ahead``: from now on).

    Raises BadParameter.
    """
    import durationpy

    from dolt_watch.timestamps import parse_foreign

    try:
        span = durationpy.from_str(text) if "-" not in text else None
        found = (
            parse_foreign(text)
            if span is None
            else parse_foreign(now + span if ahead else now - span)
        )
    except (ValueError, OverflowError, durationpy.DurationError):
        found = None
    if found is None:
        raise click.BadParameter(
            f"{text!r} is no time: write 2h, or 2026-04-18T22:35:46Z", param_hint=option
        )
    return found


def _file(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A variable that stands for every tick does not mean a dry run by hand; an option does."""
    given = ctx.get_parameter_source(str(param.name)) is click.core.ParameterSource.COMMANDLINE
    if given and ctx.params.get("dry_run"):
        raise click.UsageError(
            "--metrics-file does not go with --dry-run: a tick that does nothing has no metrics"
        )
    if given and not value:
        raise click.BadParameter("'' is no name of a file")
    return value


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    from dolt_watch.timestamps import parse_foreign

    if not ctx.params.get("dry_run"):
        raise click.UsageError(
            "--now goes with --dry-run only: a real tick decides by the database's clock"
        )
    found = parse_foreign(value)
    if found is None or found.year < EARLIEST:
        raise click.BadParameter(f"{value!r} is no time; write 2026-04-18T22:35:46Z")
    return found
