"""The command line.

A command's module is imported when it is run, and not before: --help and --version import none.
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

COMMANDS = {
    "init": "Make the tables of dolt_watch in a beads database.",
    "dispatch": "Hand waiting beads to their target.",
    "reap": "Block beads whose agent has fallen silent.",
    "tick": "Dispatch and reap, until nothing is left to do.",
    "run": "Stay up: dispatch and reap as things happen.",
    "why": "What became of a bead, and why it goes or does not.",
    "events": "What history's commits meant for the beads, as JSON lines.",
    "replay": "What other settings would have decided.",
    "log": "The decisions, newest first.",
    "status": "What waits, runs and is held, and why.",
    "report": "One page of what happened, to open in a browser.",
    "pause": "Stop handing out beads; audited in history.",
    "resume": "Hand out beads again.",
    "retry": "Try beads again now: quarantined, held, unknown, or blocked by dolt_watch.",
    "release": "Take a running bead over: its slot is free.",
    "stop": "End a bead's run, and block the bead.",
    "logs": "Show the output of a bead's agent.",
    "doctor": "Is everything as it must be, and what mends it.",
    "config": "The effective settings, and where each came from.",
    "demo": "See it work, in a temporary folder, in ten seconds.",
}
"""Name → its line in --help.

The module ``dolt_watch.cli.<name>`` holds the command as ``command``.
"""


class LazyGroup(click.Group):
    """Knows its commands by name, and imports one when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"dolt_watch.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from dolt_watch.suggestions import suggest

            ctx.fail(f"No such command {args[0]!r}: {suggest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dolt_watch", message="%(prog)s %(version)s")
@click.option(
    "--debug", is_flag=True, help="Show the traceback of an error (or DOLT_WATCH_DEBUG=1)."
)
def group(**_debug: bool) -> None:
    """Hands beads to AI agents, and says so in Dolt's own history."""


def main() -> None:
    """Run, and end the process with the exit code that ``errors`` says."""
    # Read here and not by click: an error while it parses has a traceback too, and who is told
    # to add --debug adds it at the end.
    args = [each for each in sys.argv[1:] if each != "--debug"]
    debug = len(args) < len(sys.argv) - 1 or os.environ.get("DOLT_WATCH_DEBUG", "") not in (
        "",
        "0",
        "false",
    )
    _configure_streams()
    try:
        code = group.main(args, prog_name="dolt_watch", standalone_mode=False)
        # What stands in the buffer would meet a closed pipe after this function, where nobody
        # catches it.
        sys.stdout.flush()
        sys.exit(code or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except BrokenPipeError:
        # `dolt_watch log | head`: the reader has enough. 1 is click's code for it.
        _detach_stdout()
        sys.exit(1)
    except DoltWatchError as error:
        if debug:
            _traceback()
        from dolt_watch.cli.options import exit_with_error

        exit_with_error(error)
    except Exception as error:
        if debug:
            _traceback()
        else:
            from dolt_watch.sanitize import sanitize

            said = sanitize(f"{type(error).__name__}: {error}")
            click.echo(f"error: {said} (run with --debug for the traceback)", err=True)
        if isinstance(error, OSError):
            _detach_stdout()
        sys.exit(1)


def _configure_streams() -> None:
    """What a terminal or a pipe cannot show, or that there is none, must end no command.

    What the encoding lacks is escaped as JSON does it, which people can read as well; the
    handler "backslashreplace" would write escapes that JSON does not have. Where the descriptor
    is closed (``>&-``) Python has no stream at all, and the first socket would get its number.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
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
    """Python would complain once more while it closes stdout, and change the exit code."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _traceback() -> None:
    import traceback

    traceback.print_exc()
