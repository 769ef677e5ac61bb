"""docs/reference/commands.md, generated from the help of the commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import click

from dolt_watch.cli import COMMANDS, GROUPS, group
from dolt_watch.cli.options import settings_options
from tools.docs.reading import GENERATED, code, flat, table

HEAD = ("option", "default", "meaning")
INTRO = r"""# Commands

The command is `dolt_watch`. `dolt-watch` and `python -m dolt_watch` do the same. `--help` after a
command prints the text of this page.

To complete commands, options, bead IDs, rules and settings in your shell, add one line to its
startup file:

| shell | file | line |
|---|---|---|
| bash | `~/.bashrc` | `eval "$(_DOLT_WATCH_COMPLETE=bash_source dolt_watch)"` |
| zsh | `~/.zshrc` | `eval "$(_DOLT_WATCH_COMPLETE=zsh_source dolt_watch)"` |
| fish | `~/.config/fish/config.fish` | `_DOLT_WATCH_COMPLETE=fish_source dolt_watch \| source` |

## Values

| placeholder | what it accepts |
|---|---|
| `TIME` | A timestamp (`2026-04-18T22:35:46Z`, in UTC if it names no zone), a duration back from now (`2h`), `today` or `yesterday` (00:00 UTC), or a commit. `pause --until` takes a duration from now on, `tomorrow`, and no commit. |
| commit | `HEAD`, a hash, or the first characters of a hash, at least four. A text of digits and units, such as `120m`, is a duration. |
| `DURATION` | A number with its unit, such as `90s`, `30m`, `2h` or `1h30m`. |
| `BEAD_ID` | The ID of a bead, the ID without its prefix, or a part of the ID that no other bead has. |
| `FILE` | A file name. Output files also accept `-` for stdout. |
| `RULE` | The name of a rule. |
"""
EXITS = """## Exit codes

| code | meaning |
|---|---|
| 0 | success, target busy, paused, or nothing to do; also if beads were reaped |
| 1 | a dispatch failed or its outcome is unknown; the target is down while beads wait; a check failed |
| 2 | usage, settings, a rule's expression, `metadata.json`, a file that can't be written, project ID mismatch (not checked by idle ticks) |
| 3 | the database: unreachable, wrong password, missing, not a beads database, not migrated, or migrated by a newer version |
| 129, 130, 143 | ended by SIGHUP, ^C or SIGTERM. The command waits up to 9 s for the answer to the request under way, and records it. A second signal ends the command immediately, and prints the bead and job that aren't recorded. `run` ends with 0. |

An error is printed on stderr: `error:` and the message, then `where:` and `fix:`.
"""


def page() -> str:
    parts = [
        GENERATED.format(source="`dolt_watch/cli/`"),
        INTRO,
    ]
    for heading, commands in GROUPS.items():
        rows = ((f"[`{name}`](#{name})", line) for name, line in commands.items())
        parts += [f"## {heading}\n", table(("command", "what it does"), rows)]
    parts = ["\n".join(parts)]
    parts += ["## Options of all commands that read settings\n", table(HEAD, _rows(_shared()))]
    parts += [
        (
            "`dolt_watch --version` prints the version. `--debug`, anywhere on the command line,"
            " prints the traceback of an error.\n"
        ),
        EXITS,
    ]
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        parts += list(_command(name, command))
    return "\n".join(parts)


def _command(name: str, command: click.Command) -> Iterator[str]:
    text, example = described(command)
    shared = {each.name for each in _shared()}
    own = [each for each in command.params if each.name not in shared]
    yield f"## {name}\n"
    yield text + "\n"
    if own:
        yield table(HEAD, _rows(own))
    if len(own) == len(command.params):
        yield "Reads no settings.\n"
    yield f"```sh\n{example}\n```\n"


def described(command: click.Command) -> tuple[str, str]:
    """Return the help of a command in Markdown, and its example."""
    text = command.help or ""
    _, marker, example = (command.epilog or "").partition("Example:\n")
    assert marker, f"{command.callback}: its docstring has no 'Example: '"
    return (
        "\n\n".join(flat(part) for part in re.split(r"\n\s*\n", text) if part.strip()),
        example.strip(),
    )


def _shared() -> list[click.Parameter]:
    @click.command()
    @settings_options
    def none(**_given: Any) -> None: ...

    return none.params


def _rows(params: list[click.Parameter]) -> Iterator[tuple[str, str, str]]:
    for each in params:
        if isinstance(each, click.Option):
            words = " ".join([", ".join(each.opts), *([_value(each)] if not each.is_flag else [])])
            assert each.help or isinstance(each.type, click.Choice), f"{words} has no help"
            given = isinstance(each.default, str | float) and not each.is_flag
            shown = code(str(each.default)) if given else ""
            yield code(words), "required" if each.required else shown, each.help or ""
        else:
            yield (
                code(each.make_metavar(click.Context(group))),
                "required" if each.required else "",
                "",
            )


def _value(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return option.metavar or option.type.name.split()[0].upper()
