"""docs/reference/commands.md: from click's own description of each command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import click

from dolt_watch.cli import COMMANDS, group
from dolt_watch.cli.options import settings_options
from tools.docs.reading import GENERATED, code, flat, table

HEAD = ("option", "default", "meaning")
INTRO = """# Commands

`dolt_watch`, also spelt `dolt-watch`, or `python -m dolt_watch`. `--help` after any command says
the same as this page.
Completion in a shell: `eval "$(_DOLT_WATCH_COMPLETE=bash_source dolt_watch)"` in `~/.bashrc`, or
`zsh_source` in `~/.zshrc`; fish: `_DOLT_WATCH_COMPLETE=fish_source dolt_watch | source`.
"""
EXITS = """## Exit codes

| code | means |
|---|---|
| 0 | done, busy, paused, or nothing to do; a reaped bead included |
| 1 | a dispatch failed or its outcome is unknown; the target is down while beads wait; a check did not hold |
| 2 | usage, settings, an expression, `metadata.json`, another project's id (a tick that finds nothing to do does not ask for it) |
| 3 | the database: unreachable, wrong password, missing, not a beads database, not migrated, a newer schema |
| 129, 130, 143 | ended by SIGHUP, ^C or SIGTERM. The answer to a request under way is awaited for 9 s and recorded; a second signal ends at once and names the bead and job that are not recorded. `run` ends with 0 |

An error goes to stderr as one line, `error: …`, and below it where it is and what mends it.
"""


def page() -> str:
    parts = [
        GENERATED.format(source="`dolt_watch/cli/`"),
        INTRO,
        table(
            ("command", "does"), ((f"[`{name}`](#{name})", line) for name, line in COMMANDS.items())
        ),
    ]
    parts += ["\nOptions of every command that reads settings:\n", table(HEAD, _rows(_shared()))]
    parts += [
        (
            "Before the command: `--debug` shows the traceback of an error, `--version` prints the"
            " version.\n"
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
    """Its help in Markdown, and its example."""
    text, marker, example = (command.help or "").partition("Example: ")
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
            shown = (
                code(str(each.default)) if each.show_default and each.default is not None else ""
            )
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
