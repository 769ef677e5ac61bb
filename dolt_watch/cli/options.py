"""Options, arguments and errors that all commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from dolt_watch.cli import COMMANDS
from dolt_watch.config import Settings, load
from dolt_watch.errors import DoltWatchError, SettingsError
from dolt_watch.sanitize import is_utf8, sanitize
from dolt_watch.timestamps import localize

if TYPE_CHECKING:
    from datetime import datetime

LONGEST_LINE = 4000
"""Maximum number of characters in a line of output."""
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _complete(name: str) -> Callable[..., Any]:
    """Return a completion callback that imports its function only if the shell asks for it."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        # Late: only a shell's completion needs it.
        from dolt_watch.cli import completion

        return list(getattr(completion, name)(ctx.params, incomplete))

    return complete


complete_bead, complete_rule, complete_setting = map(_complete, ("beads", "rules", "settings"))
_OPTIONS = (
    click.option(
        "--config",
        metavar="FILE",
        help=(
            "Settings file. Default: the first dolt_watch.toml in this folder or a folder above it."
        ),
    ),
    click.option(
        "--database",
        metavar="URL",
        help=(
            "Database: dolt://user@host:port/database[/branch] or doltlite:///path."
            " Default: the database that bd uses."
        ),
    ),
    click.option(
        "--set",
        metavar="KEY=VALUE",
        multiple=True,
        shell_complete=complete_setting,
        help="Override one setting, for example rules.agent.stale_after=15m. Repeatable.",
    ),
)


def settings_options(command: _Command) -> _Command:
    """Add --config, --database and --set, whose values ``load_settings`` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def load_settings(kwargs: dict[str, Any]) -> Settings:
    """Remove the values of ``settings_options`` from ``kwargs``, and return the settings.

    Raises:
        SettingsError: A setting is wrong.
    """
    return load({name: kwargs.pop(name, None) for name in ("config", "database", "set")})


def utf8(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Refuse text that isn't UTF-8, which no database can contain."""
    for text in value if isinstance(value, tuple) else (value or "",):
        if not is_utf8(text):
            raise click.BadParameter(f"{sanitize(text, 80)!r} is not UTF-8.", ctx, param)
    return value


def bead_option(help: str, **more: Any) -> Callable[[_Command], _Command]:
    """Return the option --bead BEAD_ID."""
    return click.option(
        "--bead", metavar="BEAD_ID", shell_complete=complete_bead, callback=utf8, help=help, **more
    )


def beads_argument(*, required: bool) -> Callable[[_Command], _Command]:
    """Return the argument BEAD_ID…, any number of IDs."""
    return click.argument(
        "beads",
        nargs=-1,
        required=required,
        metavar="BEAD_ID…" if required else "[BEAD_ID…]",
        shell_complete=complete_bead,
        callback=utf8,
    )


def rule_option(help: str) -> Callable[[_Command], _Command]:
    """Return the option --rule RULE."""
    return click.option(
        "--rule", metavar="RULE", shell_complete=complete_rule, callback=utf8, help=help
    )


format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    help="Form of the output.",
)
"""The option --format, for commands that print text or JSON."""


def check_rule(settings: Settings, rule: str | None) -> None:
    """Check that a rule exists.

    Raises:
        SettingsError: The settings have no rule of this name.
    """
    names = [each.name for each in settings.rules]
    if rule is not None and rule not in names:
        # Late: only a wrong name needs suggestions.
        from dolt_watch.suggestions import suggest

        raise SettingsError(
            f"There is no rule {sanitize(rule, 80)!r}.", where="--rule", fix=suggest(rule, names)
        )


def say(line: str) -> None:
    """Print one line for people on stdout, on a terminal with local times."""
    print_line(localize(line) if sys.stdout.isatty() else line)


def print_line(line: str) -> None:
    """Print one line on stdout.

    Control characters are escaped: text of other programs must not start a second line or move
    the cursor.
    """
    click.echo(sanitize(line, LONGEST_LINE))


