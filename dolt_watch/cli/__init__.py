"""The command line.

The module of a command is imported when the command runs. --help and --version import none.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from importlib import import_module

import click

from dolt_watch import __version__
from dolt_watch.errors import DoltWatchError

GROUPS = {
    "Run": {
        "dispatch": "Send waiting beads to their targets, once.",
        "reap": "Block beads whose agents show no activity, once.",
        "tick": "Dispatch and reap, once.",
        "run": "Dispatch and reap continuously.",
    },
    "Inspect": {
        "status": "Show waiting, running and held beads, and why.",
        "why": "Explain a bead's history and why it is or isn't dispatched.",
        "log": "List the decisions, newest first.",
        "logs": "Show the output of a bead's agent.",
        "events": "Print the events of history as JSON lines.",
        "report": "Write an HTML page about recent activity.",
        "replay": "Compare recorded decisions with those of other settings.",
    },
    "Control": {
        "pause": "Stop dispatching. Running agents continue.",
        "resume": "Start dispatching again.",
        "retry": "Try beads again now.",
        "release": "Take over a running bead by hand.",
        "stop": "Stop the agent of a bead, and block the bead.",
    },
    "Set up": {
        "init": "Create dolt_watch's tables in a beads database.",
        "doctor": "Check the setup and suggest fixes.",
        "config": "Show the settings in force and where each value came from.",
        "demo": "See dolt_watch at work in a temporary folder.",
    },
}
"""Heading in --help → name of a command → its line there."""

COMMANDS = {name: line for group in GROUPS.values() for name, line in group.items()}
"""Name → line of each command.

The module ``dolt_watch.cli.<name>`` contains the command as ``command``.
"""

COMPLETE = "_DOLT_WATCH_COMPLETE"
"""Environment variable by which a shell asks for completion (click's convention)."""
EXAMPLE = "Example: "
"""Start of the last paragraph of each command's docstring."""


class LazyGroup(click.Group):
    """A group that knows its commands by name, and imports a command when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name.startswith("-") or (ctx.resilient_parsing and cmd_name not in COMMANDS):
            return None  # click reports an option that doesn't exist. A completion reports nothing.
        if cmd_name not in COMMANDS:
            # Late: only a wrong name needs suggestions.
            from dolt_watch.errors import SettingsError
            from dolt_watch.sanitize import sanitize
            from dolt_watch.suggestions import suggest

            raise SettingsError(
                f"There is no command {sanitize(cmd_name, 80)!r}.", fix=suggest(cmd_name, COMMANDS)
            )
        command: click.Command = import_module(f"dolt_watch.cli.{cmd_name}").command
        text, marker, example = (command.help or "").partition(EXAMPLE)
        if marker:
            # "\b" keeps click from wrapping the example: a wrapped command can't be copied.
            command.help = text.rstrip()
            command.epilog = f"\b\nExample:\n  {' '.join(example.split())}"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for heading, commands in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), line) for name, line in commands.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog="Run `dolt_watch COMMAND --help` for the options and an example of a command.",
)
@click.version_option(__version__, prog_name="dolt_watch", message="%(prog)s %(version)s")
@click.option(
    "--debug", is_flag=True, help="Show the traceback of an error (or set DOLT_WATCH_DEBUG=1)."
)
def group(**_debug: bool) -> None:
    """Send beads to AI agents, and record each decision in Dolt's history."""


def main() -> None:
    """Run a command, and end the process with the exit code that ``errors`` defines."""
    instruction = os.environ.get(COMPLETE, "")
    if instruction.endswith("_source"):
        # Late: only a shell's completion needs it.
        from dolt_watch.cli.completion import scripts

        click.echo(scripts(group, instruction, COMPLETE))
        sys.exit(0)
    # Parsed here and not by click: an error of click's own parser has a traceback too, and users
    # who are asked to add --debug add it at the end.
    args = [each for each in sys.argv[1:] if each != "--debug"]
    debug = len(args) < len(sys.argv) - 1 or os.environ.get("DOLT_WATCH_DEBUG", "") not in (
        "",
        "0",
        "false",
    )
    _configure_streams()
    try:
        code = group.main(args, prog_name="dolt_watch", standalone_mode=False)
        # A closed pipe must raise here: after this function, no handler would catch the error.
        sys.stdout.flush()
        sys.exit(code or 0)
    except click.ClickException as error:
        if debug:
            _traceback()
        _fail(error)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except BrokenPipeError:
        # `dolt_watch log | head`: the reader has enough. click uses exit code 1 for it.
        _detach_stdout()
        sys.exit(1)
    except DoltWatchError as error:
        if debug:
            _traceback()
        _fail(error)
    except Exception as error:
        if debug:
            _traceback()
        else:
            # Late: only an unexpected error needs it.
            from dolt_watch.sanitize import sanitize

            text = sanitize(f"{type(error).__name__}: {error}")
            click.echo(f"error: {text} (run with --debug for the traceback)", err=True)
        if isinstance(error, OSError):
            _detach_stdout()
        sys.exit(1)


def _fail(error: DoltWatchError | click.ClickException) -> None:
    """Print an error, and end the process with its exit code."""
    # Late: --help imports no module of a command.
    from dolt_watch.cli.options import exit_with_error, usage_error

    exit_with_error(error if isinstance(error, DoltWatchError) else usage_error(error))


def _configure_streams() -> None:
    """Make stdout and stderr accept any text, and replace them if they are closed.

    Characters that the encoding lacks are escaped as in JSON, which people can read as well. UTF-8
    lacks the bytes of a file name in another encoding. The error handler "backslashreplace" would
    write escapes that JSON doesn't have. If a descriptor is closed (``>&-``), Python has no stream
    at all, and the first socket would get its number.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            codecs.register_error("dolt_watch", _escaped)
            stream.reconfigure(errors="dolt_watch")


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(
        f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)
    ), error.end


def _detach_stdout() -> None:
    """Point stdout at /dev/null if it is broken.

    Otherwise Python reports the error again while it closes stdout, and changes the exit code.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _traceback() -> None:
    import traceback  # Late: few errors print one.

    traceback.print_exc()
