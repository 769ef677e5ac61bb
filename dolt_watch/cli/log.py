"""``dolt_watch log``."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import orjson

from dolt_watch.cli.composition import build_reader
from dolt_watch.cli.options import (
    bead_option,
    format_option,
    load_settings,
    rule_option,
    settings_options,
)
from dolt_watch.cli.output import show
from dolt_watch.cli.times import resolve_time
from dolt_watch.clock import DatabaseClock
from dolt_watch.core.model import IN_FLIGHT, EntryKind
from dolt_watch.engines.clock import server_time
from dolt_watch.engines.connect import open_engine
from dolt_watch.engines.sql_text import chunks
from dolt_watch.errors import DoltWatchError
from dolt_watch.inspection.attempts import attempts_of, read_rows, tokens_of
from dolt_watch.inspection.bead_ids import require_bead
from dolt_watch.inspection.log_view import attempt_lines, entry_lines
from dolt_watch.inspection.screen import Screen
from dolt_watch.ledger.reader import entry_to_dict, read_entries
from dolt_watch.ledger.schema import check_project
from dolt_watch.targets.registry import TargetPool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dolt_watch.config import Settings
    from dolt_watch.core.model import LedgerEntry
    from dolt_watch.engines import Engine
    from dolt_watch.inspection.attempts import Attempt

ON_A_TERMINAL = 40
"""Attempts or entries that are printed on a terminal by default."""
EVERY = 2.0
"""Seconds between two reads of --follow."""
OVERLAP = timedelta(minutes=5)
"""--follow reads so much again: an entry can be committed later than its time says, because the
transaction that writes it waits for others.
"""


class _Selection(NamedTuple):
    """The entries that the user asks for."""

    bead: str | None
    rule: str | None
    kinds: frozenset[str]
    since: datetime | None
    until: datetime | None

    def read(self, engine: Engine, since: datetime | None = None) -> list[LedgerEntry]:
        """Return the entries, the newest first. ``since``: in place of the user's."""
        found = read_entries(
            engine,
            bead=self.bead,
            rule=self.rule,
            since=self.since if since is None else since,
            until=self.until,
        )
        return [one for one in found if not self.kinds or one.kind.value in self.kinds]


@click.command()
@settings_options
@bead_option("Show only this bead.")
@rule_option("Show only this rule.")
@click.option(
    "--kind",
    "kinds",
    metavar="KIND",
    type=click.Choice([kind.value for kind in EntryKind]),
    multiple=True,
    help="Show only attempts with an entry of this kind, for example reap. Repeatable.",
)
@click.option(
    "--since",
    metavar="TIME",
    help=(
        "Show only decisions since TIME: a timestamp (2026-04-18T22:35:46Z), a duration back from"
        " now (2h), 'yesterday', or a commit."
    ),
)
@click.option("--until", metavar="TIME", help="Show only decisions before TIME.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    help=f"Show the newest N. Default: {ON_A_TERMINAL} on a terminal, all otherwise.",
)
@click.option("--entries", "raw", is_flag=True, help="Show the entries of the ledger.")
@click.option(
    "--follow", is_flag=True, help="Print new entries as they are committed, until Ctrl-C."
)
@format_option
def command(
    bead: str | None,
    rule: str | None,
    kinds: tuple[str, ...],
    since: str | None,
    until: str | None,
    limit: int | None,
    raw: bool,
    follow: bool,
    form: str,
    **kwargs: Any,
) -> int:
    """Show attempts, the newest first: when each was claimed, its outcome, and how long it took.

    --entries shows the ledger itself: one line for each decision. JSON contains both.

    Example: dolt_watch log --since 2h --kind reap
    """
    if follow and (until is not None or limit is not None):
        raise click.UsageError("--follow excludes --until and --limit: it has no end.")
    settings = load_settings(kwargs)
    screen = Screen.of_stdout()
    with closing(open_engine(settings.address)) as engine:
        check_project(engine, settings.project_id)
        now = server_time(engine)
        chosen = _Selection(
            require_bead(engine, bead, "--bead") if bead is not None else None,
            rule,
            frozenset(kinds),
            resolve_time(engine, since, now, "--since") if since is not None else None,
            resolve_time(engine, until, now, "--until") if until is not None else None,
        )
        if follow:
            _follow(engine, chosen, screen, form)
        elif form == "json":
            _print_json(engine, settings, chosen, limit, raw, now)
        else:
            most = limit or (ON_A_TERMINAL if screen.terminal else None)
            _print_text(engine, settings, chosen, most, raw, screen, now)
    return 0