def exit_with_error(error: DoltWatchError) -> NoReturn:
    """Print an error on stderr, and end the process with its exit code."""
    complain(f"error: {error}")
    sys.exit(error.exit_code)


def complain(text: str) -> None:
    """Print the lines of an error on stderr."""
    for line in text.split("\n"):
        click.echo(sanitize(line, LONGEST_LINE), err=True)


def usage_error(error: click.ClickException) -> SettingsError:
    """Return an error that click raised in the form of all other errors, with exit code 2."""
    ctx = getattr(error, "ctx", None)
    # click's parser raises some errors without a context.
    named = next((word for word in sys.argv[1:] if word in COMMANDS), "")
    command = ctx.command_path if ctx is not None else f"dolt_watch {named}".rstrip()
    fix, where = f"Run `{command} --help`.", None
    message = error.format_message()
    match error:
        case click.NoSuchOption(possibilities=[*names], option_name=name):
            message = f"There is no option {name}."
            if names:
                fix = f"Did you mean {names[0]}?"
        case click.MissingParameter(param=click.Argument() as argument):
            message = f"The argument {argument.metavar or argument.human_readable_name} is missing."
        case click.BadParameter(param=parameter, param_hint=hint):
            message = error.message or message
            if hint is None and parameter is not None:
                hint = parameter.get_error_hint(ctx)
            where = " / ".join([hint] if isinstance(hint, str) else hint or []).replace("'", "")
    message = message[:1].upper() + message[1:]
    return SettingsError(
        message if message.endswith((".", "?", "!")) else f"{message}.", where=where, fix=fix
    )


def current_user() -> str:
    """Return the name of the user who runs this command, for history.

    The user of a container is often a number without a name.
    """
    import getpass  # Late: few commands record their user.

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        return f"uid {os.getuid()}"


def tick_options(command: _Command) -> _Command:
    """Add --dry-run, --now and --metrics-file.

    --now requires --dry-run: a live tick decides by the database's clock.
    """
    metrics = click.option(
        "--metrics-file",
        metavar="FILE",
        envvar="DOLT_WATCH_METRICS_FILE",
        callback=_file,
        help="Write the Prometheus metrics of this tick to FILE, atomically. Not with --dry-run.",
    )
    now = click.option(
        "--now",
        metavar="TIMESTAMP",
        callback=_moment,
        help="With --dry-run: decide as if it were this time, for example 2026-04-18T22:35:46Z.",
    )
    dry = click.option(
        "--dry-run",
        is_flag=True,
        is_eager=True,
        help="Print the decisions, but write and send nothing.",
    )
    return dry(now(metrics(command)))


def _file(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse --metrics-file with --dry-run. A variable, which is set for all ticks, is ignored."""
    given = ctx.get_parameter_source(str(param.name)) is click.core.ParameterSource.COMMANDLINE
    if given and ctx.params.get("dry_run"):
        raise SettingsError(
            "--metrics-file can't be combined with --dry-run: a dry run has no metrics.",
            where="--metrics-file",
            fix="Omit one of the two options.",
        )
    if given and not value:
        raise SettingsError(
            "The file name is empty.", where="--metrics-file", fix="Specify the name of a file."
        )
    return value


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    # Late: an idle tick without --now needs neither.
    from dolt_watch.cli.times import EARLIEST
    from dolt_watch.timestamps import parse_foreign

    if not ctx.params.get("dry_run"):
        raise SettingsError(
            "--now requires --dry-run: a live tick decides by the database's clock.",
            where="--now",
            fix="Add --dry-run.",
        )
    found = parse_foreign(value)
    if found is None or found.year < EARLIEST:
        raise SettingsError(
            f"{sanitize(value, 80)!r} is not a valid timestamp.",
            where="--now",
            fix="Use a timestamp such as 2026-04-18T22:35:46Z.",
        )
    return found
