"""``dolt_watch config``: the effective settings, and where each came from."""

from __future__ import annotations

import textwrap
from typing import Any

import click
import orjson

from dolt_watch.cli.options import load_settings, settings_options
from dolt_watch.config import SettingLine, describe

_WIDTH = 80
_GAP = 2


@click.command()
@settings_options
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def command(form: str, **kwargs: Any) -> None:
    """The effective settings, and where each came from. Secrets are hidden.

    Example: dolt_watch config
    """
    lines = describe(load_settings(kwargs))
    if form == "json":
        tree = {
            line.key: {"value": line.value, "origin": line.origin, "secret": line.secret}
            for line in lines
        }
        click.echo(orjson.dumps(tree, option=orjson.OPT_INDENT_2).decode())
        return
    for text in table(lines):
        click.echo(text)


def table(lines: list[SettingLine]) -> list[str]:
    """Key, value and origin in columns of at most 80 characters; what is too long goes on below."""

    key_width = min(max((len(line.key) for line in lines), default=0), 32)
    origin_width = min(max((len(line.origin) for line in lines), default=0), 22)
    value_width = _WIDTH - key_width - origin_width - 2 * _GAP
    gap = " " * _GAP
    rows = []
    for line in lines:
        widths = (key_width, value_width, origin_width)
        columns = [
            textwrap.wrap(cell, width) or [""]
            for cell, width in zip(_cells(line), widths, strict=True)
        ]
        for number in range(max(map(len, columns))):
            cells = [column[number] if number < len(column) else "" for column in columns]
            rows.append(
                gap.join(
                    cell.ljust(width) for cell, width in zip(cells, widths, strict=True)
                ).rstrip()
            )
    return rows


def _cells(line: SettingLine) -> tuple[str, str, str]:
    return line.key, line.value, line.origin