def _print_text(
    engine: Engine,
    settings: Settings,
    chosen: _Selection,
    limit: int | None,
    raw: bool,
    screen: Screen,
    now: datetime,
) -> None:
    found = chosen.read(engine)
    if not found:
        click.echo("No decisions match." if any(chosen) else "No decisions yet.")
        return
    if raw:
        number, unit = len(found), "entries"
        show(screen, entry_lines(found[:limit], now, screen))
    else:
        attempts = _attempts(engine, settings, found, now)
        number, unit = len(attempts), "attempts"
        show(screen, attempt_lines(attempts[:limit], now, screen))
    if screen.terminal and limit is not None and number > limit:
        more = f"{limit} of {number} {unit}. Older: dolt_watch log --limit {number}"
        show(screen, screen.prose(more, style="dim"))


def _print_json(
    engine: Engine,
    settings: Settings,
    chosen: _Selection,
    limit: int | None,
    raw: bool,
    now: datetime,
) -> None:
    found = chosen.read(engine)
    facts: dict[str, Any] = {"schema": 1, "entries": [entry_to_dict(one) for one in found[:limit]]}
    if not raw:
        attempts = _attempts(engine, settings, found, now)
        facts["attempts"] = [one.to_dict() for one in attempts[:limit]]
    click.echo(orjson.dumps(facts).decode())


def _attempts(
    engine: Engine, settings: Settings, found: list[LedgerEntry], now: datetime
) -> list[Attempt]:
    """Return the attempts of the entries. An attempt has all its entries."""
    known = {(entry.bead, entry.version): entry for entry in found}
    for part in chunks(sorted({entry.token for entry in found if entry.token}), 500):
        for entry in read_entries(engine, tokens=part):
            known.setdefault((entry.bead, entry.version), entry)
    rows = read_rows(engine, {entry.bead for entry in known.values() if entry.bead})
    attempts = attempts_of(known.values(), rows, now)
    if any(one.outcome in IN_FLIGHT for one in attempts):
        # Neither the ledger nor a row shows that a bead left its rule during an attempt.
        attempts = attempts_of(known.values(), rows, now, _under_way(engine, settings))
    return attempts


def _under_way(engine: Engine, settings: Settings) -> frozenset[str] | None:
    """Return the tokens of the state at HEAD. None if this database has no state to read, or one
    under other rules than these settings: the ledger does not depend on settings.
    """
    with closing(TargetPool(settings.targets)) as targets, suppress(DoltWatchError):
        reader = build_reader(engine, settings, targets, DatabaseClock())
        poll, now = reader.poll()
        if poll.rules.get("now") == reader.parts.tracker.rule_hashes:
            return tokens_of(reader.state_at_head(poll, now))
    return None


def _follow(engine: Engine, chosen: _Selection, screen: Screen, form: str) -> None:
    """Print new entries, oldest first, until Ctrl-C."""
    heads = True
    with suppress(KeyboardInterrupt):
        for new in _new_entries(engine, chosen):
            if form == "json":
                for entry in new:
                    click.echo(orjson.dumps(entry_to_dict(entry)).decode())
                continue
            show(screen, entry_lines(new, server_time(engine), screen, heads=heads))
            heads = False


def _new_entries(engine: Engine, chosen: _Selection) -> Iterator[list[LedgerEntry]]:
    """Yield the entries that were committed since the last read, oldest first."""
    begin = chosen.since or server_time(engine)
    seen = {(one.bead, one.version) for one in chosen.read(engine, begin - OVERLAP)}
    if chosen.since is not None:
        yield from [found] if (found := chosen.read(engine)[::-1]) else []
    while True:
        time.sleep(EVERY)
        latest = server_time(engine)
        found = chosen.read(engine, begin - OVERLAP)
        new = [one for one in found if (one.bead, one.version) not in seen]
        begin = latest
        seen = {(one.bead, one.version) for one in found}
        if new:
            yield new[::-1]
