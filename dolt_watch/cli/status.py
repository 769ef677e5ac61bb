"""``dolt_watch status``."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import textwrap
import time
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
import orjson

from dolt_watch.beads.migration import NOT_COMMITTED
from dolt_watch.cli.composition import TargetPool, build_reader
from dolt_watch.cli.options import LONGEST_LINE, load_settings, settings_options
from dolt_watch.clock import DatabaseClock
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import DatabaseError
from dolt_watch.inspection.status import collect_status
from dolt_watch.sanitize import sanitize
from dolt_watch.text_table import format_table
from dolt_watch.timestamps import format_span

if TYPE_CHECKING:
    from dolt_watch.config import Settings
    from dolt_watch.inspection.status import Status


EVERY = 2.0
"""Seconds between two looks of --watch."""
COLOURS = {
    "waiting": "cyan",
    "claimed": "blue",
    "running": "blue",
    "unknown": "magenta",
    "backoff": "yellow",
    "held": "yellow",
    "quarantined": "red",
}


@click.command()
@settings_options
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@click.option(
    "--watch", is_flag=True, help="Look again every 2 s, in place, until Ctrl-C. Needs a terminal."
)
def command(form: str, watch: bool, **kwargs: Any) -> int:
    """What waits, runs and is held, and why; the target's capacity; the last commit folded and
    the last decision.

    Writes nothing. Colours only on a terminal, and not where NO_COLOR is set.

    Example: dolt_watch status --format json
    """
    if watch and (form == "json" or not sys.stdout.isatty()):
        raise click.UsageError(
            "--watch is for a terminal: without one, run `dolt_watch status` again and again"
        )
    settings = load_settings(kwargs)
    if watch:
        return _watch(settings)
    now = _ask(settings)
    if form == "json":
        click.echo(orjson.dumps(now.to_dict()).decode())
        return 0
    for line in _format_text(now, shutil.get_terminal_size((0, 0)).columns):
        click.echo(line, color=_colours())
    return 0


def _ask(settings: Settings) -> Status:

    engine, targets = open_engine(settings.address), TargetPool(settings)
    try:
        reader = build_reader(engine, settings, targets, DatabaseClock())
        return collect_status(reader, engine, lambda name: targets(name).capacity())
    finally:
        targets.close()
        engine.close()


def _watch(settings: Settings) -> int:
    """A database that goes away is told in the same place, and asked again."""

    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    with suppress(KeyboardInterrupt):
        while (
            not stopped
        ):  # Python drops what is raised inside a finaliser: then this round is the last one
            size = shutil.get_terminal_size()
            try:
                lines = _format_text(_ask(settings), size.columns)
            except DatabaseError as error:
                lines = [
                    _cut(sanitize(line), size.columns) for line in f"error: {error}".split("\n")
                ]
            rest = len(lines) - (size.lines - 1)
            if rest > 0:
                lines = [*lines[: size.lines - 2], f"… and {rest + 1} lines more"]
            # home, each line up to its end, then whatever stood below: nothing flickers
            click.echo(
                "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J",
                nl=False,
                color=True,
            )
            time.sleep(EVERY)
    return 0


def _format_text(now: Status, width: int) -> list[str]:
    """``width`` 0: as long as they are."""
    return [_coloured(_cut(line, width), phase) for line, phase in _told(now, width)]


def _told(now: Status, width: int) -> list[tuple[str, str]]:
    """Lines, each with the phase that colours it, '' for none."""

    behind = " (HEAD has moved on)" if now.head != now.folded else ""
    worker = now.worker
    lines = [f"worker:   {worker.words}"] if worker is not None else []
    if worker is not None and worker.overdue:
        lines.append(f"overdue:  {', '.join(worker.overdue)}: silent, and not reaped yet")
    lines += [
        (
            f"folded:   {now.folded[:8]}, {format_span(now.now - now.folded_at)} ago{behind}"
            if now.folded_at
            else f"folded:   nothing yet{behind}"
        )
    ]
    for name, capacity in now.targets.items():
        known = "capacity not known" if capacity.slots is None else f"{capacity.slots} free"
        slots = "down" if capacity.down else known
        lines.append(f"target:   {name}, {slots}{': ' + capacity.why if capacity.why else ''}")
    last = now.last
    lines.append(
        f"decided:  {f'{last.kind} {last.bead}'.rstrip()}, {format_span(now.now - last.at)} ago"
        if last
        else "decided:  nothing yet"
    )
    lines += [f"paused:   {reason}" for reason in now.pauses]
    lines += [f"held:     {words}" for words in now.held_rules]
    lines += [f"to do:    {words}" for words in now.fixes]
    if now.merging:
        lines.append(
            "merging:  somebody's merge stands unfinished: nothing is decided until it is committed"
            " or aborted"
        )
    if now.migrating:
        lines.append(f"holding:  {NOT_COMMITTED}")
    if not now.beads:
        lines.append("no bead waits, runs or is held")
    plain = [sanitize(line, LONGEST_LINE) for line in lines]
    return [(part, "") for line in plain for part in _wrapped(line, width, 10)] + _bead_table(
        now, width
    )


def _bead_table(now: Status, width: int) -> list[tuple[str, str]]:

    if not now.beads:
        return []
    rows = [
        (
            one.bead,
            one.phase,
            format_span(now.now - one.since),
            one.rule,
            one.why or (f"job {one.job}" if one.job else "-"),
        )
        for one in now.beads
    ]
    heads = ("BEAD", "PHASE", "FOR", "RULE", "WHY")
    lines = format_table(heads, [tuple(sanitize(cell) for cell in row) for row in rows])
    indent = len(lines[0]) - len("WHY")
    narrow = bool(width) and width - indent < 24  # then WHY stands below
    told = []
    for line, phase in zip(lines, ["", *(one.phase for one in now.beads)], strict=True):
        if narrow:
            told.append((line[:indent].rstrip(), phase))
            told += (
                [(part, "") for part in _wrapped(" " * 4 + line[indent:], width, 4)]
                if phase
                else []
            )
        else:
            told += [
                (part, phase if not number else "")
                for number, part in enumerate(_wrapped(line, width, indent))
            ]
    return told


def _wrapped(line: str, width: int, indent: int) -> list[str]:

    if not width or len(line) <= width:
        return [line]
    most = width // 2  # what is indented further would stand a letter a line
    line = " " * min(len(line) - len(line.lstrip()), most) + line.lstrip()
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=" " * min(indent, most),
        drop_whitespace=True,
        replace_whitespace=False,
        break_on_hyphens=False,
    )


def _cut(line: str, width: int) -> str:
    """What no wrapping brings into ``width`` columns; characters of East Asian scripts take two."""

    used = 0
    for place, character in enumerate(line if width else ""):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > width:
            return line[: max(place - 1, 0)] + "…"
    return line


def _coloured(line: str, phase: str) -> str:
    if not phase or not _colours():
        return line
    return line.replace(phase, click.style(phase, fg=COLOURS.get(phase)), 1)


def _colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
