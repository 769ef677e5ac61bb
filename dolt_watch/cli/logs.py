"""``dolt_watch logs``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from dolt_watch.cli.options import complete_bead, load_settings, say, settings_options, utf8
from dolt_watch.core.model import entry_payloads
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import DoltWatchError, SettingsError
from dolt_watch.inspection.bead_ids import require_bead
from dolt_watch.ledger.reader import read_entries
from dolt_watch.ledger.schema import check_project
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.registry import TargetPool

if TYPE_CHECKING:
    from dolt_watch.engines import Engine


LONGEST_LINE = 1_000_000
"""Maximum number of characters of a line of output. A longer line is broken."""


@click.command()
@click.argument("bead", metavar="BEAD_ID", shell_complete=complete_bead, callback=utf8)
@settings_options
@click.option(
    "--attempt",
    metavar="N",
    type=click.IntRange(min=1),
    help="Number of the attempt. Default: the last.",
)
@click.option("-f", "--follow", is_flag=True, help="Show new output until the run ends.")
@click.option(
    "--raw",
    is_flag=True,
    help="Write the bytes unchanged, without escaping control characters.",
)
def command(bead: str, attempt: int | None, follow: bool, raw: bool, **kwargs: Any) -> int:
    """Show the output of a bead's agent.

    Works for targets that keep the output of their runs. For the kind `local`, run the command on
    the machine that runs the agent. For the kind `kubernetes`, the log of the pod is read.

    Example: dolt_watch logs bd-12
    """
    settings = load_settings(kwargs)
    with (
        closing(open_engine(settings.address)) as engine,
        closing(TargetPool(settings.targets)) as targets,
    ):
        check_project(engine, settings.project_id)
        bead = require_bead(engine, bead)
        run = _find_run(engine, bead, attempt)
        if run is None:
            say(f"{bead} has no attempt yet")
            return 0
        job, rule, host = run
        # An output may be followed for hours: no connection stays open.
        engine.close()
        named = next((each for each in settings.rules if each.name == rule), None)
        if named is None:
            raise _no_output(
                f"There is no rule {rule!r}, which made this attempt.",
                f"Add [rules.{rule}] with its target again, or read the target's own logs.",
            )
        # Optional in the protocol of targets.
        read = getattr(targets(named.target), "logs", None)
        if read is None:
            raise _no_output(
                f"The target of rule {rule!r} keeps no output.", "Read the target's own logs."
            )
        try:
            _write(read(job, follow), raw)
        except LookupError as error:
            if isinstance(error, DoltWatchError):
                raise
            raise _no_output(
                f"This machine has no output of the run {job}.",
                f"Run `dolt_watch logs {bead}` on {host}.",
            ) from None
    return 0


def _find_run(engine: Engine, bead: str, attempt: int | None) -> tuple[str, str, str] | None:
    """Return the job, the rule and the host of an attempt, or None if the bead has no attempts.

    Args:
        engine: The tracker's database.
        bead: ID of the bead.
        attempt: Number of the attempt, or None for the last.

    Raises:
        SettingsError: The bead has no such attempt.
    """
    entries = [entry for entry in read_entries(engine, bead=bead) if entry.token]
    entries.sort(key=lambda entry: entry.version, reverse=True)
    if not entries and attempt is None:
        return None
    found = next((entry for entry in entries if attempt in (None, entry.attempt)), None)
    if found is None:
        raise _no_output(
            f"{bead} has no attempt {attempt}.",
            f"Run `dolt_watch log --bead {bead}` to list its attempts.",
        )
    same = [entry for entry in entries if entry.token == found.token]
    job = next((entry.job for entry in same if entry.job), found.token)
    host = entry_payloads.Envelope.decode(same[-1].detail).host or "the machine that claimed it"
    return job, found.rule, host


def _no_output(message: str, fix: str) -> SettingsError:
    return SettingsError(message, where="logs", fix=fix)


def _write(output: Iterable[bytes], raw: bool) -> None:
    if raw:
        for data in output:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        return
    for line in _lines(output):
        click.echo(sanitize(line.replace("\t", "    "), LONGEST_LINE))


def _lines(output: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of a stream of bytes, the last one even without a newline."""
    rest = b""
    for data in output:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace").rstrip("\r")
        if len(rest) > LONGEST_LINE:  # Output without line breaks must not fill the memory.
            yield rest.decode("utf-8", "replace")
            rest = b""
    if rest:
        yield rest.decode("utf-8", "replace")
