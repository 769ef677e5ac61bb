"""``dolt_watch config``."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import Any

import click
import orjson

from dolt_watch.cli.options import load_settings, settings_options
from dolt_watch.config import SettingLine, describe
from dolt_watch.config.template import settings_as_toml

_GAP = "  "
_NARROWEST = 16
"""Minimum width of the column of values. In a narrower terminal, lines aren't wrapped."""


@click.command()
@settings_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "toml"]),
    default="text",
    help="Form of the output. toml prints a complete, commented dolt_watch.toml.",
)
def command(form: str, **kwargs: Any) -> None:
    """Show the settings in force and where each value came from. Secrets are hidden.

    Example: dolt_watch config --format toml
    """
    settings = load_settings(kwargs)
    if form == "toml":
        click.echo(settings_as_toml(settings), nl=False)
        return
    lines = describe(settings)
    if form == "json":
        tree = {
            line.key: {"value": line.value, "origin": line.origin, "secret": line.secret}
            for line in lines
        }
        click.echo(orjson.dumps(tree, option=orjson.OPT_INDENT_2).decode())
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for text in table(lines, width):
        click.echo(text)


def table(lines: list[SettingLine], width: int = 0) -> list[str]:
    """Return the settings in columns: key, value, origin.

    Args:
        lines: The settings.
        width: Columns of the terminal, at which values are wrapped. With 0, nothing is wrapped, so
            that each setting is one line for grep.
    """
    key = max((len(line.key) for line in lines), default=0)
    origin = max((len(line.origin) for line in lines), default=0)
    room = width - key - origin - 2 * len(_GAP)
    longest = max((len(line.value) for line in lines), default=0)
    value = min(longest, room) if room >= _NARROWEST else longest
    rows = []
    for line in lines:
        first, *more = textwrap.wrap(line.value, value, break_on_hyphens=False) or [""]
        if value == longest:
            first, more = line.value, []
        rows.append(_GAP.join((line.key.ljust(key), first.ljust(value), line.origin)).rstrip())
        rows += [f"{'':{key}}{_GAP}{part}" for part in more]
    return rows
